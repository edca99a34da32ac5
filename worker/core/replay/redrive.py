"""A redrive: sends again what dead letters hold, where it is still the last word. Safe beside live traffic.

Its letters say what is to be sent, and where that lies in the log. The log behind them, up to the present end, says
which of it has a later change. What has none is sent, by the rules of `replay`:

1. A call starts only if the log was read up to an end that is at most `FRESH_SECONDS` old.
2. After its reply the log is read on to the end as of that reply. If a newer value of a sent attribute has appeared, it
   is sent, too, until none is newer. Only then is the letter ended.

The record that ends a letter is acknowledged before the next letter of its user is sent. If the process is killed
before that, the letter is still open, and another run sends it again. The killed process may have set the letter's
value over a newer one. So a record in the topic marks a letter before its first call: where a marked letter has a later
change, that one is sent.
"""

from __future__ import annotations

import heapq
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import count
from typing import Final, NamedTuple

from worker.core.engine import Engine
from worker.core.letters.folding import DELIVERED, REFUSED_AGAIN, SUPERSEDED, beginning_of, resolution_of
from worker.core.model import Letter, Now, Partition, Reason, UserKey
from worker.core.replay.addressees import Addressee, Addressees
from worker.core.replay.errand import Errand
from worker.core.replay.freshness import Freshness
from worker.core.replay.replay import Phase
from worker.core.replay.said import Said
from worker.core.replay.scope import PLACES
from worker.core.replay.subject import Stage, Subject

_RETRY_SECONDS: Final = 1.0


class _Name(NamedTuple):
    """An attribute's value in the log."""

    name: str
    partition: Partition
    offset: int


