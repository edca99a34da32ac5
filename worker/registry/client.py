"""The client of a Confluent-compatible schema registry. Only this file knows confluent-kafka's own client."""

from __future__ import annotations

import json
import math
import os
import socket
import ssl
from collections.abc import Collection, Iterator, Mapping
from typing import Any
from urllib.parse import quote, urlsplit

from confluent_kafka.schema_registry import AsyncSchemaRegistryClient, Schema, SchemaRegistryError
from confluent_kafka.schema_registry.error import OAuthTokenError

from worker.core.avro.linking import InvalidSchema, linked
from worker.core.model import SCHEMA_ID_MAX, SchemaId
from worker.registry import data_rules
from worker.registry.data_rules import RulesToRun
from worker.registry.exchanges import Exchanges, Unanswered

_NOT_FOUND = 404
_SCHEMA_NOT_FOUND = frozenset({40403})
_ANY_CODE = range(-(2**31), 2**31)
_SUBJECT_NOT_FOUND = frozenset({40401, 40402, 40403})
_TIMEOUT_SECONDS = 10.0
_NUMBERS = frozenset({"timeout", "cache.capacity", "cache.latest.ttl.sec", "retries.wait.ms", "retries.max.wait.ms"})
_SHOWN_MAX = 100
_AUTHORITIES, _CERT_FILE = "ssl.ca.location", "SSL_CERT_FILE"

_EXPIRIES = (("expires_in",), ("expires_at",))
_OAUTH_HINT = (
    "check bearer.auth.issuer.endpoint.url, bearer.auth.client.id, bearer.auth.client.secret and bearer.auth.scope in "
    "the registry properties"
)
_HINTS = {
    301: "it redirects, and the worker follows no redirects: set the registry URL to the final address",
    401: "it refuses the credentials: check basic.auth.user.info or bearer.auth.token in the registry properties",
    403: "these credentials may not do that: grant read on schemas, and write on the subjects of what it writes, or "
    "register its schemas there (docs/dead-letters.md)",
    404: "no registry answers at that path: check the registry URL and its path",
    409: "the subject has an incompatible schema: delete the subject, or set another dead-letter topic",
    422: "it refuses the schema: check the subject's settings",
}


