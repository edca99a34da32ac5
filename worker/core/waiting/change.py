"""What one record changes, and the values of one attribute of a user, newest and older."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Final, TypeAlias

from worker.core.model import Headers, Scalar, Source, headers_bytes
from worker.core.waiting.ledger import Ledger

# Bytes per object without its strings, for the memory budget. Measured on CPython 3.11 by filling a window with a
# million of each; allocator overhead is included.
CHANGE_BYTES: Final = 260
ATTRIBUTE_BYTES: Final = 130
OLD_VALUE_BYTES: Final = 90

_REPEATS_MAX: Final = 16  # so many older values may repeat others, and as many more as there are others


class Change:
    """One record's change of a user, without the attributes: the entry keeps these by name."""

    __slots__ = ("headers", "ledger", "occurred_at_ms", "record_key", "source", "uses")

    def __init__(
        self,
        ledger: Ledger,
        source: Source,
        *,
        occurred_at_ms: int | None = None,
        record_key: bytes | None = None,
        headers: Headers = (),
    ) -> None:
        self.ledger = ledger
        self.source = source
        self.occurred_at_ms = occurred_at_ms
        self.record_key = record_key
        self.headers = headers
        self.uses = 0  # how many values of this change are still kept

    def release(self) -> int:
        """Drops one of its values. Returns the freed bytes as a negative number; 0 while other values remain."""
        self.uses -= 1
        return 0 if self.uses else -self.size_bytes

    @property
    def size_bytes(self) -> int:
        """What it takes in memory."""
        content = len(self.record_key or b"") + sys.getsizeof(self.source.event_id)
        return CHANGE_BYTES + content + (headers_bytes(self.headers) if self.headers else 0)


_Old: TypeAlias = tuple[Scalar, Change]  # a value, and the change that it came with


class Attribute:
    """An attribute's newest value, and the older values to fall back on if it is refused.

    Of equal values from one partition, the latest is enough: a value refused once is refused again. Equal values from
    two partitions are both kept, because either partition may be revoked. Repeats are only sought when there are many
    older values: that costs less than to seek with each.

    Attributes:
        overtaken: a later value was read, which waits in the user's next entry or became a dead letter. So this value
            is not the last word, even once it is delivered.
    """

    __slots__ = ("_older", "_older_max", "change", "overtaken", "value")

    def __init__(self, value: Scalar, change: Change) -> None:
        self.value = value
        self.change = change
        self.overtaken = False
        self._older: list[_Old] = []  # oldest first
        self._older_max = _REPEATS_MAX
        change.uses += 1

    def supersede(self, value: Scalar, change: Change) -> int:
        """Adds a newer value. Returns the growth in bytes, without the change itself; negative if memory is freed."""
        change.uses += 1
        self.overtaken = False
        mine = self.change
        if value == self.value and change.ledger is mine.ledger and type(value) is type(self.value):
            self.change = change
            return mine.release()
        self._older.append((self.value, mine))
        self.value, self.change = value, change
        grown = OLD_VALUE_BYTES + sys.getsizeof(value)
        return grown if len(self._older) < self._older_max else grown + self.drop_repeats()

    def has(self, value: Scalar) -> bool:
        """Whether the newest value equals this one for the destination, where True is not 1."""
        return value == self.value and type(value) is type(self.value)

    def history(self) -> Iterator[_Old]:
        """The kept values, oldest first. Some may repeat."""
        yield from self._older
        yield self.value, self.change

    def drop_repeats(self) -> int:
        """Drops each older value that comes again later from its partition. Returns the growth, which is negative."""
        seen = {(type(self.value), self.value, self.change.ledger)}
        kept = []
        freed = 0
        for old in reversed(self._older):
            value, change = old
            typed = (type(value), value, change.ledger)
            if typed in seen:
                freed += _freed(old)
            else:
                seen.add(typed)
                kept.append(old)
        self._older = kept[::-1]
        self._older_max = 2 * len(kept) + _REPEATS_MAX
        return freed

    def step_back(self) -> bool:
        """The newest value was refused: falls back to the one before it. False if there is none."""
        refused = self.value
        self.overtaken = True
        self._older = [old for old in self._older if not (type(old[0]) is type(refused) and old[0] == refused)]
        return self._step_back()

    def forget(self, ledgers: set[Ledger]) -> bool:
        """Drops the values from the ledgers' partitions. False if none is left."""
        if self._older:
            self._older = [old for old in self._older if old[1].ledger not in ledgers]
        return self.change.ledger not in ledgers or self._step_back()

    def _step_back(self) -> bool:
        if not self._older:
            return False
        self.value, self.change = self._older.pop()
        return True


def _freed(old: _Old) -> int:
    value, change = old
    return change.release() - OLD_VALUE_BYTES - sys.getsizeof(value)
