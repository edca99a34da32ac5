"""How to read the records of each schema id: the compiled plans, least recently used ones forgotten."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, TypeAlias

from worker.core.model import Event

Plan: TypeAlias = Callable[[bytes, int], Event | None]
"""From a record's bytes, and the position behind the framing, to its event; None if the mapping ignores it."""

PARTS_MAX: Final = 60_000
"""Bound of all plans together, in types, fields and symbols of their schemas: about 30 MiB.

2,000 schemas like the bundled one fit, or 200 of a hundred fields. A forgotten schema is asked for again, which stalls
its partition for the length of one answer.
"""


class Plans:
    """Plans by schema id."""

    def __init__(self, parts_max: int = PARTS_MAX) -> None:
        self._parts_max = parts_max
        self._plans: dict[int, tuple[Plan, int]] = {}  # least recently used first
        self._parts = 0
        self._latest: int | None = None

    def get(self, schema_id: int) -> Plan | None:
        """The plan of an id, if it is kept."""
        found = self._plans.get(schema_id)
        if found is None:
            return None
        if schema_id != self._latest:
            self._latest = schema_id
            self._plans[schema_id] = self._plans.pop(schema_id)
        return found[0]

    def put(self, schema_id: int, plan: Plan, parts: int) -> None:
        """Keeps the plan of a schema of so many parts, whatever its size; forgets others to make room."""
        self._forget(schema_id)
        while self._plans and self._parts + parts > self._parts_max:
            self._forget(next(iter(self._plans)))
        self._plans[schema_id] = (plan, parts)
        self._parts += parts
        self._latest = schema_id

    def _forget(self, schema_id: int) -> None:
        self._parts -= self._plans.pop(schema_id, (None, 0))[1]
