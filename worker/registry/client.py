"""The client of a Confluent-compatible schema registry: how to connect, read a whole schema, and explain an error."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from confluent_kafka.schema_registry import Schema, SchemaRegistryClient, SchemaRegistryError
from fastavro.repository.base import AbstractSchemaRepository, SchemaRepositoryError
from fastavro.schema import load_schema

from worker.core.avro.schema import full_name

SCHEMA_NOT_FOUND = 40403

_SUBJECT_NOT_FOUND = frozenset({40401, 40402, SCHEMA_NOT_FOUND})
_TIMEOUT_SECONDS = 10.0
_NUMBERS = frozenset({"timeout", "cache.capacity", "cache.latest.ttl.sec", "retries.wait.ms", "retries.max.wait.ms"})
_ROOT = "$root"

_HINTS = {
    301: "it redirects, and the worker follows no redirects: set the registry URL to the final address",
    401: "it refuses the credentials: check basic.auth.user.info or bearer.auth.token in the registry properties",
    403: "these credentials may not do that: grant read on schemas, and write on the dead letters' subject",
    404: "no registry answers at that path: check the registry URL and its path",
    409: "the subject has an incompatible schema: delete the subject, or set another dead-letter topic",
    422: "it refuses the schema: check the subject's settings",
}


def connect(url: str, properties: Mapping[str, Any]) -> SchemaRegistryClient:
    """A client that does not retry, and has not asked anything yet. Arguments and errors as for `RegistrySchemas`."""
    numbers = {name: _number(name, properties[name]) for name in _NUMBERS & properties.keys()}
    # The client's own retries would delay other ids, and the report of an outage.
    settings = {"timeout": _TIMEOUT_SECONDS, **properties, **numbers, "url": url, "max.retries": 0}
    try:
        return SchemaRegistryClient(settings)
    except (ValueError, TypeError, OSError) as error:
        raise ValueError(f"the schema registry's settings: {_without_credentials(str(error), url)}") from None


def assembled(client: SchemaRegistryClient, schema: Schema) -> object:
    """The schema as `json.loads` gives it, with the types that it references in other subjects put inside."""
    text = schema.schema_str or ""
    if schema.schema_type not in {None, "AVRO"}:
        return {"type": schema.schema_type}  # the decoder reports that there is no such Avro type
    try:
        root: object = json.loads(text)
    except json.JSONDecodeError:
        return text[:100]  # the decoder reports that this is not a schema
    if not schema.references:
        return root
    named: dict[str, object] = {_ROOT: root}
    _collect(client, schema, named)
    return load_schema(_ROOT, repo=_Named(named))


def _collect(client: SchemaRegistryClient, schema: Schema, named: dict[str, object]) -> None:
    for reference in schema.references or ():
        name, subject, version = reference.name, reference.subject, reference.version
        if name is None or subject is None or version is None:
            raise TypeError("a reference without a name, subject or version")
        if name not in named:
            referenced = client.get_version(subject, version, deleted=True).schema
            definition = json.loads(referenced.schema_str or "")
            # By its own name too: in a registry a reference may have any name, for example that of a file.
            named[name] = named[full_name(definition)] = definition
            _collect(client, referenced, named)


class _Named(AbstractSchemaRepository):
    """Referenced schemas by name, in the form that fastavro wants."""

    def __init__(self, named: Mapping[str, object]) -> None:
        self._named = named

    def load(self, name: str) -> object:
        try:
            return self._named[name]
        except KeyError:
            raise SchemaRepositoryError(f"there is no reference named {name}") from None


def _number(name: str, value: object) -> float:
    try:
        return float(str(value))
    except ValueError:
        raise ValueError(f"the schema registry's settings: {name}: {value!r} is not a number") from None


def latest_of(client: SchemaRegistryClient, subject: str) -> tuple[int | None, object] | None:
    """Number and schema of the subject's latest version. None if there is no such subject."""
    try:
        latest = client.get_latest_version(subject)
    except SchemaRegistryError as error:
        if error.error_code not in _SUBJECT_NOT_FOUND:
            raise
        return None
    return latest.version, assembled(client, latest.schema)


def is_compatible(client: SchemaRegistryClient, subject: str, schema: object) -> bool | None:
    """Whether the subject accepts the Avro schema as its next version. None if there is no such subject."""
    try:
        compatible: bool = client.test_compatibility(subject, Schema(json.dumps(schema), "AVRO"))
    except SchemaRegistryError as error:
        if error.error_code not in _SUBJECT_NOT_FOUND:
            raise
        return None
    return compatible


def explained(error: Exception) -> str:
    """What went wrong, without the error's own text: it may contain a response body, or the URL with credentials."""
    if isinstance(error, SchemaRegistryError):
        status = int(error.http_status_code)
        code = f", error code {error.error_code}" if (error.error_code or -1) > 0 else ""
        hint = _HINTS.get(301 if 300 <= status < 400 else status)  # noqa: PLR2004 - HTTP's redirects
        return f"HTTP {status}{code}" + (f"; {hint}" if hint else "")
    if isinstance(error, json.JSONDecodeError | KeyError | AttributeError | TypeError):
        return f"the answer is not from a schema registry ({type(error).__name__}); check the registry URL and its path"
    causes: list[str] = []
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, OSError) and cause.strerror:
            causes.append(cause.strerror)
        cause = cause.__cause__ or cause.__context__
    return type(error).__name__ + (f": {causes[-1]}" if causes else "")


def shown(url: str) -> str:
    """The URLs without credentials: hosts, ports and paths only."""
    return ", ".join(
        f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"
        for parts in (urlsplit(one.strip()) for one in url.split(","))
    )


def _without_credentials(text: str, url: str) -> str:
    for one in url.split(","):
        text = text.replace(one.strip().rstrip("/"), shown(one))
    return text
