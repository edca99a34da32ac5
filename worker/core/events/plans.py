"""What is compiled of each schema, by schema id: the least recently used ones are forgotten."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Final, Generic, TypeAlias, TypeVar

from worker.core.model import Event, Scalar, UserKey

Sendable: TypeAlias = tuple[UserKey, dict[str, Scalar], int | None, str | None, int]
"""An event of which nothing is refused, after preflight: the user, who is sent by the key alone; the values; when it
occurred, in milliseconds; its id; how many attributes a rule left out. It is made of nearly every record, so it is
nothing but a tuple."""

Plan: TypeAlias = Callable[[bytes, int, bytes | None, int], Event | Sendable | None]
"""From a value's bytes and the position behind its framing, and the same of the key, to the record's event; None if the
mapping ignores it. Plans that go on to preflight give what is sent, where nothing of an event is refused."""

PARTS_MAX: Final = 50_000
"""Bound of all plans together, in types, fields and symbols of their schemas: about 30 MiB.

1,600 schemas like the bundled one fit, or 160 of a hundred fields. A forgotten schema is asked for again, which stalls
its partition for the length of one answer.
"""

Id = TypeVar("Id", bound=Hashable)
Kept = TypeVar("Kept")


class Plans(Generic[Id, Kept]):
    """Plans, or prepared schemas, by the id of their schema or schemas."""

    def __init__(self, parts_max: int = PARTS_MAX) -> None:
        self._parts_max = parts_max
        self._plans: dict[Id, tuple[Kept, int]] = {}  # least recently used first
        self._parts = 0
        self._latest: Id | None = None

    def get(self, schema_id: Id) -> Kept | None:
        """The plan of an id, if it is kept."""
        found = self._plans.get(schema_id)
        if found is None:
            return None
        if schema_id != self._latest:
            self._latest = schema_id
            self._plans[schema_id] = self._plans.pop(schema_id)
        return found[0]

    def put(self, schema_id: Id, plan: Kept, parts: int) -> None:
        """Keeps the plan of a schema of so many parts, whatever its size; forgets others to make room."""
        self.forget(schema_id)
        while self._plans and self._parts + parts > self._parts_max:
            self.forget(next(iter(self._plans)))
        self._plans[schema_id] = (plan, parts)
        self._parts += parts
        self._latest = schema_id

    def forget(self, schema_id: Id) -> None:
        """Forgets the plan of an id, if it is kept."""
        if (found := self._plans.pop(schema_id, None)) is not None:
            self._parts -= found[1]
