"""Reads the body of `POST /v1/attributes/custom` into identifiers and scalar values, or refuses it.

It follows the API's documentation. Where that is silent, a comment beside the check gives our choice.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple, NoReturn, TypeAlias

NAME_CHARACTERS_MAX = 200
IDENTIFIER_CHARACTERS_MAX = 100

_PHONE = re.compile(r"\+[1-9][0-9]{6,14}")
_EMAIL = re.compile(r"[^@\s]+@[^@\s]+\.[^@\s.]+")


@dataclass(frozen=True, slots=True)
class Number:
    """A JSON number, kept as the text that was sent: 1.50 stays 1.50."""

    text: str


Value: TypeAlias = str | bool | Number


class Identifier(NamedTuple):
    """One identifier of a user. `kind` is phone, email, clientUserId or custom; `name` is a custom one's name."""

    kind: str
    name: str
    value: str

    @property
    def key(self) -> Identifier:
        """The same for all spellings of one identifier: an email's domain is in lower case."""
        if self.kind != "email":
            return self
        local, _, domain = self.value.rpartition("@")
        return self._replace(value=f"{local}@{domain.lower()}")


class RefusedError(Exception):
    """The answer to the request is a 400.

    `attribute` names the wrong attribute, if one is wrong. `value` is its value, for error bodies that echo it.
    """

    def __init__(self, message: str, *, attribute: str | None = None, value: object = None) -> None:
        super().__init__(message)
        self.attribute = attribute
        self.value = value


@dataclass(frozen=True, slots=True)
class Upsert:
    """A well-formed request: the user's identifiers, and the attributes to set, in the order sent."""

    identifiers: tuple[Identifier, ...]
    properties: Mapping[str, Value] = field(repr=False)


def _refuse_constant(_text: str) -> NoReturn:
    raise RefusedError("Request body is not JSON: NaN and infinity are no JSON numbers")


_DECODER = json.JSONDecoder(parse_float=Number, parse_int=Number, parse_constant=_refuse_constant)


def read_upsert(body: bytes) -> Upsert:
    """Reads a request body.

    Ignores unknown members beside `user` and `properties`, and accepts empty `properties`: the documentation refuses
    neither.

    Raises:
        RefusedError: The body is not JSON, or names no valid user, or one attribute cannot be set.
    """
    try:
        document = _DECODER.decode(body.decode())
    except (ValueError, RecursionError):
        raise RefusedError("Request body is not JSON") from None
    if not isinstance(document, dict):
        raise RefusedError("Request body must be a JSON object")
    properties = document.get("properties")
    if not isinstance(properties, dict):
        raise RefusedError("'properties' is required and must be an object")
    identifiers = _read_user(document.get("user"))
    for name, value in properties.items():
        _check_attribute(name, value)
    return Upsert(identifiers, properties)


def read_identifier(kind: str, value: object) -> Identifier:
    """Checks a phone, an email or a client user id.

    Raises:
        RefusedError: It is not a string of that form. A null is refused, too: leave an absent identifier out.
    """
    text = _read_text(value, f"'{kind}'")
    if kind == "phone" and not _PHONE.fullmatch(text):
        raise RefusedError("'phone' must be in E.164 format, such as +13115552368")
    if kind == "email" and not _EMAIL.fullmatch(text):
        raise RefusedError("'email' must be an email address")
    return Identifier(kind, "", text)


def _read_user(user: object) -> tuple[Identifier, ...]:
    if not isinstance(user, dict):
        raise RefusedError("'user' is required and must be an object")
    _refuse_unknown(user, ("phone", "email", "externalIdentifiers"), "user")
    identifiers = [read_identifier(kind, user[kind]) for kind in ("phone", "email") if kind in user]
    if "externalIdentifiers" in user:
        identifiers += _read_external(user["externalIdentifiers"])
    if not identifiers:
        raise RefusedError("'user' must have a phone, an email or an external identifier")
    return tuple(identifiers)


def _read_external(external: object) -> list[Identifier]:
    if not isinstance(external, dict):
        raise RefusedError("'externalIdentifiers' must be an object")
    _refuse_unknown(external, ("clientUserId", "customIdentifiers"), "externalIdentifiers")
    identifiers = []
    if "clientUserId" in external:
        identifiers.append(read_identifier("clientUserId", external["clientUserId"]))
    listed = external.get("customIdentifiers", [])
    if not isinstance(listed, list):
        raise RefusedError("'customIdentifiers' must be an array of {name, value}")
    for entry in listed:
        if not isinstance(entry, dict) or entry.keys() != {"name", "value"}:
            raise RefusedError("'customIdentifiers' must be an array of {name, value}")
        name = _read_text(entry["name"], "a custom identifier's name")
        identifiers.append(Identifier("custom", name, _read_text(entry["value"], "a custom identifier's value")))
    return identifiers


def _read_text(value: object, what: str) -> str:
    if not isinstance(value, str) or not value.strip():
        raise RefusedError(f"{what} must be a string that is not empty")
    if len(value) > IDENTIFIER_CHARACTERS_MAX:
        raise RefusedError(f"{what} must have at most {IDENTIFIER_CHARACTERS_MAX} characters")
    return value


def _refuse_unknown(given: Mapping[str, object], known: tuple[str, ...], where: str) -> None:
    if given.keys() - set(known):
        raise RefusedError(f"'{where}' may have only {', '.join(known)}")


def _check_attribute(name: str, value: object) -> None:
    if not name:
        raise RefusedError("An attribute's name must not be empty", attribute=name, value=value)
    if len(name) > NAME_CHARACTERS_MAX:
        limit = f"An attribute's name must have at most {NAME_CHARACTERS_MAX} characters"
        raise RefusedError(f"{limit}: '{name}'", attribute=name, value=value)
    if isinstance(value, list):
        raise RefusedError(f"Attribute '{name}': arrays are not supported", attribute=name, value=value)
    if isinstance(value, dict):
        raise RefusedError(f"Attribute '{name}': objects are not supported", attribute=name, value=value)
    if value is None:
        # The documentation does not say what a null does. Refuse it, so that nobody relies on a guess.
        raise RefusedError(f"Attribute '{name}': null is not supported", attribute=name, value=value)
