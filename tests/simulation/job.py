"""One simulated process of a replay: the real job and all that it is made of, wired to models of its ports.

Real are `ReplayJob`, `Replay`, `Follower`, `Reading`, `Diary`, the exchange, the engine and its rate. Models are the
range of the log, the question where it ends, the notebook, and the ports that a worker has as well.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import replace
from math import inf
from typing import TYPE_CHECKING, cast

from tests.simulation.parts import DeadLetters, Token
from tests.simulation.promises import PromiseBroken
from tests.simulation.replay_ports import Ends, JobSenders, LogRange, Notebook
from worker.core.delivery.spare_rate import SpareRate
from worker.core.engine import Engine
from worker.core.events.decode import Decoder
from worker.core.facts import Fact
from worker.core.model import Partition
from worker.core.options import Options
from worker.core.replay.replay import Replay
from worker.core.replay.scope import Scope
from worker.jobs import replay as loop
from worker.jobs.diary import Begun, Diary
from worker.jobs.follower import Follower
from worker.jobs.reading import Reading
from worker.jobs.replay import ReplayJob
from worker.kafka import bounds, notebook
from worker.kafka import range as ranges
from worker.live.drain import Drain
from worker.live.exchange import Exchange

if TYPE_CHECKING:
    from tests.simulation.replays import Replays

TURN_SECONDS = 0.05
_TURNS_MAX = 60_000


class Killed(Exception):
    """The process was killed amid a turn: while it was frozen, or slept."""


class Job:
    """One process, from its start to its end, its stop or its kill."""

    drain: Drain | None = None
    engine: Engine
    senders: JobSenders
    _replays: Replays
    _stack: ExitStack

    def __init__(self, replays: Replays, begun: Begun, life: int, *, anew: bool) -> None:
        self._start(replays, f"replay.{life}")
        cluster, wish = self._cluster, replays.wish
        self.scope = Scope(begun.ranges, attributes=wish.attributes)
        quiet = self._make_engine(cluster.plan.options)
        exchange = Exchange(
            self.engine,
            senders=self.senders,
            letters=DeadLetters(cluster, self),
            schemas=None,
            token=Token(),
            clock=cluster.timeline.instant,
            observer=self,
        )
        self.replay = Replay(
            self.engine, self.scope, begun.progress, wish.max_bytes, ahead=wish.concurrency, quiet_seconds=quiet
        )
        self._follower = follower = self._stack.enter_context(
            Follower(
                self.replay,
                self.scope,
                {each: of.start for each, of in begun.ranges.items()},
                open_reading=self._open,
                ends=cast("bounds.Ends", Ends(self._replays)),
                preflight=cluster.preflight,
                clock=cluster.timeline.instant,
            )
        )
        self.diary = Diary(cast("notebook.Notebook", Notebook(replays, self)), begun, anew=anew)
        self._job = ReplayJob(
            self.replay,
            exchange,
            follower,
            self.diary,
            concurrency=wish.concurrency,
            still_the_same=lambda: None,
            say=lambda _: None,
        )

    def _start(self, replays: Replays, name: str) -> None:
        """What a process of any job has."""
        cluster = self._cluster = replays.cluster
        self.name = name
        self.watch = replays.check
        self.alive = True
        self.frozen = False
        self.stop_asked = False
        self._replays = replays
        self._timeline = cluster.timeline
        self._asleep = False  # amid a turn
        self._freezes_amid: float | None = None
        self._next_turn = inf
        self._turns = 0
        self._stopped_at = inf
        self._range: LogRange | None = None
        self._stack = ExitStack()

    def _make_engine(self, usual: Options, *, storms: bool = True) -> float:
        """The engine of a job and its senders. Returns for how long a user must have kept quiet."""
        cluster, concurrency = self._cluster, self._replays.wish.concurrency
        quiet = usual.window_seconds + 1.0
        options = replace(
            usual, window_seconds=quiet, search_yields=True, concurrency=concurrency, sparing_users_max=0, storms=storms
        )
        now = cluster.timeline.instant()
        self.senders = JobSenders(cluster, self, concurrency)
        self.engine = Engine(
            options,
            decoder=cast("Decoder", cluster.catalogue.decoder()),
            preflight=cluster.preflight,
            backoff=cluster.backoff,
            now=now,
            rate=SpareRate(options.requests_per_second, now.mono),
        )
        return quiet

    @property
    def write_by(self) -> float:
        """Until when a call that starts now may be written."""
        return self.replay.write_by

    def __repr__(self) -> str:
        return self.name

    def reach(self) -> dict[int, int]:
        """How far it has read, by partition."""
        return {} if self._range is None else {each.number: at for each, at in self._range.positions.items()}

    def taken(self) -> dict[int, int]:
        """Up to where it has taken records in, by partition: what lies behind a range is read twice."""
        return {each.number: at for each, at in self._follower._positions.items()}  # private: a replay asks for a sum

    def epoch(self, _: int) -> int:
        """0: it has no assignment."""
        return 0

    def observe(self, fact: Fact) -> None:
        """Dropped: no check reads a job's facts."""

    def _open(self, starts: Mapping[Partition, int]) -> Reading:
        self._range = LogRange(self._replays, self, starts)
        decoder = self._cluster.catalogue.decoder(knows_all=True)
        decoder.go_on_to(self._cluster.preflight)
        return Reading(cast("ranges.Range", self._range), cast("Decoder", decoder), None)

    # -- what happens to it ------------------------------------------------------------------------------------------

    def wake(self, _: object = None) -> None:
        """Takes a turn now: something has come."""
        self.wake_at(self._timeline.now)

    def wake_at(self, when: float) -> None:
        """Takes a turn at that instant, unless one comes earlier."""
        if self.alive and not self.frozen and not self._asleep and when < self._next_turn:
            self._next_turn = when
            self._timeline.at(when, self._turn, when)

    def stop(self) -> None:
        """SIGTERM."""
        self.stop_asked = True
        self._stopped_at = min(self._stopped_at, self._timeline.now)
        self.wake()

    def kill(self) -> None:
        """SIGKILL: requests already written may still be applied; everything else is lost."""
        self.alive = False
        self.senders.crash()

    def freeze(self, until: float, *, amid_turn: bool) -> None:
        """SIGSTOP, between two turns or at a moment within the next one."""
        if amid_turn:
            self._freezes_amid = until
            return
        self._stand_still()
        self._timeline.at(until, self._go_on)

    def moment(self) -> None:
        """A moment within a turn, at which a freeze may begin and end.

        Raises:
            Killed: The process was killed meanwhile.
        """
        until = self._freezes_amid
        if until is None or self._cluster.rng.random() < 0.5:
            return
        self._freezes_amid = None
        self._stand_still()
        self._let_pass(until)
        self._go_on(None)

    def pause(self, seconds: float) -> None:
        """It sleeps amid a turn.

        Raises:
            Killed: The process was killed meanwhile.
        """
        self._asleep, self._next_turn = True, inf
        self._let_pass(self._timeline.now + seconds)
        while self.frozen:
            self._let_pass(self._timeline.now + TURN_SECONDS)
        self._asleep = False

    def _let_pass(self, until: float) -> None:
        self._timeline.at(until, _nothing)
        while self._timeline.now < until and self.alive:
            self._timeline.step()
        if not self.alive:
            raise Killed

    def _stand_still(self) -> None:
        self._cluster.add_to_trace(self, "freezes", "")
        self.frozen = True
        self._next_turn = inf
        self.senders.freeze()

    def _go_on(self, _: object) -> None:
        if not self.alive:
            return
        self._cluster.add_to_trace(self, "goes on", "")
        self.frozen = False
        self._stopped_at = max(self._stopped_at, self._timeline.now) if self.stop_asked else inf
        self.senders.thaw()
        self.wake()

    # -- the loop ----------------------------------------------------------------------------------------------------

    def _turn(self, when: float) -> None:
        if not self.alive or self.frozen or when != self._next_turn:
            return
        self._next_turn = inf
        self._turns += 1
        if self._turns > _TURNS_MAX:
            raise PromiseBroken("liveness", f"{self} spins")
        try:
            goes_on = self._take_turn()
        except Killed:
            return
        if goes_on:
            self.wake_at(self._timeline.now + TURN_SECONDS)
            if self._timeline.now > self._stopped_at + loop.STOP_SECONDS + 2 * TURN_SECONDS:
                raise PromiseBroken("bounded", f"{self} does not stop")
            return
        self._end()

    def _take_turn(self) -> bool:
        return self._job.turn(stop=self.stop_asked)

    @property
    def is_over(self) -> bool:
        """Whether all is done."""
        return self._job.is_over

    def _end(self) -> None:
        self.alive = False
        self._stack.close()
        self.senders.close()
        self._replays.ended(self, done=self.is_over)


def _nothing(_: object) -> None:
    """An instant at which a freeze or a sleep ends."""