class Redrive:
    """A step machine, without clock and without I/O. Its driver reads letters and the log, and does the engine's I/O.

        redrive = Redrive(engine, max_bytes, concurrency=32)
        while redrive.phase is not Phase.DONE:
            if redrive.refill():
                ...  # redrive.expect(key, errand), for all letters
                redrive.filled()
            if redrive.reread():
                ...  # open the log at `redrive.addressees.begins`
            ...  # receive, read, ends, step and may_call, as in `Replay`
            for letter in redrive.letters(now):
                publish(letter)  # its delivery report: redrive.written or failed

    Letters that the engine wants written go through `keep` first.

    Attributes:
        phase: what it does.
        outcomes: how many letters ended how; in a dry run, how many would.
        calls: in a dry run, how many there would be.
        addressees: the users of this pass.
    """

    def __init__(
        self, engine: Engine, max_bytes: int, *, concurrency: int, quiet_seconds: float, dry: bool = False
    ) -> None:
        """Begins.

        Args:
            engine: without any entry.
            max_bytes: for letters.
            concurrency: users at a time whose letters are with the engine, or being ended. So a process that is killed
                makes at most so many calls again.
            quiet_seconds: as of a `Replay`.
            dry: finds out what it would do, and does nothing.
        """
        self._engine = engine
        self._concurrency = concurrency
        self._quiet_seconds = quiet_seconds
        self._max_bytes = max_bytes
        self._dry = dry
        self._settled: list[Subject] = []
        self.addressees = self._none_yet(0)
        self._freshness = Freshness()
        self._order: list[Addressee] = []
        self._next = 0  # of `_order`, the first that is not begun
        self._restless: list[Addressee] = []  # their next letter waits, since they have just changed
        self._begun: set[Addressee] = set()  # and not done
        self._ours: dict[_Name, Errand] = {}  # the values under way
        self._writing: dict[Letter, Addressee] = {}
        self._due: list[tuple[float, int, Letter]] = []
        self._number = count()
        self._refill, self._reread, self._stopping = True, False, False
        self.outcomes: Counter[str] = Counter()
        self.calls = 0
        self.phase = Phase.READING

    # -- letters in ----------------------------------------------------------------------------------------------

    def refill(self) -> bool:
        """Whether the driver has to bring all letters, from the first. True once for each pass."""
        again, self._refill = self._refill, False
        return again and self.phase is Phase.READING

    def expect(self, key: UserKey, errand: Errand) -> None:
        """As `Addressees.expect`."""
        self.addressees.expect(key, errand)

    def filled(self) -> None:
        """All letters were brought."""
        self._reread = True
        if not self.addressees.users:
            self._end_pass()

    # -- reading -------------------------------------------------------------------------------------------------

    def reread(self) -> bool:
        """Whether the driver has to begin to read the log. True once for each pass with letters."""
        again, self._reread = self._reread, False
        return again and self.phase is Phase.READING

    def receive(self, saids: Sequence[Said], now: Now) -> None:
        """What the next records say, in the order of each partition."""
        for said in saids:
            self._hear(said, now)

    def _hear(self, said: Said, now: Now) -> None:
        user = self.addressees.users.get(said.key)
        if user is None:
            return
        user.changed(now.mono if self.phase is Phase.SENDING else said.written_at(now))
        newer = user.newer(said)
        user.pass_by(said, newer)
        for errand in user.errands:
            errand.overtaken(user, said, newer)
        if user.stage is Stage.WAITING:
            return
        sent = {name: value for name, value in newer.items() if name in user.errands[0].sending}
        if sent:
            user.stage = Stage.SENDING
            self._engine.absorb(said.key, said.change(user, sent), now)

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

    # -- sending -------------------------------------------------------------------------------------------------

    def may_call(self, now: Now) -> bool:
        """Rule 1: whether a call may start."""
        return self.phase is Phase.SENDING and self._freshness.is_fresh(now.mono)

    @property
    def write_by(self) -> float:
        """Until when a call that starts now may be written."""
        return self._freshness.write_by

    def stop(self) -> None:
        """From now on begins no further letter."""
        self._stopping = True

    def step(self, now: Now) -> None:
        """Goes on as far as it can without a reply, a record or a delivery report."""
        if self.phase is Phase.READING and self._freshness.is_fresh(now.mono):
            self._begin_sending()
        if self.phase is not Phase.SENDING:
            return
        self._take_settled(now)
        self._verify(now)
        self._begin_more(now)
        if self._next == len(self._order) and not (self._begun or self._restless):
            self._end_pass()

    def _begin_sending(self) -> None:
        self._order, self._next = self.addressees.ordered(), 0
        if self._dry:
            for user in self._order:
                self.outcomes.update(errand.outcome(user) for errand in user.errands)
                self.calls += sum(bool(errand.names(user)) for errand in user.errands)
            self._end_pass()
        else:
            self.phase = Phase.SENDING

    def _begin_more(self, now: Now) -> None:
        """Begins letters of those who have kept quiet lately."""
        restless, self._restless = self._restless, []
        for user in restless:
            self._begin_if_quiet(user, now)
        while self._next < len(self._order) and self._has_room:
            user = self._order[self._next]
            self._next += 1
            self._begin_if_quiet(user, now)

    @property
    def _has_room(self) -> bool:
        return len(self._begun) < self._concurrency and not self._stopping

    def _begin_if_quiet(self, user: Addressee, now: Now) -> None:
        if self._has_room and user.is_quiet(now.mono, self._quiet_seconds):
            self._begun.add(user)
            self._begin(user, now)
        else:
            self._restless.append(user)

    def _begin(self, user: Addressee, now: Now) -> None:
        """The user's next letter: marks it, then sends what is the last word. Ends it if there is nothing to send."""
        errand = user.errands[0]
        if not errand.names(user):
            self._end_letter(user, now)
        elif not (errand.marked or errand.doubtful):
            self._write(user, beginning_of(errand.letter, now.wall_ms))
        else:
            self._ours.update((name, errand) for name in _names(errand))
            user.stage = Stage.SENDING
            self._engine.admit(errand.entry(user, now.mono))

    def _take_settled(self, now: Now) -> None:
        settled, self._settled[:] = list(self._settled), []
        for subject in settled:
            if not subject.unsettled and subject.stage is Stage.SENDING:  # else a newer value came in between
                subject.stage, subject.settled_at = Stage.VERIFYING, now.mono

    def _verify(self, now: Now) -> None:
        """Rule 2: a letter whose user was read on to the end as of its reply, and who has nothing newer, is done."""
        done = [each for each in self._begun if each.stage is Stage.VERIFYING and each.settled_at <= self._freshness.at]
        for user in done:
            self._end_letter(user, now)

    # -- letters out ---------------------------------------------------------------------------------------------

    def keep(self, letter: Letter) -> Letter | None:
        """What is left to write of a letter that the engine makes: what it says of the letters under way is kept.

        So a letter that is refused again is written once, however many of its attributes are refused. None if nothing
        is left. Nothing is lost meanwhile: the old letter is open.
        """
        rest = []
        for lost in letter.attributes:
            errand = self._ours.get(_Name(lost.name, lost.partition, lost.offset))
            if errand is None:
                rest.append(lost)
            else:
                errand.refuse(letter, [lost.name])
        if len(rest) == len(letter.attributes):
            return letter
        places = {(lost.partition, lost.offset) for lost in rest}
        sources = tuple(source for source in letter.sources if (source.partition, source.offset) in places)
        return replace(letter, attributes=tuple(rest), sources=sources) if rest else None

    def letters(self, now: Now) -> list[Letter]:
        """The letters to write now. Each comes back by `written` or `failed`."""
        found = []
        while self._due and self._due[0][0] <= now.mono:
            found.append(heapq.heappop(self._due)[2])
        return found

    def written(self, letter: Letter, now: Now) -> None:
        """The topic has the letter."""
        user = self._writing.pop(letter)
        user.unwritten.discard(letter)
        if user.unwritten:
            return
        if letter.reason is Reason.BEGUN:
            user.errands[0].marked = True
            self._begun.remove(user)
            self._begin_if_quiet(user, now)
        elif letter.reason is Reason.RESOLVED:
            self._ended(user, now)
        else:
            self._resolve(user, now)

    def failed(self, letter: Letter, now: Now) -> None:
        """The topic did not take the letter: it is due again a little later."""
        heapq.heappush(self._due, (now.mono + _RETRY_SECONDS, next(self._number), letter))

    def _end_letter(self, user: Addressee, now: Now) -> None:
        """Writes what is left of the user's letter, then the record that ends it."""
        user.stage = Stage.WAITING
        errand = user.errands[0]
        again = errand.refused_again(user)
        user.outcome = errand.outcome(user)
        first = [*errand.beside, *([] if again is None else [again])]
        for letter in first:
            self._write(user, letter)
        if not first:
            self._resolve(user, now)

    def _resolve(self, user: Addressee, now: Now) -> None:
        self._write(user, resolution_of(user.errands[0].letter, user.outcome, now.wall_ms))

    def _write(self, user: Addressee, letter: Letter) -> None:
        user.unwritten.add(letter)
        self._writing[letter] = user
        heapq.heappush(self._due, (-math.inf, next(self._number), letter))

    def _ended(self, user: Addressee, now: Now) -> None:
        """The letter is ended: the user's next one begins."""
        self.outcomes[user.outcome] += 1
        errand = user.errands.pop(0)
        for name in _names(errand):
            self._ours.pop(name, None)
        self._begun.remove(user)
        if user.errands:
            self._begin_if_quiet(user, now)
        else:
            del self.addressees.users[user.key]

    def _end_pass(self) -> None:
        upper = self.addressees.upper
        self.addressees, self._freshness = self._none_yet(upper), Freshness()
        self._refill = upper < PLACES
        self.phase = Phase.READING if self._refill else Phase.DONE

    def _none_yet(self, lower: int) -> Addressees:
        return Addressees(lower=lower, max_bytes=self._max_bytes, on_settled=self._settled.append)

    @property
    def begun(self) -> int:
        """Users whose letter is begun and not ended."""
        return sum(user.stage is not Stage.WAITING or bool(user.unwritten) for user in self._begun)

    @property
    def under_way(self) -> bool:
        """Whether a letter is to be ended that needs no further call, or is being ended."""
        return any(user.stage is Stage.VERIFYING or user.unwritten for user in self._begun)

    @property
    def ended(self) -> int:
        """How many letters are ended."""
        return sum(self.outcomes[outcome] for outcome in (DELIVERED, SUPERSEDED, REFUSED_AGAIN))


def _names(errand: Errand) -> list[_Name]:
    return [_Name(name, part.source.partition, part.source.offset) for name, part in errand.parts.items()]
