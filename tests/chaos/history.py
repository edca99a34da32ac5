"""The topic's values one by one: where each came from, when it was applied, and which may stand for it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import TypeAlias

from tests.chaos.destination import Exchange
from tests.chaos.traffic import REJECTED, Logged

Place: TypeAlias = tuple[int, int, str]
"""Where a value came from: partition, offset, and the attribute's name."""


@dataclass(frozen=True, slots=True)
class Item:
    """One value of one change.

    Attributes:
        at: when its change was produced, in epoch seconds.
        bad: the reason of the dead letter in which it must end; None if it is good.
    """

    user: str
    name: str
    value: object
    partition: int
    offset: int
    at: float
    bad: str | None

    @property
    def is_sent(self) -> bool:
        """Whether a request may carry it: good values, and those that the destination alone knows to be bad."""
        return self.bad in {None, REJECTED}

    @property
    def place(self) -> Place:
        return self.partition, self.offset, self.name

    def __str__(self) -> str:
        return f"{self.name[:20]} {str(self.value)[:20]!r} of user {self.user[-4:]} at {self.partition}:{self.offset}"


class History:
    """All values of a topic, and what the destination made of them.

    Attributes:
        items: by place.
        rows: the values of each user and attribute that requests may carry, in order.
        blurred: the rows with a value that occurs twice. Of a request that carries one nobody can tell which it is.
        applied_at: when a value was first applied, in epoch seconds; not for blurred rows.
        answered_at: when a user was first answered a status, in epoch seconds.
    """

    def __init__(self, log: Sequence[Logged], exchanges: Sequence[Exchange]) -> None:
        self.items: dict[Place, Item] = {}
        self.rows: Mapping[tuple[str, str], list[Item]] = defaultdict(list)
        self._number: dict[Place, int] = {}  # within its row
        self.blurred: set[tuple[str, str]] = set()
        self._found: dict[tuple[str, str, type, object], Item] = {}
        for change in log:
            for name, value in change.attributes.items():
                where = change.partition, change.offset, change.at
                self._add(Item(change.user, name, value, *where, change.bad.get(name)))
        self.applied_at: dict[Place, float] = {}
        self.answered_at: dict[tuple[str, int | None], float] = {}
        for exchange in exchanges:
            self.answered_at.setdefault((exchange.user, exchange.status), exchange.ended_at or exchange.at)
            if exchange.applied:
                for item in self.carried_by(exchange):
                    self.applied_at.setdefault(item.place, exchange.at)

    def _add(self, item: Item) -> None:
        self.items[item.place] = item
        if not item.is_sent:
            return
        row = self.rows[item.user, item.name]
        self._number[item.place] = len(row)
        row.append(item)
        if self._found.setdefault((item.user, item.name, type(item.value), item.value), item) is not item:
            self.blurred.add((item.user, item.name))

    def clear(self) -> Iterator[Item]:
        """All values but those of blurred rows."""
        for item in self.items.values():
            if not item.is_sent or (item.user, item.name) not in self.blurred:
                yield item

    def carried_by(self, exchange: Exchange) -> Iterator[Item]:
        """The values in a request, without those of blurred rows."""
        for name, value in exchange.properties.items():
            found = self._found.get((exchange.user, name, type(value), value))
            if found is not None and (exchange.user, name) not in self.blurred:
                yield found

    def unknown_in(self, exchange: Exchange) -> Iterator[str]:
        """The names in a request whose values its user never got, or that must not be sent."""
        for name, value in exchange.properties.items():
            if (exchange.user, name, type(value), value) not in self._found:
                yield name

    def heirs(self, item: Item) -> Iterator[Item]:
        """The value itself, then those that supersede it: later ones of the same user and attribute.

        A bad one supersedes no good one: where it is refused, the value before it stands. And what is refused before
        any call is superseded by nothing.
        """
        if not item.is_sent:
            yield item
            return
        for later in islice(self.rows[item.user, item.name], self._number[item.place], None):
            if later.bad is None or item.bad is not None:
                yield later
