"""A replay: sends again what a range of the log says, where it is still the last word. Safe beside live traffic.

It folds the range and all that lies behind it up to the present end, and sends for each user and attribute the last
value of the whole log, if that lies in the range. Live workers go on meanwhile, so rules keep it from leaving an
older value behind, and from showing one:

1. A call starts only if the log was read up to an end that is at most `FRESH_SECONDS` old. It is written before that
   end is `WRITE_SECONDS` old, or not at all.
2. After its reply the log is read on to the end as of that reply. If a newer value of a sent attribute has appeared, it
   is sent, too, until none is newer.
3. A user is called for, also again, when it has kept quiet for `quiet_seconds`: a window and a moment. Live workers
   then hold nothing of it, and whatever comes now they hold for a window. Who changes before its call is taken back.

It can be killed at any instant, also while a call is under way that sets an older value. So progress names a user
before its first call: whoever goes on sends such a user's newest value in any case.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Mapping, Sequence
from enum import Enum, auto

from worker.core.engine import Engine
from worker.core.model import Now, Partition
from worker.core.replay.freshness import Freshness
from worker.core.replay.index import Index
from worker.core.replay.progress import MARKS_MAX, Progress, Tally
from worker.core.replay.said import Said
from worker.core.replay.scope import PLACES, Scope
from worker.core.replay.subject import Stage, Subject
from worker.core.waiting.entry import Entry


class Phase(Enum):
    """What the replay does."""

    READING = auto()  # the range, and the log behind it
    SENDING = auto()
    DONE = auto()


class Replay:
    """A step machine, without clock and without I/O. Its driver reads the log and does the engine's I/O.

        replay = Replay(engine, scope, Progress(), max_bytes)
        while replay.phase is not Phase.DONE:
            if replay.reread():
                ...  # open the range again, from its start
            replay.receive(..., now)  # what the next records say, in the order of each partition
            replay.read(positions, now)  # so far all records were received
            replay.ends(ends, asked_at)  # the answer to a question that was asked at that instant
            replay.step(now)
            replay.kept(progress)  # this progress is written down
            if replay.may_call(now):
                ...  # make the engine's calls

    Attributes:
        phase: what it does.
        tally: what it has found.
        marked: how many users `progress` has come to count as delivered since the start of this process.
    """

    def __init__(
        self,
        engine: Engine,
        scope: Scope,
        progress: Progress,
        max_bytes: int,
        *,
        ahead: int,
        quiet_seconds: float,
        dry: bool = False,
    ) -> None:
        """Begins, or goes on from `progress`.

        Args:
            engine: without any entry.
            scope: what to replay.
            progress: of an earlier process.
            max_bytes: for what the log says of users.
            ahead: so many users are named by progress before their calls can start.
            quiet_seconds: a user who has changed within so long waits: live workers may be about to call.
            dry: finds out what it would send, and sends nothing.
        """
        self._engine = engine
        self._dry = dry
        self._scope = scope
        self._max_bytes = max_bytes
        self._ahead = ahead
        self._quiet_seconds = quiet_seconds
        self._named = progress.begun  # by the present progress; `_kept` is what is written down of it
        self._kept = progress.begun
        self._open = set(progress.open)
        self._unverified = set(progress.unverified)
        self._freshness = Freshness()
        self._settled: list[Subject] = []
        self._index: Index
        self._order: list[Subject] = []
        self._next = 0  # of `_order`, the first that is not named
        self._coming: deque[Subject] = deque()  # named, and not begun
        self._restless: list[Subject] = []  # of these, those who have just changed
        self._untried: list[Entry] = []  # with the engine, and no call was made yet
        self._begun: set[Subject] = set()  # and not done
        self._reread = True
        self.tally = Tally()
        self.marked = 0
        self.phase = Phase.DONE if progress.done else Phase.READING
        self._begin_pass()

    # -- reading -------------------------------------------------------------------------------------------------

    def reread(self) -> bool:
        """Whether the driver has to begin to read the range from its start. True once for each pass."""
        again, self._reread = self._reread, False
        return again and self.phase is Phase.READING

    def receive(self, saids: Sequence[Said], now: Now) -> None:
        """What the next records say, in the order of each partition."""
        if self.phase is Phase.READING:
            self._index.take(saids, now)
            return
        for said in saids:
            self._hear(said, now)

    def _hear(self, said: Said, now: Now) -> None:
        """What a record says meanwhile."""
        subject = self._index.subjects.get(said.key)
        if subject is None or subject.stage is Stage.DONE:
            return
        subject.changed(now.mono)
        newer = subject.newer(said)
        self._hold(subject, overtaken=bool(newer))
        if subject.stage is Stage.WAITING:
            subject.fold(said, newer, send=subject.sent)
        elif newer:
            subject.sent = True  # a call was made, else its entry would have been withdrawn
            subject.pass_by(said, newer)
            self._engine.absorb(said.key, said.change(subject, newer), now)

    def _hold(self, subject: Subject, *, overtaken: bool) -> None:
        """A user has changed: what no call was made for yet waits until it keeps quiet again."""
        entry = self._engine.withdraw(subject.key) if subject.stage is Stage.SENDING else None
        if entry is None and not (overtaken and subject.stage is Stage.VERIFYING):
            return
        subject.stage, subject.waits_since = Stage.WAITING, None
        if entry is not None:
            subject.take_back(entry)
        self._untried = [each for each in self._untried if each is not entry]
        self._begun.remove(subject)
        self._restless.append(subject)

    def read(self, positions: Mapping[Partition, int]) -> None:
        """As `Freshness.read`."""
        self._freshness.read(positions)

    def ends(self, ends: Mapping[Partition, int], asked_at: float) -> None:
        """As `Freshness.ends`."""
        self._freshness.ends(ends, asked_at)

    @property
    def wants_ends(self) -> bool:
        """Whether the driver should ask where the partitions end."""
        return self._freshness.wants_ends

    @property
    def passes(self) -> int:
        """How many passes this one and those behind it are, if all users take as much memory as these."""
        index = self._index
        return math.ceil((PLACES - index.lower) / max(1, index.upper - index.lower))

    # -- sending -------------------------------------------------------------------------------------------------

    def may_call(self, now: Now) -> bool:
        """Rule 1: whether a call may start."""
        return self.phase is Phase.SENDING and self._freshness.is_fresh(now.mono)

    @property
    def write_by(self) -> float:
        """Until when a call that starts now may be written."""
        return self._freshness.write_by

    def step(self, now: Now) -> None:
        """Goes on as far as it can without a reply or a record."""
        if self.phase is Phase.READING and self._freshness.is_fresh(now.mono):
            self._begin_sending(now)
        if self.phase is not Phase.SENDING:
            return
        self._take_settled(now)
        self._verify()
        self._name_more()
        self._begin_more(now)
        if self._next == len(self._order) and not (self._coming or self._restless or self._begun):
            self._end_pass()

    @property
    def restless(self) -> int:
        """How many users wait until they keep quiet."""
        return len(self._restless)

    def kept(self, progress: Progress) -> None:
        """This progress is written down: calls may be made for the users that it names."""
        self._kept = progress.begun

    def _begin_pass(self) -> None:
        self._index = Index(
            self._scope,
            lower=self._named,
            doubtful=self._open,
            unverified=self._unverified,
            max_bytes=self._max_bytes,
            on_settled=self._settled.append,
        )
        self._freshness = Freshness()
        self._reread = True

    def _begin_sending(self, now: Now) -> None:
        self.tally.changes = self._index.changes
        self.tally.add_single(self._index.single)
        for subject in self._index.subjects.values():
            if not (self._unverified and subject.place in self._unverified):
                self.tally.add(subject)
        if self._dry:
            self._end_pass()
        else:
            self._order, self._next = self._index.ordered(now), 0
            self.phase = Phase.SENDING

    def _name_more(self) -> None:
        """Names the next users in progress, as many as it can hold. Those of whom nothing is to be sent are done."""
        while self._next < len(self._order) and len(self._coming) < self._ahead and self._has_room:
            subject = self._order[self._next]
            self._next += 1
            self._named = max(self._named, subject.place + 1)
            if subject.place not in self._unverified:
                self._open.add(subject.place)
            if not subject.told:
                self._mark_delivered(subject)
                self._end(subject)
            else:
                self._coming.append(subject)

    @property
    def _has_room(self) -> bool:
        return len(self._open) + len(self._unverified) < MARKS_MAX

    def _begin_more(self, now: Now) -> None:
        """Gives the engine the next users that are named. Those who have just changed wait aside."""
        self._untried = [entry for entry in self._untried if not entry.trial.calls]
        calm = [subject for subject in self._restless if subject.is_quiet(now.mono, self._quiet_seconds)]
        if calm:
            self._restless = [subject for subject in self._restless if subject not in calm]
            self._coming.extendleft(calm)
        while self._coming and self._coming[0].place < self._kept and len(self._untried) < self._ahead:
            subject = self._coming.popleft()
            if subject.is_quiet(now.mono, self._quiet_seconds):
                self._begin(subject, now)
            else:
                self._restless.append(subject)

    def _begin(self, subject: Subject, now: Now) -> None:
        if not subject.told:  # all of it was superseded meanwhile
            self._mark_delivered(subject)
            self._end(subject)
            return
        entry = subject.begin(now.mono)
        subject.stage = Stage.SENDING
        self._begun.add(subject)
        self._untried.append(entry)
        self._engine.admit(entry)

    def _take_settled(self, now: Now) -> None:
        settled, self._settled[:] = list(self._settled), []
        for subject in settled:
            if subject.unsettled or subject.stage is not Stage.SENDING:
                continue  # a newer value came in between
            subject.stage, subject.settled_at, subject.sent = Stage.VERIFYING, now.mono, True
            if subject.place not in self._unverified:
                self.tally.delivered += 1
            self._unverified.add(subject.place)
            self._mark_delivered(subject)

    def _verify(self) -> None:
        """Rule 2: whoever was read on to the end as of its reply, and found nothing newer, is done."""
        done = [each for each in self._begun if each.stage is Stage.VERIFYING and each.settled_at <= self._freshness.at]
        for subject in done:
            self._begun.remove(subject)
            self._end(subject)

    def _end(self, subject: Subject) -> None:
        subject.stage = Stage.DONE
        self._unverified.discard(subject.place)
        self._index.subjects.pop(subject.key, None)

    def _mark_delivered(self, subject: Subject) -> None:
        if subject.place in self._open:  # else progress knows it already
            self._open.discard(subject.place)
            self.marked += 1

    def _end_pass(self) -> None:
        upper = self._index.upper
        self._named = max(self._named, upper)
        # Memory may have had no room for all of those that an earlier process has left.
        self._open = {place for place in self._open if place >= upper}
        self._unverified = {place for place in self._unverified if place >= upper}
        if upper == PLACES:
            self.phase = Phase.DONE
            return
        self.phase = Phase.READING
        self._begin_pass()

    @property
    def progress(self) -> Progress:
        """How far it has come. Once this is kept, a process that goes on from it repeats nothing."""
        done = self.phase is Phase.DONE
        return Progress(self._named, frozenset(self._open), frozenset(self._unverified), done)
