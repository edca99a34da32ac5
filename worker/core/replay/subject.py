"""One user of a replay, and what is to be sent for it."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping
from enum import Enum, auto

from worker.core.model import Partition, Scalar, Source, UserKey
from worker.core.replay.said import Said, Spot, is_later
from worker.core.replay.scope import place_of
from worker.core.waiting.change import Change
from worker.core.waiting.entry import Entry
from worker.core.waiting.ledger import Ledger

SUBJECT_BYTES = 640
NAME_BYTES = 40
SPOT_BYTES = 140
"""What a user takes in memory without what is to be sent, what each of its attributes adds, and each spot. Measured."""

_PLACE_BYTES = NAME_BYTES + SPOT_BYTES  # at most
_NOWHERE = Partition("", 0)
_PATIENCE = 3


class Stage(Enum):
    """How far a user has come."""

    WAITING = auto()  # not begun
    SENDING = auto()  # its values are with the engine
    VERIFYING = auto()  # they are delivered or dead letters; has a newer value appeared meanwhile?
    DONE = auto()


class Subject(Ledger):
    """A user. To its entry it is the ledger: it counts what is not settled, and has no offsets to commit.

    What is to be sent waits as the log says it, and becomes an entry when the user's call begins: an index of a million
    users is read a hundred thousand times faster than it is sent.

    Attributes:
        key: who.
        told: what is to be sent, in the order of the log: of each attribute the newest value, and behind it those to
            fall back on if the destination refuses it. Empty if nothing is, or the engine has it.
        values: how many values of it lie in the range.
        stage: how far it has come.
        settled_at: when all was settled last, in monotonic seconds.
        changed_at: when the log's latest change of it was written, as far as is known, in monotonic seconds.
        sent: something of it was sent, perhaps by an earlier process: its newest value must be sent last.
    """

    __slots__ = (
        *(
            "_latest",
            "_place",
            "changed_at",
            "key",
            "on_settled",
            "sent",
            "settled_at",
            "stage",
        ),
        *("told", "values", "waits_since"),
    )

    def __init__(self, key: UserKey, on_settled: Callable[[Subject], None]) -> None:  # a plain ledger's is not called
        self.partition = _NOWHERE
        self.live = True
        self.went_back = False
        self.unsettled = self.withheld = 0
        self.key = key
        self._place: int | None = None
        self.told: list[Said] = []
        self._latest: dict[str, Said | Spot] | None = None
        self.values = 0
        self.stage = Stage.WAITING
        self.settled_at = 0.0
        self.sent = False
        self.changed_at = -math.inf
        self.waits_since: float | None = None
        self.on_settled = on_settled

    @property
    def place(self) -> int:
        """Where in the order of the work. Found out when first asked: most users of an index are read long before."""
        if self._place is None:
            self._place = place_of(self.key)
        return self._place

    def changed(self, at: float) -> None:
        """A record that was written then names it."""
        if at > self.changed_at:  # noqa: PLR1730 - for every record; `max` takes three times as long
            self.changed_at = at

    def is_quiet(self, now: float, seconds: float) -> bool:
        """Whether it has not changed for so long. Whoever never keeps quiet counts as quiet after three times that."""
        if now - self.changed_at >= seconds:
            return True
        if self.waits_since is None:
            self.waits_since = now
        return now - self.waits_since >= _PATIENCE * seconds

    def hold(self, offset: int, timestamp_ms: int) -> None:  # noqa: ARG002 - a ledger's
        """One more entry has something of this user."""
        self.unsettled += 1

    def settle(self, offset: int) -> None:  # noqa: ARG002 - a ledger's
        """An entry is done, or has become part of another one."""
        self.unsettled -= 1
        if not self.unsettled:
            self.on_settled(self)

    # -- what the log says of it -----------------------------------------------------------------------------------

    @property
    def latest(self) -> dict[str, Said | Spot]:
        """The attributes that this replay is responsible for, and where the newest known value of each lies.

        A `Said` of `told` if that value is to be sent. While all of `told` lies in one partition, and nothing else is
        known, its order says as much: so this is made when first asked for.
        """
        if self._latest is None:
            self._latest = {name: said for said in self.told for name in said.values}
        return self._latest

    def newest(self, said: Said, values: Mapping[str, Scalar]) -> Mapping[str, Scalar]:
        """Those of a record's values of which no later one is known: nearly always all of them."""
        if self._latest is None and (not self.told or _follows(said, self.told[-1])):
            return values
        latest = self.latest
        older = {name for name in values if name in latest and not is_later(said, latest[name])}
        return _without(values, older) if older else values

    def newer(self, said: Said) -> Mapping[str, Scalar]:
        """What a later record says of the attributes that the replay is responsible for, where that is the newest."""
        latest = self.latest
        return self.newest(said, {name: value for name, value in said.values.items() if name in latest})

    def take(self, said: Said, values: Mapping[str, Scalar], *, send: bool) -> int:
        """A record of the range says these values, and perhaps more. `send`: they are to be sent.

        Returns the growth in bytes, at most.
        """
        told = self.told
        self.values += len(values)
        if send and self._latest is None and len(values) == len(said.values) and (not told or _follows(said, told[-1])):
            told.append(said)  # nearly always
            return said.size_bytes_at_most
        known = self._known
        self.fold(said, self.newest(said, values), send=send)
        return said.size_bytes_at_most + (self._known - known) * _PLACE_BYTES

    def take_later(self, said: Said) -> int:
        """As `take`, of a record that counts only for attributes that the range says something of."""
        known = self._known
        self.fold(said, self.newer(said), send=self.sent)
        return (said.size_bytes_at_most if self.sent else 0) + (self._known - known) * _PLACE_BYTES

    @property
    def _known(self) -> int:
        """Of how many attributes it keeps where the newest value lies."""
        return 0 if self._latest is None else len(self._latest)

    def fold(self, said: Said, newest: Mapping[str, Scalar], *, send: bool) -> None:
        """A record says this, and these values of it are the newest. `send`: they are to be sent."""
        if len(newest) < len(said.values):
            self._outdate(said, newest)
        if send:
            self.add(said, newest)
        else:
            self.pass_by(said, newest)

    def add(self, said: Said, values: Mapping[str, Scalar]) -> None:
        """A record says these newest values, which are to be sent."""
        if not values:
            return
        said.values = values
        self.told.append(said)
        if self._latest is not None:
            self._note(said, values)

    def _note(self, where: Said | Spot, names: Collection[str]) -> None:
        """The newest values of these attributes lie there."""
        self.latest.update(dict.fromkeys(names, where))

    def pass_by(self, where: Said | Source, names: Collection[str]) -> None:
        """The newest values of these attributes lie there, and are not to be sent from here, nor are any before."""
        told = {name for name in names if type(self.latest.get(name)) is Said}
        self._note(Spot(where.partition, where.offset, where.timestamp_ms), names)
        if told:
            self._narrow(lambda each: _without(each.values, told))

    def _outdate(self, said: Said, newest: Mapping[str, Scalar]) -> None:
        """What a record says beside the `newest` values is older than another partition's, but newer than its own's.

        So an attribute does not fall back on older values from there.
        """
        if len(self.told) < 2:  # noqa: PLR2004 - the newest value and an older one
            return
        latest, partition = self.latest, said.partition
        older = latest.keys() & said.values.keys() - newest.keys()
        if not older:
            return

        def kept(each: Said) -> Mapping[str, Scalar]:
            if each.partition != partition:
                return each.values
            return _without(each.values, {name for name in older if latest.get(name) is not each})

        self._narrow(kept)

    def fold_equals(self) -> None:
        """Keeps one of a partition's equal values: a value refused once is refused again."""
        seen: set[tuple[Partition, str, type, Scalar]] = set()

        def kept(each: Said) -> Mapping[str, Scalar]:
            new = {}
            for name, value in each.values.items():
                what = each.partition, name, type(value), value
                if what not in seen:
                    seen.add(what)
                    new[name] = value
            return new

        self.told.reverse()
        self._narrow(kept)
        self.told.reverse()

    def _narrow(self, kept: Callable[[Said], Mapping[str, Scalar]]) -> None:
        """Keeps only these values of each record, and no record without any."""
        for said in self.told:
            values = kept(said)
            if len(values) < len(said.values):
                said.values = values
        self.told = [said for said in self.told if said.values]

    @property
    def attributes(self) -> int:
        """Of how many attributes something is to be sent."""
        if len(self.told) == 1:
            return len(self.told[0].values)
        return len(set().union(*[said.values for said in self.told]))

    def measure(self) -> int:
        """What it takes in memory, in bytes."""
        latest = self._latest or {}
        spots = sum(type(where) is Spot for where in latest.values())
        told = sum([said.size_bytes for said in self.told])
        return SUBJECT_BYTES + told + len(latest) * NAME_BYTES + spots * SPOT_BYTES

    # -- its entry -------------------------------------------------------------------------------------------------

    def begin(self, now: float) -> Entry:
        """What is to be sent, for its call."""
        entry = Entry(self.key, now)
        for said in self.told:
            entry.absorb(said.change(self, said.values))
        latest = self.latest
        self.told = []
        self._latest = {name: Spot(each.partition, each.offset, each.timestamp_ms) for name, each in latest.items()}
        return entry

    def take_back(self, entry: Entry) -> None:
        """No call was made for its entry: what that has is to be sent later."""
        self.unsettled = 0
        for change in entry.changes:
            self.add(_said(entry.key, change), change.fold())


def _follows(said: Said, before: Said) -> bool:
    """Whether it lies behind, in the same partition."""
    return said.offset > before.offset and said.partition == before.partition


def _without(values: Mapping[str, Scalar], names: Collection[str]) -> Mapping[str, Scalar]:
    return {name: value for name, value in values.items() if name not in names}


def _said(key: UserKey, change: Change) -> Said:
    source = change.source
    return Said(
        key,
        change.sent,
        {},
        source.partition,
        source.offset,
        source.timestamp_ms,
        change.record_key(key),
        change.headers,
        change.occurred_at_ms,
        source.event_id,
    )
