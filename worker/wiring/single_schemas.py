"""Where a job gets single schemas from: it asks for one and waits. It registers nothing, unlike `parts.schemas`."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from worker.core.model import SchemaId
from worker.jobs.framed import SchemaOf
from worker.jobs.unfinished import Unfinished
from worker.registry.client import explained
from worker.registry.directory import read_schema
from worker.settings.model import Settings
from worker.wiring import registry
from worker.wiring.parts import Unusable

_NO_FILE_ID: Final = 0  # the worker's own records have it where the directory has no file with their schema


def schema_of(settings: Settings, own: object | None = None) -> SchemaOf:
    """Gives the schema of an id. `own`: that of the worker's records, if such are read.

    Raises:
        Unusable: The registry's client refuses its settings.
    """
    directory = settings.schemas.directory
    if directory is not None:
        return lambda schema_id: _of_directory(directory, schema_id, own)
    if settings.schemas.registry_url is None:
        return lambda _: None
    try:
        registry.client(settings).close()
    except ValueError as error:
        raise Unusable(f"schemas: {error}") from None
    return lambda schema_id: _of_registry(settings, schema_id)


def _of_directory(directory: Path, schema_id: SchemaId, own: object | None) -> object | None:
    path = directory / f"{schema_id}.avsc"
    if not path.is_file():
        return own if schema_id == _NO_FILE_ID else None
    try:
        return read_schema(path)
    except ValueError as error:
        raise Unfinished(f"schemas: {error}") from None


def _of_registry(settings: Settings, schema_id: SchemaId) -> object | None:
    client = registry.client(settings)
    try:
        return client.schema(schema_id)
    except Exception as error:  # noqa: BLE001 - whatever the client's HTTP library raises; its text may hold a password
        raise Unfinished(f"schema {schema_id} at {client.where}: {explained(error)}") from None
    finally:
        client.close()
