"""Remembers the values that the destination acknowledged, so that an unchanged value is not sent again.

A value is remembered only while it is certain that the destination holds it, as far as this worker's part of the log
goes: it was acknowledged under the partition's present assignment, by an entry whose calls were all answered, and
nothing was read since that says otherwise. The first different value that is read makes it forgotten, and not only the
call: a replay may send that value although this worker coalesces it away. Likewise a value that became a dead letter: a
redrive may send it later. So a remembered attribute has nothing waiting and nothing in flight.

To forget costs a call at most. So whoever is in doubt forgets.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Collection, Iterable, Mapping
from sys import getsizeof
from typing import Final, NamedTuple

from worker.core.model import Call, Scalar, User, UserKey
from worker.core.waiting.change import typed
from worker.core.waiting.entry import Entry
from worker.core.waiting.ledger import Ledger
from worker.core.waiting.memory import Memory

BUDGET_PART: Final = 0.5
"""Of the memory budget, so much at most is for remembered values: the rest stays for changes that wait."""

# Bytes per object without its strings, measured like those in `entry`.
USER_BYTES: Final = 750
VALUE_BYTES: Final = 210


class _Value(NamedTuple):
    """A remembered value: which record it came from, and when its call started, in monotonic seconds."""

    value: Scalar
    ledger: Ledger
    offset: int
    called_at: float


class _Remembered:
    """What is remembered of a user, as its identifiers were sent."""

    __slots__ = ("size_bytes", "user", "values")

    def __init__(self, user: User) -> None:
        self.user = user
        self.values: dict[str, _Value] = {}
        identifiers = (user.phone, user.email, user.client_user_id)
        self.size_bytes = USER_BYTES + user.custom_bytes + sum(map(getsizeof, identifiers))


class Sparing:
    """The remembered values of a bounded number of users. The least recently used ones go first.

        sparing = Sparing(1_000, 86_400.0, memory)
        sparing.changed(key, None, values, ledger, now)  # {"tier": "gold"}: all of it: nothing is remembered
        sparing.delivered(entry, call, started_at)
        sparing.changed(key, None, values, ledger, now)  # of {"tier": "gold", "age": 40} the age

    Attributes:
        users: what is remembered of each.
        size_bytes: what it takes in memory. `memory` counts it, too.
    """

    def __init__(self, users_max: int, seconds: float, memory: Memory) -> None:
        """`users_max`: 0 remembers nothing. `seconds`: from the start of its call, a value is used for so long."""
        self._users_max = users_max
        self._seconds = seconds
        self._memory = memory
        self._bytes_max = memory.max_bytes * BUDGET_PART
        self.users: OrderedDict[UserKey, _Remembered] = OrderedDict()
        self._unreadable: dict[Ledger, int] = {}
        self.size_bytes = 0

    def __len__(self) -> int:
        return len(self.users)

    def changed(
        self, key: UserKey, sent: User | None, values: Mapping[str, Scalar], ledger: Ledger, now: float
    ) -> Mapping[str, Scalar]:
        """Those of a change's values that have to be sent. What they replace is forgotten. `sent`: as in `Checked`."""
        remembered = self.users.get(key)
        if remembered is None:
            return values
        user = key.user if sent is None else sent
        if remembered.user != user:  # who knows which profile the destination finds by these identifiers?
            self._forget_user(key)
            return values
        self.users.move_to_end(key)
        known = remembered.values
        changed = {
            name: value
            for name, value in values.items()
            if name not in known or not self._holds(known[name], value, ledger, now)
        }
        self.forget_values(key, changed)
        return changed

    def delivered(self, entry: Entry, call: Call, started_at: float) -> None:
        """The destination acknowledged a call. The entry still has the values that it carried.

        Nothing is remembered if an earlier call of the entry has failed: that one may have been applied, and may even
        be applied yet. Nor what was overtaken meanwhile: see `Trial.overtaken`.
        """
        trial = entry.trial
        if not self._users_max or trial.calls != trial.answered:
            return
        newest = entry.newest()
        for name, value in call.properties.items():
            if name not in newest or name in trial.overtaken or typed(newest[name][0]) != typed(value):
                continue
            change = newest[name][1]
            ledger, offset = change.ledger, change.offset
            if offset > self._unreadable.get(ledger, -1):
                self._remember(entry.key, call.user, name, _Value(value, ledger, offset, started_at))
        while len(self.users) > self._users_max or self.size_bytes > self._bytes_max:
            self._forget_user(next(iter(self.users)))

    def forget_values(self, key: UserKey, names: Collection[str]) -> None:
        """What the destination holds of these attributes of a user is no longer certain."""
        remembered = self.users.get(key)
        if remembered is None:
            return
        for name in names:
            self._resize(remembered, -_size_bytes(name, remembered.values.pop(name, None)))
        if not remembered.values:
            self._forget_user(key)

    def make_room(self) -> None:
        """While memory is short, what is remembered gives way to changes that wait."""
        while self._memory.short and self.users:
            self._forget_user(next(iter(self.users)))

    def unreadable(self, ledger: Ledger, offset: int) -> None:
        """Nobody knows what this record says of whom. But once its schema is known, a redrive may send it.

        So what its partition said before is not certain any more.
        """
        if self._users_max:
            self._unreadable[ledger] = offset

    def forget(self, ledgers: set[Ledger]) -> None:
        """The partitions were dropped: forgets all users with a value from them, in one pass."""
        for ledger in ledgers:
            self._unreadable.pop(ledger, None)
        for key in [key for key, known in self.users.items() if _comes_from(known.values.values(), ledgers)]:
            self._forget_user(key)

    def _holds(self, known: _Value, value: Scalar, ledger: Ledger, now: float) -> bool:
        """Whether the destination certainly holds this value."""
        return (
            _same(known.value, value)
            and known.ledger is ledger
            and known.offset > self._unreadable.get(ledger, -1)
            and now - known.called_at <= self._seconds
        )

    def _remember(self, key: UserKey, user: User, name: str, value: _Value) -> None:
        remembered = self.users.get(key)
        if remembered is not None and remembered.user != user:
            self._forget_user(key)
            remembered = None
        if remembered is None:
            remembered = self.users[key] = _Remembered(user)
            self._resize(None, remembered.size_bytes)
        self.users.move_to_end(key)
        self._resize(remembered, _size_bytes(name, value) - _size_bytes(name, remembered.values.get(name)))
        remembered.values[name] = value

    def _forget_user(self, key: UserKey) -> None:
        self._resize(None, -self.users.pop(key).size_bytes)

    def _resize(self, remembered: _Remembered | None, size_bytes: int) -> None:
        if remembered is not None:
            remembered.size_bytes += size_bytes
        self.size_bytes += size_bytes
        self._memory.add(size_bytes)


def _same(one: Scalar, other: Scalar) -> bool:
    """Whether two values are written alike: True, 1, 1.0 and "1" are four, and so are 0.0 and -0.0 two."""
    return one == other and type(one) is type(other) and (isinstance(one, str | int) or repr(one) == repr(other))


def _comes_from(values: Iterable[_Value], ledgers: set[Ledger]) -> bool:
    return any(value.ledger in ledgers for value in values)


def _size_bytes(name: str, value: _Value | None) -> int:
    return 0 if value is None else VALUE_BYTES + getsizeof(name) + getsizeof(value.value)
