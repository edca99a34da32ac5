"""The types of settings' values, and how each is read from text.

A value is text from the environment or a flag, or YAML from the file. The user sees every message of this module after
the name of the setting. No message repeats a value, because any value could be a secret.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, TypeAlias
from urllib.parse import urlsplit

from pydantic import AfterValidator, BeforeValidator, Field, SecretStr

_HOST_LENGTH_MAX = 253
_NO_TEXT = re.compile("[\0\ud800-\udfff]")
"""NUL, and what Python makes of bytes that are not UTF-8."""


class Secret:
    """Marks a setting whose whole value is a secret: it is never printed, and has no flag."""


@dataclass(frozen=True)
class Properties:
    """Marks a setting that is a mapping of properties, some of which may be secrets, and says which names are known."""

    known: frozenset[str]


def _no_boolean(value: object) -> object:
    """Refuses YAML's `yes` and `on`: they are booleans, which pydantic would read as 1."""
    if isinstance(value, bool):
        raise ValueError("must be a number")  # noqa: TRY004 - pydantic collects ValueError, not TypeError
    return value


def _items(value: object) -> object:
    if isinstance(value, str):
        text = value.strip()
        if text.startswith("["):
            return _from_json(text, list)
        return tuple(part.strip() for part in text.split(",") if part.strip())
    return value


def _pairs(value: object) -> object:
    if isinstance(value, str):
        return _from_json(value, dict) if value.strip() else {}
    return {} if value is None else value


def _property_values(value: object) -> object:
    """Writes booleans and numbers as librdkafka does."""
    pairs = _pairs(value)
    if not isinstance(pairs, dict):
        return pairs
    return {
        name: str(given).lower() if isinstance(given, bool) else str(given) if isinstance(given, int | float) else given
        for name, given in pairs.items()
    }


def is_text(value: object) -> bool:
    """Whether each text in a setting's value is one that files, names and headers can hold."""
    if isinstance(value, Mapping):
        return is_text((*value.keys(), *value.values()))
    if isinstance(value, tuple):
        return all(map(is_text, value))
    text = value.get_secret_value() if isinstance(value, SecretStr) else str(value)
    return _NO_TEXT.search(text) is None


def _from_json(text: str, kind: type[list[object] | dict[str, object]]) -> object:
    """Raises ValueError, with the position, if `text` is not JSON of that kind."""
    wanted = "list" if kind is list else "object"
    try:
        value = json.loads(text, object_pairs_hook=_without_duplicates)
    except json.JSONDecodeError as error:
        raise ValueError(f"must be a JSON {wanted}: {error.msg} at character {error.pos + 1}") from None
    except RecursionError:
        raise ValueError(f"must be a JSON {wanted}, and not nested so deeply") from None
    if not isinstance(value, kind):
        raise ValueError(f"must be a JSON {wanted}")  # noqa: TRY004 - pydantic collects ValueError, not TypeError
    return value


def _without_duplicates(pairs: list[tuple[str, object]]) -> dict[str, object]:
    names = [name for name, _ in pairs]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ValueError(f"names {', '.join(twice)} more than once")
    return dict(pairs)


def _none_when_empty(value: object) -> object:
    return (value.strip() or None) if isinstance(value, str) else value


def _id(value: object) -> object:
    """Reads YAML's number as the text it is."""
    return str(value) if type(value) is int else _none_when_empty(value)


def _stripped(value: object) -> object:
    """Strips text. YAML's empty value means the same as empty text."""
    return "" if value is None else value.strip() if isinstance(value, str) else value


def _joined(value: object) -> object:
    """A list of texts as one, with commas between."""
    items = _items(value) if isinstance(value, str) and value.startswith("[") else value
    if isinstance(items, list | tuple) and all(isinstance(item, str) for item in items):
        return ",".join(items)
    return items


def _lower(value: object) -> object:
    return value.lower() if isinstance(value, str) else value


def _region(value: object) -> object:
    if isinstance(value, bool):
        raise ValueError('is a word that YAML reads as true or false; put it in quotes: "NO"')  # noqa: TRY004 - pydantic collects ValueError, not TypeError
    if isinstance(value, str):
        return value.strip().upper() or None
    return value


def _distinct(value: tuple[str, ...]) -> tuple[str, ...]:
    if len(set(value)) < len(value):
        raise ValueError("names one thing more than once")
    return value


def _url(value: str) -> str:
    """Checks one URL. Returns it without a slash at the end."""
    try:
        parts = urlsplit(value)
        port = parts.port
    except ValueError:
        raise ValueError("is not a URL") from None
    if parts.scheme not in {"http", "https"} or not parts.hostname or port == 0 or any(map(str.isspace, value)):
        raise ValueError("must be a URL that starts with https:// or http:// and names a host")
    if not is_host(parts.hostname):
        raise ValueError("names a host that can't exist: labels of a host name have 1 to 63 characters")
    if "@" in parts.netloc:
        raise ValueError("must not contain a user name or password: logs would show them")
    if "?" in value or "#" in value:
        raise ValueError("must have no query and no fragment (a part after ? or #)")
    return value.rstrip("/")


def is_host(name: str) -> bool:
    """Whether a name can be looked up at all. Python raises odd errors for one that can't."""
    try:
        return len(name.encode("idna")) <= _HOST_LENGTH_MAX
    except UnicodeError:
        return False


def _host(value: str) -> str:
    if not is_host(value):
        raise ValueError("must be an address or a host name: labels of 1 to 63 characters with dots between them")
    return value


def _urls(value: str) -> str:
    return ",".join(_url(part.strip()) for part in value.split(","))


Number: TypeAlias = Annotated[float, BeforeValidator(_no_boolean), Field(allow_inf_nan=False)]
Count: TypeAlias = Annotated[int, BeforeValidator(_no_boolean)]
Text: TypeAlias = Annotated[str, Field(min_length=1)]
OptionalId: TypeAlias = Annotated[str | None, BeforeValidator(_id, json_schema_input_type=str | int | None)]
Host: TypeAlias = Annotated[Text, AfterValidator(_host)]
FieldPath: TypeAlias = Annotated[str, BeforeValidator(_stripped)]
FieldPaths: TypeAlias = Annotated[
    str, BeforeValidator(_joined, json_schema_input_type=str | list[str]), BeforeValidator(_stripped)
]
OptionalPath: TypeAlias = Annotated[Path | None, BeforeValidator(_none_when_empty)]
Region: TypeAlias = Annotated[str | None, BeforeValidator(_region)]
Texts: TypeAlias = Annotated[tuple[Text, ...], BeforeValidator(_items)]
Pairs: TypeAlias = Annotated[Mapping[str, str], BeforeValidator(_pairs)]
PropertyPairs: TypeAlias = Annotated[Mapping[str, str], BeforeValidator(_property_values)]
PropertyFiles: TypeAlias = Annotated[Mapping[Text, Path], BeforeValidator(_pairs)]
Url: TypeAlias = Annotated[str, AfterValidator(_url)]
OptionalUrls: TypeAlias = Annotated[Annotated[str, AfterValidator(_urls)] | None, BeforeValidator(_none_when_empty)]

AS_LIST = BeforeValidator(_items)
DISTINCT = AfterValidator(_distinct)
ANY_CASE = BeforeValidator(_lower)
EMPTY_IS_NONE = BeforeValidator(_none_when_empty)
