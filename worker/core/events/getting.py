"""Functions that fetch a value from a decoded record, by the steps of a path."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

from worker.core.events.mapping import Keys

Getter: TypeAlias = Callable[[dict[str, Any]], Any]


def by_keys(keys: Keys) -> Getter:
    """A function that returns what lies at these steps. None if there is nothing."""
    if len(keys) == 1:
        (only,) = keys
        return lambda data: data.get(only)
    return lambda data: within(data, keys)


def within(value: Any, keys: Keys) -> Any:  # noqa: ANN401 - whatever Avro gave
    """What lies at these steps in a value. None if there is nothing."""
    for key in keys:
        if type(value) is list:
            value = entries(value)
        if type(value) is not dict:
            return None
        value = value.get(key)
    return value


def entries(items: list[Any]) -> dict[str, Any] | None:
    """The map in an array of records with the fields `key` and `value`. None if it is another array.

    A key that is null becomes an empty name.
    """
    found: dict[str, Any] = {}
    for item in items:
        if type(item) is not dict or item.keys() != {"key", "value"}:
            return None
        key = item["key"]
        found["" if key is None else str(key)] = item["value"]
    return found
