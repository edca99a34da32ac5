"""Rules between the settings of what a record is: schemas, mapping, identity, attributes."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

from worker.core.events.mapping import Mapping
from worker.core.rules.policy import AttributeRules
from worker.settings.finding import Finding, trouble
from worker.settings.model import Settings
from worker.settings.names import NAMES


def _framing(settings: Settings) -> Iterator[Finding]:
    schemas = settings.schemas
    if schemas.framing == "none":
        if schemas.writer_schema is None:
            text = "is required if schemas.framing is none: the path of the schema that the records were written with"
            yield Finding(("schemas.writer_schema", "schemas.framing"), text)
        for name, value in (("registry_url", schemas.registry_url), ("directory", schemas.directory)):
            if value is not None:
                yield Finding(
                    (f"schemas.{name}", "schemas.framing"),
                    "has no effect if schemas.framing is none; remove it, or change the framing",
                )
        return
    names = ("schemas.registry_url", "schemas.directory", "schemas.framing")
    if schemas.registry_url is None and schemas.directory is None:
        text = (
            "a source of schemas is required: set WORKER_SCHEMAS__REGISTRY_URL, or WORKER_SCHEMAS__DIRECTORY "
            "(<id>.avsc files), or schemas.framing to none"
        )
        yield Finding(names, text)
    if schemas.registry_url is not None and schemas.directory is not None:
        yield Finding(names, "schemas.registry_url and schemas.directory are both set; keep one")
    if schemas.writer_schema is not None:
        text = "has no effect if schemas.framing is confluent; remove it, or set the framing to none"
        yield Finding(("schemas.writer_schema", "schemas.framing"), text)


def _keys(settings: Settings) -> Iterator[Finding]:
    schemas = settings.schemas
    names = ("schemas.key_schema", "schemas.key_framing")
    if schemas.key_framing == "none" and schemas.key_schema is None:
        yield Finding(names, "is required if schemas.key_framing is none: the path of the schema of the keys")
    if schemas.key_framing != "none" and schemas.key_schema is not None:
        yield Finding(names, "has no effect unless schemas.key_framing is none; remove it, or change the framing")
    if schemas.framing == "none" and schemas.key_framing == "confluent" and _looks_at_key(settings):
        text = "confluent needs a source of schemas, which framing none has not; set it to none or text"
        yield Finding(("schemas.key_framing", "schemas.framing"), text)


def _looks_at_key(settings: Settings) -> bool:
    try:
        return Mapping(**settings.mapping.model_dump()).looks_at_key
    except ValueError:
        return False  # the rule for the mapping reports it


def _registry(settings: Settings) -> Iterator[Finding]:
    if "url" in settings.schemas.registry_properties:
        yield Finding(("schemas.registry_properties",), "url: set WORKER_SCHEMAS__REGISTRY_URL instead", "url")
    if settings.schemas.registry_properties and settings.schemas.registry_url is None:
        names = ("schemas.registry_properties", "schemas.registry_url")
        yield Finding(names, "has no effect without schemas.registry_url; set that, or remove this")


def _read_rules(settings: Settings) -> Iterator[Finding]:
    schemas = settings.schemas
    if schemas.read_rules == "leave_out" and schemas.reader_schema is not None:
        text = "leave_out knows the fields of a writer's schema only; remove schemas.reader_schema, or set it to wait"
        yield Finding(("schemas.read_rules", "schemas.reader_schema"), text)


def _paths(settings: Settings) -> Iterator[Finding]:
    schemas = settings.schemas
    for name in ("writer_schema", "reader_schema", "key_schema"):
        path: Path | None = getattr(schemas, name)
        if path is not None and (found := trouble(path, os.R_OK)) is not None:
            yield Finding((f"schemas.{name}",), f"{found}; mend the path")
    directory = schemas.directory
    if directory is not None and (found := trouble(directory, os.R_OK | os.X_OK, is_directory=True)) is not None:
        yield Finding(("schemas.directory",), f"{found}; mend the path")


def _mapping(settings: Settings) -> Iterator[Finding]:
    try:
        Mapping(**settings.mapping.model_dump())
    except ValueError as error:
        # The message starts with the name of the setting.
        field, _, text = str(error).partition(":")
        path = f"mapping.{field.split()[0]}"
        yield Finding((path if path in NAMES else "mapping.attributes",), text.strip() or str(error))


def _deny(settings: Settings) -> Iterator[Finding]:
    try:
        AttributeRules(deny=settings.attributes.deny)
    except ValueError as error:
        yield Finding(("attributes.deny",), str(error))


def _identity(settings: Settings) -> Iterator[Finding]:
    mapping = settings.mapping
    mapped = {
        "phone": mapping.phone,
        "email": mapping.email,
        "client_user_id": mapping.client_user_id,
        "custom": mapping.custom_identifiers,
    }
    if not any(mapped[kind] for kind in settings.identity.order):
        names = ("identity.order", "mapping.phone", "mapping.email", "mapping.client_user_id")
        yield Finding(names, "names no identifier for which the mapping has a path; add one, or set its path")


def _phone_region(settings: Settings) -> Iterator[Finding]:
    region = settings.identity.phone_region
    if region is not None:
        from worker.core.rules.identifiers import REGIONS  # noqa: PLC0415 - loads phonenumbers: most starts need not wait

        if region not in REGIONS:
            example = "GB" if region == "UK" else "US"
            text = f"must be a country by its two letters (ISO 3166), such as {example}"
            yield Finding(("identity.phone_region",), text)


EVENT_RULES: tuple[Callable[[Settings], Iterator[Finding]], ...] = (
    _framing,
    _keys,
    _registry,
    _read_rules,
    _paths,
    _mapping,
    _deny,
    _identity,
    _phone_region,
)
