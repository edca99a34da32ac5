"""What one record changes of a user, kept as small as can be: a million of these may wait."""

from __future__ import annotations

import marshal
import struct
from collections.abc import Container, Mapping
from decimal import Decimal
from operator import itemgetter
from sys import getsizeof
from typing import Any, Final, Self

from worker.core.model import Headers, Partition, Record, Scalar, Source, User, UserKey, headers_bytes
from worker.core.trace import trace_context
from worker.core.waiting.ledger import Ledger

# Bytes for the memory budget, measured on CPython 3.11 by filling a window with a million changes; what the allocator
# adds is included.
CHANGE_BYTES: Final = 108  # without what is packed
NAMES_BYTES: Final = 40
SLOT_BYTES: Final = 8
BESIDE_BYTES: Final = 190

_SHAPES_MAX: Final = 1_000
_SHAPES_BYTES_MAX: Final = 8 * 1024 * 1024  # of their texts, which nobody counts once their changes are settled
_SHAPE_NAMES_MAX: Final = 100

_PLACE: Final = struct.Struct(">qqq")  # the record's offset and timestamp, the event's time
_place: Final = _PLACE.pack
_new: Final = tuple.__new__
_dumps: Final = marshal.dumps
_UNTIMED: Final = -(2**63)  # as a time it lies beyond the calendar, and of such times letters tell none
_KEY_OF_USER: Final = True  # in the place of a record's key that is the user's identifier
_FIRST: Final = 2  # of a change's values, behind the event's id and the record's key
_PIECE_BYTES: Final = 448  # Python keeps objects of up to 512 bytes apart from larger ones, in pools
_VERSION: Final = 2  # of `marshal`: later ones look for parts that are the same, which takes longer


class Shape(tuple[str, ...]):
    """The names of the values in many changes, once for all of them."""

    __slots__ = ()


class Shapes(dict[tuple[str, ...], tuple[str, ...]]):
    """The shapes met lately: `shapes[names]` is the `Shape` of names that came twice before, and else the names.

    Names that come only once get none, and leave no text behind: nobody else would have them.
    """

    def __init__(self) -> None:
        super().__init__()
        self._once: set[int] = set()  # hashes
        self._bytes = 0

    def __missing__(self, names: tuple[str, ...]) -> tuple[str, ...]:
        """These have no shape yet. If they came before, the next ones have."""
        if len(names) <= _SHAPE_NAMES_MAX:
            if (what := hash(names)) in self._once:
                self._once.remove(what)
                self._bytes += sum(map(getsizeof, names))
                self[names] = Shape(names)
            else:
                self._once.add(what)
            if len(self) + len(self._once) > _SHAPES_MAX or self._bytes > _SHAPES_BYTES_MAX:
                self.clear()
                self._once.clear()
                self._bytes = 0
        return names  # their texts are counted with their change, and are the shape's


class Beside(tuple[str, ...]):  # noqa: SLOT001 - a tuple may have no slots of its own
    """The names of a change that has what few have.

    Attributes:
        shape: the same names, if these are a `Shape`'s.
        sent: as in `Checked`.
        headers: the trace headers that a dead letter passes on.
        partition: the record's, where it is not the ledger's.
    """

    shape: Shape | None
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
        beside.shape = names if type(names) is Shape else None
        beside.sent, beside.headers, beside.partition = sent, headers, partition
        return beside


