"""Says in plain words what is wrong with a value, and what would be right."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from pydantic_core import ErrorDetails, PydanticUndefined

from worker.settings.names import Name, nearest

_UNITS: Final[Mapping[str, str]] = {"_seconds": "seconds", "_bytes": "bytes", "_per_second": "requests a second"}

_Context = Mapping[str, Any]


def _plain(number: float) -> str:
    return str(int(number)) if number == int(number) else str(number)


_WORDS: Final[Mapping[str, Callable[[_Context], str]]] = {
    "greater_than": lambda context: f"must be above {_plain(context['gt'])}",
    "greater_than_equal": lambda context: f"must be at least {_plain(context['ge'])}",
    "less_than": lambda context: f"must be below {_plain(context['lt'])}",
    "less_than_equal": lambda context: f"must be at most {_plain(context['le'])}",
    "finite_number": lambda _: "must be a finite number",
    "string_too_short": lambda _: "must not be empty",
    "string_too_long": lambda context: f"must be at most {context['max_length']} characters",
    "string_pattern_mismatch": lambda _: "must be 1 to 249 letters, digits, '.', '_' or '-'",
    "too_short": lambda _: "must name at least one",
    "value_error": lambda context: str(context["error"]),
}
# By the start of the error's type. pydantic tells a wrong type from text that cannot be parsed; users need not.
_KINDS: Final[Mapping[str, str]] = {
    "float": "must be a number",
    "int": "must be a whole number",
    "bool": "must be true or false",
    "string": "must be text",
    "path": "must be a path",
    "tuple": "must be a list",
    "mapping": "must be a mapping of names to values",
    "dict": "must be a mapping of names to values",
}


def explain(name: Name, error: ErrorDetails) -> str:
    """What is wrong, and what would be right. Never repeats the value, only the nearest valid choice."""
    context = error.get("ctx", {})
    kind = error["type"]
    if kind == "missing":
        return f"is required: set {name.variable}, {name.flag} or {name.path} in the file"
    if kind == "literal_error":
        return _choice(name, error)
    if kind in _WORDS:
        text = _WORDS[kind](context)
    else:
        text = next((words for start, words in _KINDS.items() if kind.startswith(start)), error["msg"])
    return f"{_where_inside(error)}{text}{_hint(name)}"


def _choice(name: Name, error: ErrorDetails) -> str:
    expected = error.get("ctx", {})["expected"]
    given = error["input"]
    near = (
        nearest(given, expected.replace("'", "").replace(" or ", ", ").split(", ")) if isinstance(given, str) else None
    )
    return f"{_where_inside(error)}must be {expected}{f'; did you mean {near}?' if near else _hint(name)}"


def _where_inside(error: ErrorDetails) -> str:
    """Names the item of a list, counted from 1. Leaves out the key of a property, which is the user's own text."""
    inside = [part for part in error["loc"][1:] if isinstance(part, int)]
    return f"item {inside[0] + 1} " if inside else ""


def _hint(name: Name) -> str:
    """The unit, and the default as an example."""
    unit = next((unit for ending, unit in _UNITS.items() if f"_{name.field}".endswith(ending)), "")
    default = name.info.default
    example = f"the default is {default:g}" if isinstance(default, float) else ""
    if isinstance(default, bool | int):
        example = f"the default is {str(default).lower()}"
    if default is PydanticUndefined:
        example = ""
    hints = [hint for hint in (unit, example) if hint]
    return f" ({'; '.join(hints)})" if hints else ""
