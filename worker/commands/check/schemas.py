"""Checks of the schemas and of the mapping that is to fit them. Nothing is registered."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

from confluent_kafka.schema_registry import Schema, SchemaRegistryClient, SchemaRegistryError

from worker import wiring
from worker.commands.check.finding import Finding
from worker.core.events.decode import Decoder
from worker.registry.directory import DirectorySchemas, bundled
from worker.registry.registry import assembled, connect, explained
from worker.settings.load import Settings
from worker.wiring import Unusable

_NO_SUCH_SUBJECT: Final = frozenset({40401, 40402, 40403})
# The setting of a mapping's path for each identifier that may name a user.
_IDENTIFIER_PATHS: Final[Mapping[str, str]] = {
    "phone": "phone",
    "email": "email",
    "client_user_id": "client_user_id",
    "custom": "custom_identifiers",
}


def check_schemas(settings: Settings) -> Iterator[Finding]:
    """A line for each schema that can be found beforehand."""
    schemas = settings.schemas
    try:
        decoder = wiring.decoder(settings)
    except Unusable as error:
        yield Finding.fail("schemas", str(error))
        return
    if schemas.framing == "none" and schemas.writer_schema is not None:
        schema = json.loads(schemas.writer_schema.read_text("utf-8"))
        yield _fits(settings, decoder, schema, f"writer schema {schemas.writer_schema}")
    elif schemas.directory is not None:
        yield from _directory(settings, decoder, schemas.directory)
    else:
        yield from _registry(settings, decoder, schemas.registry_url or "")


def _directory(settings: Settings, decoder: Decoder, directory: Path) -> Iterator[Finding]:
    try:
        source = DirectorySchemas(directory)
    except ValueError as error:
        yield Finding.fail("schemas", str(error), "mend or remove the file")
        return
    dead_letters_id = source.dead_letter_schema_id()
    files = [path for path in sorted(directory.glob("*.avsc")) if path.stem != str(dead_letters_id)]
    if not files:
        yield Finding.fail("schemas", f"{directory} holds no <id>.avsc", "put the events' schemas there, as in 7.avsc")
    for path in files:
        yield _fits(settings, decoder, json.loads(path.read_text("utf-8")), path.name)


def _registry(settings: Settings, decoder: Decoder, url: str) -> Iterator[Finding]:
    try:
        client = connect(url, settings.schemas.registry_properties)
    except ValueError as error:
        yield Finding.fail("schemas", str(error), "check WORKER_SCHEMAS__REGISTRY_PROPERTIES")
        return
    subjects = [f"{topic}-value" for topic in settings.kafka.topics if not topic.startswith("^")]
    try:
        if not subjects:
            client.get_subjects()
            yield Finding.ok("schemas", "the registry answers; which subjects a pattern's topics have is not known")
        for subject in subjects:
            yield _subject(settings, decoder, client, subject)
        yield _dead_letters(client, f"{settings.kafka.dead_letter_topic}-value")
    except Exception as error:  # noqa: BLE001 - the client lets through whatever its HTTP library raises
        yield Finding.fail("schemas", f"the registry: {explained(error)}", "check WORKER_SCHEMAS__REGISTRY_URL")
    finally:
        client.close()


def _subject(settings: Settings, decoder: Decoder, client: SchemaRegistryClient, subject: str) -> Finding:
    try:
        latest = client.get_latest_version(subject)
    except SchemaRegistryError as error:
        if error.error_code not in _NO_SUCH_SUBJECT:
            raise
        return Finding.warn(
            "schemas",
            f"the registry answers, but has no subject {subject}",
            "register the events' schema; where their subjects are named otherwise, this is no fault",
        )
    what = f"{subject}, version {latest.version}"
    return _fits(settings, decoder, assembled(client, latest.schema), what)


def _dead_letters(client: SchemaRegistryClient, subject: str) -> Finding:
    """Whether the schema of dead letters may follow those that its subject has; permission to write stays unknown."""
    try:
        fits = client.test_compatibility(subject, Schema(json.dumps(bundled("dead_letter")), "AVRO"))
    except SchemaRegistryError as error:
        if error.error_code not in _NO_SUCH_SUBJECT:
            raise
        return Finding.ok("schemas", f"{subject}: new; the worker registers it at its start")
    if fits:
        return Finding.ok("schemas", f"{subject}: takes the schema of dead letters")
    return Finding.fail(
        "schemas",
        f"{subject}: holds a schema that the one of dead letters may not follow",
        "delete the subject, or set another WORKER_KAFKA__DEAD_LETTER_TOPIC",
    )


def _fits(settings: Settings, decoder: Decoder, schema: object, what: str) -> Finding:
    """Whether the mapping finds in a schema what the worker cannot do without."""
    try:
        absent = decoder.absent_paths(schema)
    except ValueError as error:
        return Finding.fail("schemas", f"{what}: {error}")
    settings_absent = {entry.partition(":")[0] for entry in absent}
    mapping = settings.mapping
    identifiers = [_IDENTIFIER_PATHS[kind] for kind in settings.identity.order]
    if "attributes" in settings_absent:
        return Finding.fail(
            "schemas", f"{what}: has no field {mapping.attributes} for the attributes", "set WORKER_MAPPING__ATTRIBUTES"
        )
    if all(name in settings_absent or not getattr(mapping, name) for name in identifiers):
        paths = ", ".join(f"{name}: {getattr(mapping, name)}" for name in identifiers if getattr(mapping, name))
        return Finding.fail("schemas", f"{what}: has no field that names the user ({paths})", "set WORKER_MAPPING__*")
    if absent:
        return Finding.warn(
            "schemas", f"{what}: lacks mapped fields ({', '.join(absent)})", "set those of WORKER_MAPPING__* to fit"
        )
    return Finding.ok("schemas", f"{what}: decodes, and has every mapped field")