class RegistryClient:
    """Asks a registry, and waits for each answer. Makes one attempt. Belongs to one thread.

    Its methods may raise `Unanswered`, and any exception of the HTTP library.

    Args:
        url: The registry's address, or several separated by commas.
        properties: For confluent-kafka's registry client: TLS, basic and bearer authentication, `timeout` in seconds
            for each exchange (10 by default) … Numbers may be text. `max.retries` has no effect.
        leave_out_tagged: Whether to read a schema that has rules for its readers, without the fields with their tags.

    Raises:
        ValueError: The client refuses the properties. Says why.

    Example:
        >>> client = RegistryClient("http://registry:8081", {})
        >>> client.schema(7)
        {'type': 'record', 'name': 'ProfileChanged', ...}
    """

    def __init__(self, url: str, properties: Mapping[str, Any], *, leave_out_tagged: bool = False) -> None:
        self._leave_out_tagged = leave_out_tagged
        numbers = {name: _number(name, properties[name]) for name in _NUMBERS & properties.keys()}
        # The client's own retries would delay other ids, and the report of an outage.
        settings = {"timeout": _TIMEOUT_SECONDS, **properties, **numbers, "url": url, "max.retries": 0}
        try:
            self._client = AsyncSchemaRegistryClient(settings)
        except (ValueError, TypeError, OSError) as error:
            why = _bad_authorities(properties) or _without_credentials(str(error), url)
            raise ValueError(f"the schema registry's settings: {why}") from None
        except Exception as error:  # noqa: BLE001 - whatever the HTTP library raises; its text may hold a password
            where = "its proxy in these settings, or one in HTTPS_PROXY, HTTP_PROXY, ALL_PROXY or NO_PROXY"
            raise ValueError(f"the schema registry's settings: {where}, is none ({type(error).__name__})") from None
        rest = self._client._rest_client  # noqa: SLF001 - all requests go through it
        clients = [rest.session, getattr(rest.bearer_field_provider, "client", None)]
        self._rest, self._exchanges = rest, Exchanges(filter(None, clients), settings["timeout"])
        self.where = ", ".join(map(_without_userinfo, url.split(",")))
        """The URLs without credentials."""

    def schema(self, schema_id: SchemaId) -> object | None:
        """A self-contained schema as `json.loads` gives it. None if the registry says that there is no such id or GUID.

        An `InvalidSchema` says that the id's schema is none, and why: then all is well with the registry.

        Only HTTP 404 with the registry's error code 40403 says so. Another 404 may come from a wrong URL, and the code
        with another status from a proxy or a registry in trouble.

        Raises:
            RulesToRun: The schema has rules that its readers must run.
        """
        by_guid = isinstance(schema_id, str)
        path, codes = ("guids", _ANY_CODE) if by_guid else ("ids", _SCHEMA_NOT_FOUND)
        found = self._exchanges.ask(self._found(f"schemas/{path}/{schema_id}", codes))
        if found is None and by_guid:
            self.prove()  # one that knows no GUIDs says the same of the path as what is no registry, by any code
        return None if found is None else found[1]

    def prove(self) -> None:
        """Raises an error unless a registry answers."""
        self._exchanges.ask(self._client.get_subjects(limit=1))

    def latest(self, subject: str) -> tuple[int | None, object] | None:
        """Number and schema of the subject's latest version. None if there is no such subject."""
        path = f"subjects/{quote(subject, safe='')}/versions/latest"
        found = self._exchanges.ask(self._found(path, _SUBJECT_NOT_FOUND))
        return None if found is None else (found[0].get("version"), found[1])

    def is_compatible(self, subject: str, schema: object) -> bool | None:
        """Whether the subject accepts the Avro schema as its next version. None if there is no such subject."""
        try:
            compatible: bool = self._exchanges.ask(self._client.test_compatibility(subject, _avro(schema)))
        except SchemaRegistryError as error:
            if not _says_not_found(error, _SUBJECT_NOT_FOUND):
                raise
            return None
        if type(compatible) is not bool:
            raise TypeError("the registry's answer does not say whether it is compatible")
        return compatible

    def register(self, subject: str, schema: object) -> int:
        """Registers the Avro schema, unless it is registered already. Returns its id.

        If the registry refuses that, the schema is looked up: somebody who may do so may have registered it.
        """
        try:
            schema_id = self._exchanges.ask(self._posted(f"subjects/{quote(subject, safe='')}/versions", schema))
        except SchemaRegistryError as refusal:
            if not 400 <= refusal.http_status_code < 500:  # noqa: PLR2004 - HTTP's refusals
                raise
            try:
                schema_id = self._exchanges.ask(self._posted(f"subjects/{quote(subject, safe='')}", schema))
            except SchemaRegistryError:
                raise refusal from None
        if type(schema_id) is not int or not 0 <= schema_id <= SCHEMA_ID_MAX:
            raise TypeError("the registry's answer has no id")
        return schema_id

    def close(self) -> None:
        """Closes its connections."""
        self._exchanges.close()

    async def _get(self, path: str) -> dict[str, Any]:
        """The registry's answer as it is.

        The client's own methods keep all schemas for ever, and drop the rules for encodings.
        """
        answer = await self._rest.get(path)
        if not isinstance(answer, dict):
            raise TypeError("the registry's answer is no object")
        return answer

    async def _posted(self, path: str, schema: object) -> object:
        """What the registry calls the schema there.

        The client's own method keeps every answer for ever, one that makes no sense, too.
        """
        answer = await self._rest.post(path, body=_avro(schema).to_dict())
        return answer.get("id") if isinstance(answer, dict) else None

    async def _found(self, path: str, codes: Collection[int]) -> tuple[dict[str, Any], object] | None:
        """The answer and its schema. None if the registry says so by one of the codes."""
        try:
            answer = await self._get(path)
        except SchemaRegistryError as error:
            if not _says_not_found(error, codes):
                raise
            return None
        return answer, await self._assembled(answer)

    async def _assembled(self, answer: dict[str, Any]) -> object:
        """The schema, with the types that it references in other subjects defined inside; or why there is none."""
        try:
            root = _parsed(answer)
            if answer.get("references"):
                root = linked(root, await self._references(answer, set()))
        except InvalidSchema as why:
            return why
        data_rules.check(answer, root, leave_out=self._leave_out_tagged)
        return root

    async def _references(self, answer: dict[str, Any], seen: set[tuple[str, int]]) -> list[object]:
        """The schemas that an answer refers to, each behind those that it refers to itself."""
        found: list[object] = []
        for reference in answer.get("references") or ():
            subject, version = reference["subject"], int(reference["version"])
            if (subject, version) in seen:
                continue
            seen.add((subject, version))
            referenced = await self._referenced(subject, version)
            found += await self._references(referenced, seen)
            try:
                found.append(_parsed(referenced))
            except InvalidSchema as why:
                what = f"version {version} of the subject {ascii(subject)[:_SHOWN_MAX]}"
                raise InvalidSchema(f"it refers to {what}, which is {why}") from None
        return found

    async def _referenced(self, subject: str, version: int) -> dict[str, Any]:
        try:
            return await self._get(f"subjects/{quote(subject, safe='')}/versions/{version}?deleted=true")
        except SchemaRegistryError as error:
            if not _says_not_found(error, _SUBJECT_NOT_FOUND):
                raise
            raise Unanswered(
                f"it refers to version {version} of the subject {subject}, which the registry does not have; register "
                "that again"
            ) from None