class Change(tuple[Any, ...]):
    """One record's change: its ledger, the names of its values, and all else packed, values included.

    Of a hundred changes, a call needs the values of one. So they are kept in the cheapest way: to pack them takes no
    longer than to count the bytes of each, and all together are smaller than each alone.

        change = Change(ledger, key, source, {"tier": "gold", "age": 40})
        change.fold()  # {"tier": "gold", "age": 40}
        change.without({"age"}).fold()  # {"tier": "gold"}

    Attributes:
        ledger: of its partition. A job's user is the ledger of its own changes.
        names: of its values. A `Beside` if it has anything else.
        packed: where it lies in the log, its event's time and id, its record's key, its values. Of two records of a
            partition, the later one's is the greater.
    """

    __slots__ = ()

    ledger: Ledger = property(itemgetter(0))  # type: ignore[assignment]  # so it is as fast as an attribute
    names: tuple[str, ...] = property(itemgetter(1))  # type: ignore[assignment]  # as above
    packed: bytes = property(itemgetter(2))  # type: ignore[assignment]  # as above

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
        change = cls.of_record(
            ledger,
            Record(source.partition, source.offset, source.timestamp_ms, record_key, None, headers),
            key,
            tuple(values),
            values,
            occurred_at_ms=occurred_at_ms,
            event_id=source.event_id,
            sent=sent,
        )
        if source.partition == ledger.partition:
            return change
        names = Beside.of(change.names, sent, change.headers, source.partition)
        return tuple.__new__(cls, (ledger, names, change.packed))

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
    ) -> Self:
        """A record's change of this user, with these of its values and their names. `sent`: as in `Checked`."""
        place = _place(record.offset, record.timestamp_ms, _UNTIMED if occurred_at_ms is None else occurred_at_ms)
        record_key = record.key
        rest: list[Any] = [event_id, _KEY_OF_USER if key[1:] == record_key else record_key, *values.values()]
        if sent is not None or record.headers:
            names = Beside.of(names, sent, trace_context(record.headers), None)
        try:
            packed = _joined(place, _dumps(rest, _VERSION))
        except ValueError:
            packed = _joined(place, _dumps(_with_decimals(rest), _VERSION))
        return _new(cls, (ledger, names, packed))

    def fold(self) -> dict[str, Scalar]:
        """Its values that still count, by name."""
        return dict(zip(self[1], _unpacked(self)[_FIRST:]))  # noqa: B905 - `strict` alone takes as long again

    def without(self, gone: Container[str]) -> Self:
        """The same, without the values of these names."""
        values = {name: value for name, value in self.fold().items() if name not in gone}
        ledger, names, packed = self.ledger, self.names, self.packed
        if len(values) == len(names):
            return self
        rest = [*_unpacked(self)[:_FIRST], *values.values()]
        left: tuple[str, ...] = tuple(values)
        if type(names) is Beside:
            left = Beside.of(left, names.sent, names.headers, names.partition)
        repacked = _joined(packed[: _PLACE.size], _dumps(_with_decimals(rest), _VERSION))
        return tuple.__new__(type(self), (ledger, left, repacked))

    def emptied(self) -> Self:
        """The same, without any value."""
        return self.without(self.names)

    @property
    def is_empty(self) -> bool:
        """Whether none of its values counts any more."""
        return not self.names

    def hold(self) -> None:
        """Its ledger holds its offset from now on."""
        offset, timestamp_ms, _ = _PLACE.unpack_from(self[2])
        self[0].hold(offset, timestamp_ms)

    def __repr__(self) -> str:
        return f"Change({self.partition}, {self.offset})"

    @property
    def offset(self) -> int:
        """Of its record."""
        return int(_PLACE.unpack_from(self[2])[0])

    @property
    def timestamp_ms(self) -> int:
        """Of its record, in milliseconds since the epoch."""
        return int(_PLACE.unpack_from(self[2])[1])

    @property
    def occurred_at_ms(self) -> int | None:
        """When it occurred, as the event says, in milliseconds since the epoch."""
        occurred_at_ms = int(_PLACE.unpack_from(self[2])[2])
        return None if occurred_at_ms == _UNTIMED else occurred_at_ms

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
        return Source(self.partition, self.offset, self.timestamp_ms, _unpacked(self)[0])

    def record_key(self, key: UserKey) -> bytes | None:
        """Its record's key. `key`: its user's."""
        record_key: bytes | bool | None = _unpacked(self)[1]
        return key[1:] if isinstance(record_key, bool) else record_key

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
        size, names = CHANGE_BYTES + len(self[2]), self[1]
        return size if type(names) is Shape else size + _names_bytes(names)


def typed(value: Scalar) -> tuple[type, Scalar]:
    """A value as the destination tells it from others: True is not 1."""
    return type(value), value


def _joined(place: bytes, rest: bytes) -> bytes:
    """Both in one. What is large is copied through small pieces, so that `rest` is freed before the whole is made.

    Else the hole that `rest` leaves would stay beside it: `marshal` asks for more than it needs, gives some of that
    back, and the next one does not fit in. Then what waits takes nearly twice its size.
    """
    if len(rest) <= _PIECE_BYTES:
        return place + rest
    pieces = [rest[at : at + _PIECE_BYTES] for at in range(0, len(rest), _PIECE_BYTES)]
    del rest
    return b"".join((place, *pieces))


def _with_decimals(parts: list[Any]) -> list[Any]:
    """For `marshal`, which knows no Decimal: each is a text in a tuple, and there is one part more."""
    return [*((str(part),) if type(part) is Decimal else part for part in parts), None]


def _unpacked(change: Change) -> list[Any]:
    """The event's id, the record's key or `_KEY_OF_USER`, and the values."""
    parts: list[Any] = marshal.loads(change[2][_PLACE.size :])  # noqa: S302 - packed above, in this process
    if len(parts) == _FIRST + len(change[1]):
        return parts
    return [Decimal(*part) if type(part) is tuple else part for part in parts[:-1]]


def _names_bytes(names: tuple[str, ...]) -> int:
    size = NAMES_BYTES + SLOT_BYTES * len(names)
    if type(names) is not Beside:
        return size + sum(map(getsizeof, names))
    if names.shape is None:
        size += sum(map(getsizeof, names))
    size += BESIDE_BYTES + headers_bytes(names.headers)
    return size if names.sent is None else size + names.sent.size_bytes
