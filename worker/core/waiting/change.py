"""What one record changes of a user, kept as small as can be: a million of these may wait."""

from __future__ import annotations

import struct
from collections.abc import Container, Mapping
from enum import Enum, auto
from operator import itemgetter
from sys import getsizeof
from typing import Any, Final, Self

from worker.core.model import Headers, Partition, Record, Scalar, Source, User, UserKey, headers_bytes
from worker.core.trace import trace_context
from worker.core.waiting.ledger import Ledger

# Bytes for the memory budget, measured on CPython 3.11 by filling a window with a million changes; what the allocator
# adds is included.
CHANGE_BYTES: Final = 80  # without what its place and its values take
SLOT_BYTES: Final = 8
NAMES_BYTES: Final = 40
BESIDE_BYTES: Final = 190

_SHAPES_MAX: Final = 1_000
_SHAPE_NAMES_MAX: Final = 100

# Offset, timestamp and the event's time; how long the event's id is; which of these there are. Then id and key.
_WHERE: Final = struct.Struct(">qq")
_PLACE: Final = struct.Struct(">qqqiB")
_TIME, _OWN_KEY, _KEY_OF_USER = 1, 2, 4
_NO_ID: Final = -1


class Gone(Enum):
    """In the place of a value that no longer counts: it was delivered, refused, or equals a later one."""

    GONE = auto()


GONE: Final = Gone.GONE

_FIRST: Final = 3  # of a change's values
_OF_KINDS: Final[Mapping[type, int]] = {int: 32, float: 32, Gone: 1, bool: 1, type(None): 1}  # those of 1 are shared


class Shape(tuple[str, ...]):
    """The names of the values in many changes, once for all of them."""

    __slots__ = ()


class Shapes:
    """The shapes met lately. Names that come only once get none: nobody else would have them."""

    def __init__(self) -> None:
        self._met: dict[tuple[str, ...], Shape | None] = {}

    def names(self, values: Mapping[str, Scalar]) -> tuple[str, ...]:
        """The names of these values: a `Shape` if the same came twice before."""
        names = tuple(values)
        shape = self._met.get(names)
        return self._meet(names) if shape is None else shape

    def _meet(self, names: tuple[str, ...]) -> tuple[str, ...]:
        if len(names) > _SHAPE_NAMES_MAX:
            return names
        if names in self._met:
            self._met[names] = Shape(names)
            return names  # it still has names of its own: their texts are counted here, and are the shape's
        if len(self._met) >= _SHAPES_MAX:
            self._met.clear()
        self._met[names] = None
        return names


class Beside(tuple[str, ...]):  # noqa: SLOT001 - a tuple may have no slots of its own
    """The names of a change that has what few have.

    Attributes:
        sent: as in `Checked`.
        headers: the trace headers that a dead letter passes on.
        partition: the record's, where it is not the ledger's.
    """

    sent: User | None
    headers: Headers
    partition: Partition | None

    @classmethod
    def of(
        cls, names: tuple[str, ...], sent: User | None, headers: Headers, partition: Partition | None
    ) -> tuple[str, ...]:
        """The names with these; alone, if a change has none of these."""
        if sent is None and not headers and partition is None:
            return names
        beside = cls(names)
        beside.sent, beside.headers, beside.partition = sent, headers, partition
        return beside