def _number(name: str, value: object) -> float:
    try:
        number = float(str(value))
    except ValueError:
        number = math.nan
    if not 0 < number < math.inf:
        raise ValueError(f"the schema registry's settings: {name}: must be a number above 0")
    return number


def _bad_authorities(properties: Mapping[str, Any]) -> str | None:
    """Which file of certificate authorities cannot be used, and why: the client's own errors name none."""
    for name, path in ((_AUTHORITIES, properties.get(_AUTHORITIES)), (_CERT_FILE, os.environ.get(_CERT_FILE))):
        try:
            if path:
                ssl.create_default_context(cafile=path)
        except OSError as error:
            why = "it holds no certificate" if isinstance(error, ssl.SSLError) else error.strerror
            return f"{name} names {path}, which cannot be used: {why}"
    return None


def explained(error: Exception) -> str:
    """What went wrong, without the error's own text: it may contain a response body, or the URL with credentials."""
    if ours := [cause for cause in _causes(error) if isinstance(cause, RulesToRun | Unanswered)]:
        return str(ours[-1])
    if isinstance(error, SchemaRegistryError):
        status = error.http_status_code
        # Whatever stands before the registry may answer with a code of its own, of any type.
        code = f", error code {error.error_code}" if type(error.error_code) is int and error.error_code > 0 else ""
        hint = _HINTS.get(301 if 300 <= status < 400 else status)  # noqa: PLR2004 - HTTP's redirects
        return f"HTTP {status}{code}" + (f"; {hint}" if hint else "")
    if any(isinstance(cause, OAuthTokenError) for cause in _causes(error)):
        return f"the identity provider gives no token; {_OAUTH_HINT}"
    if isinstance(error, KeyError) and error.args[:1] in _EXPIRIES:
        return "the identity provider's token has no expires_in, which the registry's client needs; set it there"
    if isinstance(error, json.JSONDecodeError | KeyError | AttributeError | TypeError):
        return f"the answer is not from a schema registry ({type(error).__name__}); check the registry URL and its path"
    causes = [_in_words(cause) for cause in _causes(error) if isinstance(cause, OSError) and cause.strerror]
    return type(error).__name__ + (f": {causes[-1]}" if causes else "")


def _causes(error: BaseException) -> Iterator[BaseException]:
    cause: BaseException | None = error
    while cause is not None:
        yield cause
        # A group: one error for each address of the host.
        cause = cause.exceptions[-1] if isinstance(cause, ExceptionGroup) else cause.__cause__ or cause.__context__


def _in_words(error: OSError) -> str:
    has_own_numbers = isinstance(error, ssl.SSLError | socket.gaierror)
    return str(error.strerror) if has_own_numbers or not error.errno else os.strerror(error.errno)


def _says_not_found(error: SchemaRegistryError, codes: Collection[int]) -> bool:
    code = error.error_code
    return error.http_status_code == _NOT_FOUND and type(code) is int and code in codes


def _parsed(answer: dict[str, Any]) -> object:
    """The schema in an answer.

    Raises:
        InvalidSchema: It is not Avro's JSON.
        TypeError, KeyError: The answer has none.
    """
    text = answer["schema"]
    if not isinstance(text, str):
        raise TypeError("the registry's answer has no schema")
    kind = answer.get("schemaType") or "AVRO"
    if kind != "AVRO":
        raise InvalidSchema(f"its type is {ascii(kind)[:_SHOWN_MAX]}")
    try:
        schema: object = json.loads(text)
    except (ValueError, RecursionError):
        raise InvalidSchema("its text is not JSON") from None
    return schema


def _avro(schema: object) -> Schema:
    return Schema(json.dumps(schema), "AVRO")


def _without_userinfo(url: str) -> str:
    """Scheme, host, port and path only."""
    parts = urlsplit(url.strip())
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"


def _without_credentials(text: str, url: str) -> str:
    for one in url.split(","):
        text = text.replace(one.strip().rstrip("/"), _without_userinfo(one))
    return text
