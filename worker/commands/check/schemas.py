"""Checks of the schemas, and whether the mapping fits them. Registers nothing."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Final

from worker.commands.check.finding import Finding, Level
from worker.core.events.decode import Decoder
from worker.registry.bundled import bundled
from worker.registry.client import RegistryClient, explained
from worker.registry.directory import read_schema
from worker.settings.model import Settings
from worker.wiring import parts, registry
from worker.wiring.parts import Unusable

# The mapping's setting for each identifier that may name a user.
_IDENTIFIER_PATHS: Final[Mapping[str, str]] = {
    "phone": "phone",
    "email": "email",
    "client_user_id": "client_user_id",
    "custom": "custom_identifiers",
}


def check_schemas(settings: Settings) -> Iterator[Finding]:
    """One line for each schema that can be found before a record is read."""
    schemas = settings.schemas
    try:
        decoder = parts.decoder(settings)
    except Unusable as error:
        yield Finding.fail("schemas", str(error))
        return
    if schemas.framing == "none" and schemas.writer_schema is not None:
        schema = read_schema(schemas.writer_schema)
        yield from _fits(settings, decoder, schema, f"writer schema {schemas.writer_schema}")
    elif schemas.directory is not None:
        yield from _directory(settings, decoder, schemas.directory)
    else:
        yield from _registry(settings, decoder)


def _directory(settings: Settings, decoder: Decoder, directory: Path) -> Iterator[Finding]:
    try:
        source = parts.schema_directory(directory, settings.schemas.unknown_id_seconds)
    except ValueError as error:
        yield Finding.fail("schemas", str(error), "mend or remove the file")
        return
    dead_letters_id = source.dead_letter_schema_id()
    files = [path for path in sorted(directory.glob("*.avsc")) if path.stem != str(dead_letters_id)]
    if not files:
        what = f"{directory} contains no <id>.avsc"
        yield Finding.fail("schemas", what, "put the schemas of the events there, for example as 7.avsc")
    for path in files:
        for finding in _fits(settings, decoder, read_schema(path), path.name):
            if decoder.asks_for_keys and finding.level is Level.FAIL:
                yield Finding.warn(finding.check, f"{finding.what}; if it is a key's schema, all is well", finding.mend)
            else:
                yield finding


def _registry(settings: Settings, decoder: Decoder) -> Iterator[Finding]:
    try:
        client = registry.client(settings)
    except ValueError as error:
        yield Finding.fail("schemas", str(error), "check WORKER_SCHEMAS__REGISTRY_PROPERTIES and the environment")
        return
    topics = [topic for topic in settings.kafka.topics if not topic.startswith("^")]
    try:
        if not topics:
            client.prove()
            yield Finding.ok("schemas", "the registry answers; the subjects of a pattern's topics are not known")
        for topic in topics:
            yield from _topic(settings, decoder, client, topic)
        yield _dead_letters(client, f"{settings.kafka.dead_letter_topic}-value")
    except Exception as error:  # noqa: BLE001 - the client lets through whatever its HTTP library raises
        mend = "check WORKER_SCHEMAS__REGISTRY_URL, and NO_PROXY if HTTPS_PROXY or HTTP_PROXY is set"
        yield Finding.fail("schemas", f"the registry: {explained(error)}", mend)
    finally:
        client.close()


def _topic(settings: Settings, decoder: Decoder, client: RegistryClient, topic: str) -> Iterator[Finding]:
    latest: dict[str, tuple[int | None, object]] = {}
    for subject in (f"{topic}-value", *([f"{topic}-key"] if decoder.asks_for_keys else [])):
        found = client.latest(subject)
        if found is None:
            yield Finding.warn(
                "schemas",
                f"the registry answers, but has no subject {subject}",
                "register the events' schema; if your subjects have other names, ignore this",
            )
        else:
            latest[subject] = found
    if (value := latest.get(f"{topic}-value")) is not None:
        key = latest.get(f"{topic}-key", (None, None))[1]
        yield from _fits(settings, decoder, value[1], f"{topic}-value, version {value[0]}", key)


def _dead_letters(client: RegistryClient, subject: str) -> Finding:
    """Whether the subject accepts the schema of dead letters. Whether the worker may register it stays unknown."""
    match client.is_compatible(subject, bundled("dead_letter")):
        case None:
            return Finding.ok("schemas", f"{subject}: new; the worker registers it when it starts")
        case True:
            return Finding.ok("schemas", f"{subject}: accepts the schema of dead letters")
        case False:
            return Finding.fail(
                "schemas",
                f"{subject}: its schema is not compatible with that of dead letters",
                "delete the subject, or set another WORKER_KAFKA__DEAD_LETTER_TOPIC",
            )


def _fits(
    settings: Settings, decoder: Decoder, schema: object, what: str, key: object | None = None
) -> Iterator[Finding]:
    """Whether the mapping finds the fields in a schema, and which of them it would not send."""
    yield _mapped(settings, decoder, schema, what, key)
    with suppress(ValueError):  # told by the line above
        for words in decoder.unfit(schema, key):
            mend = "set that of WORKER_MAPPING__* to the right field, or to nothing"
            yield Finding.warn("schemas", f"{what}: {words}", mend)
        if kept_back := decoder.kept_back(schema, key):
            yield Finding.warn(
                "schemas",
                f"{what}: keeps back {', '.join(kept_back)}, which by name is a phone or an address",
                "map it as an identifier, or name it in WORKER_MAPPING__ATTRIBUTES to send it as an attribute",
            )


def _mapped(settings: Settings, decoder: Decoder, schema: object, what: str, key: object | None) -> Finding:
    """Whether the mapping finds the fields in a schema that the worker cannot do without."""
    try:
        absent = decoder.absent_paths(schema, key)
        no_identifiers = decoder.no_identifiers(schema, key)
        decoder.check(schema, key)
    except ValueError as error:
        return Finding.fail("schemas", f"{what}: {error}")
    settings_absent = {entry.partition(":")[0] for entry in (*absent, *no_identifiers)}
    mapping = settings.mapping
    identifiers = [_IDENTIFIER_PATHS[kind] for kind in settings.identity.order]
    if lacking := [path for name, _, path in (entry.partition(": ") for entry in absent) if name == "attributes"]:
        return Finding.fail(
            "schemas",
            f"{what}: has no field {', '.join(lacking)} for the attributes",
            "set WORKER_MAPPING__ATTRIBUTES: the path of a map or a record, or * for every field (docs/mapping.md)",
        )
    if all(name in settings_absent or not getattr(mapping, name) for name in identifiers):
        paths = ", ".join(f"{name}: {getattr(mapping, name)}" for name in identifiers if getattr(mapping, name))
        return Finding.fail("schemas", f"{what}: no field can name the user ({paths})", "set WORKER_MAPPING__*")
    if no_identifiers:
        return Finding.warn(
            "schemas",
            f"{what}: neither text nor a whole number ({', '.join(no_identifiers)})",
            "set those of WORKER_MAPPING__* to fit",
        )
    if absent:
        return Finding.warn(
            "schemas",
            f"{what}: lacks mapped fields ({', '.join(absent)})",
            'set those of WORKER_MAPPING__* to fit, or to "" where there is no such field',
        )
    return Finding.ok("schemas", f"{what}: decodes, and has every mapped field")