class Change(tuple[Any, ...]):
    """One record's change: its ledger, its place, the names of its values, and then these, in one tuple.

        change = Change(ledger, key, source, {"tier": "gold", "age": 40})
        change.fold()  # {"tier": "gold", "age": 40}
        change.without({"age"}).fold()  # {"tier": "gold"}

    Attributes:
        ledger: of its partition. A job's user is the ledger of its own changes.
        place: where it lies in the log, and its record's key, packed. Of two records of a partition, the later one's is
            the greater.
        names: of its values. A `Beside` if it has anything else.
    """

    __slots__ = ()

    ledger: Ledger = property(itemgetter(0))  # type: ignore[assignment]  # so it is as fast as an attribute
    place: bytes = property(itemgetter(1))  # type: ignore[assignment]  # as above
    names: tuple[str, ...] = property(itemgetter(2))  # type: ignore[assignment]  # as above

    def __new__(
        cls,
        ledger: Ledger,
        key: UserKey,
        source: Source,
        values: Mapping[str, Scalar],
        *,
        sent: User | None = None,
        occurred_at_ms: int | None = None,
        record_key: bytes | None = None,
        headers: Headers = (),
    ) -> Self:
        """A change that a job makes, in whichever partition it lies. `sent`: as in `Checked`."""
        partition = None if source.partition == ledger.partition else source.partition
        names = Beside.of(tuple(values), sent, headers, partition)
        place = _place(key, source.offset, source.timestamp_ms, occurred_at_ms, source.event_id, record_key)
        return tuple.__new__(cls, (ledger, place, names, *values.values()))

    @classmethod
    def of_record(
        cls,
        ledger: Ledger,
        record: Record,
        key: UserKey,
        names: tuple[str, ...],
        values: Mapping[str, Scalar],
        *,
        occurred_at_ms: int | None,
        event_id: str | None,
        sent: User | None,
    ) -> Change:
        """A record's change of this user, with these of its values and their names. `sent`: as in `Checked`."""
        place = _place(key, record.offset, record.timestamp_ms, occurred_at_ms, event_id, record.key)
        if sent is not None or record.headers:
            names = Beside.of(names, sent, trace_context(record.headers), None)
        return tuple.__new__(cls, (ledger, place, names, *values.values()))

    def fold(self) -> dict[str, Scalar]:
        """Its values that still count, by name."""
        return dict(zip(self[2], self[_FIRST:]))  # noqa: B905 - `strict` alone takes as long again

    def without(self, gone: Container[str]) -> Change:
        """The same, without the values of these names."""
        values = [GONE if name in gone else value for name, value in zip(self[2], self[_FIRST:], strict=True)]
        return Remains.of((*self[:_FIRST], *values))

    def emptied(self) -> Change:
        """The same, without any value."""
        return Remains.of((*self[:_FIRST], *(GONE,) * len(self[2])))

    @property
    def is_empty(self) -> bool:
        """Whether none of its values counts any more."""
        return False

    @property
    def is_whole(self) -> bool:
        """Whether all of its values still count."""
        return True

    def hold(self) -> None:
        """Its ledger holds its offset from now on."""
        self[0].hold(*_WHERE.unpack_from(self[1]))

    def __repr__(self) -> str:
        return f"Change({self.partition}, {self.offset})"

    @property
    def offset(self) -> int:
        """Of its record."""
        return int(_WHERE.unpack_from(self[1])[0])

    @property
    def timestamp_ms(self) -> int:
        """Of its record, in milliseconds since the epoch."""
        return int(_WHERE.unpack_from(self[1])[1])

    @property
    def occurred_at_ms(self) -> int | None:
        """When it occurred, as the event says, in milliseconds since the epoch."""
        _, _, occurred_at_ms, _, parts = _PLACE.unpack_from(self[1])
        return occurred_at_ms if parts & _TIME else None

    @property
    def partition(self) -> Partition:
        """Of its record."""
        names = self.names
        if type(names) is Beside and names.partition is not None:
            return names.partition
        return self.ledger.partition

    @property
    def source(self) -> Source:
        """Where it came from."""
        place = self.place
        offset, timestamp_ms, _, size, _ = _PLACE.unpack_from(place)
        start = _PLACE.size
        event_id = None if size == _NO_ID else place[start : start + size].decode("utf-8", "surrogatepass")
        return Source(self.partition, offset, timestamp_ms, event_id)

    def record_key(self, key: UserKey) -> bytes | None:
        """Its record's key. `key`: its user's."""
        _, _, _, size, parts = _PLACE.unpack_from(self.place)
        if parts & _KEY_OF_USER:
            return key[1:]
        return self.place[_PLACE.size + max(size, 0) :] if parts & _OWN_KEY else None

    @property
    def sent(self) -> User | None:
        """As in `Checked`."""
        names = self.names
        return names.sent if type(names) is Beside else None

    @property
    def headers(self) -> Headers:
        """The trace headers that a dead letter passes on."""
        names = self.names
        return names.headers if type(names) is Beside else ()

    @property
    def size_bytes(self) -> int:
        """What it takes in memory."""
        size = CHANGE_BYTES + len(self[1]) + SLOT_BYTES * len(self)
        for value in self[_FIRST:]:
            size += _OF_KINDS.get(type(value)) or getsizeof(value)
        names = self[2]
        return size if type(names) is Shape else size + _names_bytes(names)


class Remains(Change):
    """What is left of a change of which some values no longer count: these are `GONE`."""

    __slots__ = ()

    @classmethod
    def of(cls, parts: tuple[Any, ...]) -> Remains:
        """Of the parts of a change."""
        return tuple.__new__(cls, parts)

    def fold(self) -> dict[str, Scalar]:
        """As of a whole one."""
        return {name: value for name, value in zip(self[2], self[_FIRST:], strict=True) if value is not GONE}

    @property
    def is_empty(self) -> bool:
        """As of a whole one."""
        return self.count(GONE) == len(self[2])

    @property
    def is_whole(self) -> bool:
        """As of a whole one."""
        return False


def typed(value: Scalar) -> tuple[type, Scalar]:
    """A value as the destination tells it from others: True is not 1."""
    return type(value), value


def _place(  # one argument for each of its parts
    key: UserKey,
    offset: int,
    timestamp_ms: int,
    occurred_at_ms: int | None,
    event_id: str | None,
    record_key: bytes | None,
) -> bytes:
    parts, rest, size = 0, b"", _NO_ID
    if event_id is not None:
        rest = event_id.encode("utf-8", "surrogatepass")
        size = len(rest)
    if occurred_at_ms is not None:
        parts = _TIME
    if record_key is not None:
        if key[1:] == record_key:
            parts |= _KEY_OF_USER
        else:
            parts |= _OWN_KEY
            rest += record_key
    return _PLACE.pack(offset, timestamp_ms, occurred_at_ms or 0, size, parts) + rest


def _names_bytes(names: tuple[str, ...]) -> int:
    size = NAMES_BYTES + sum(map(getsizeof, names)) + SLOT_BYTES * len(names)
    if type(names) is not Beside:
        return size
    size += BESIDE_BYTES + headers_bytes(names.headers)
    return size if names.sent is None else size + names.sent.size_bytes
