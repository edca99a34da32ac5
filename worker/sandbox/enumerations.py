"""Reads enumerations: attributes with fixed values, as people create them in Attentive's UI."""

from __future__ import annotations


class EnumerationError(Exception):
    """An enumeration is malformed. The message names the attribute, and says what is expected."""


def read_enumerations(document: object) -> dict[str, tuple[str, ...]]:
    """Reads a mapping of attribute names to lists of values.

    Raises:
        EnumerationError: It has another shape, or a value is neither a string nor a whole number.
    """
    if not isinstance(document, dict):
        raise EnumerationError("must be a mapping of attribute names to lists of values")
    return {_name(name): _values(name, values) for name, values in document.items()}


def _name(name: object) -> str:
    if not isinstance(name, str) or not name:
        raise EnumerationError(f"'{name}': a name must be a string (put it in quotes)")
    return name


def _values(name: str, values: object) -> tuple[str, ...]:
    if not isinstance(values, list) or not values:
        raise EnumerationError(f"'{name}': must be a list of values that is not empty")
    for value in values:
        # YAML reads an unquoted No as false, and 1.10 as 1.1. The original text is lost, so ask for quotes.
        if isinstance(value, bool) or not isinstance(value, str | int):
            raise EnumerationError(f"'{name}': values must be strings (put them in quotes) or whole numbers")
    return tuple(str(value) for value in values)
