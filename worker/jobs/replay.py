"""The loop of a replay: reads, calls, and writes its progress down, until it is done or a stop is requested."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from worker.core.model import Now
from worker.core.replay.replay import Phase, Replay
from worker.core.totals import Totals
from worker.jobs.diary import Diary
from worker.jobs.follower import Follower
from worker.jobs.ticker import Stages, Ticker, Tickers
from worker.live.exchange import BUSY_SECONDS, Exchange

STOP_SECONDS: Final = 8.0
"""After a stop is requested, replies and progress are waited for so long at most."""
_IDLE_SECONDS: Final = 0.05
_GROWTH_SECONDS: Final = 30.0
_POLLS: Final = 4  # about 10 ms of reading


class ReplayJob:
    """Runs a replay.

    At most `concurrency` users are in the air: their call is in flight, or it has ended and their progress is not
    written down yet. So a process that is killed makes at most so many calls again.
    """

    def __init__(
        self,
        replay: Replay,
        exchange: Exchange,
        follower: Follower,
        diary: Diary,
        *,
        concurrency: int,
        still_the_same: Callable[[], object],
        say: Callable[[str], object],
        stages: Stages = Ticker,
    ) -> None:
        """`still_the_same` is called now and then. It raises if the topics have changed, so that a replay must end.

        `say` tells people what they should know beforehand, and `stages` how far it is.
        """
        self._replay = replay
        self._exchange = exchange
        self._follower = follower
        self._diary = diary
        self._concurrency = concurrency
        self._still_the_same = still_the_same
        self._say = say
        self._tickers = Tickers(stages)
        self._same_at = exchange.clock().mono + _GROWTH_SECONDS
        self._stop_by: float | None = None

    @property
    def totals(self) -> Totals:
        """What the engine counted: calls and dead letters."""
        return self._exchange.engine.totals

    def run(self, stop_requested: Callable[[], bool]) -> bool:
        """Returns whether it is done. If not, a stop was requested, and a later run goes on.

        Raises:
            RangeFailed: A topic cannot be read on.
            SendersStoppedError: A bug ended the senders.
        """
        try:
            while self.turn(stop=stop_requested()):
                self._tell()
            return self.is_over
        finally:
            self._tickers.end()

    def turn(self, *, stop: bool) -> bool:
        """Goes on for a moment; errors as `run`. Returns whether another turn must follow.

        From the first `stop` on it makes no further call: it waits for what is in flight, and writes the progress down.
        """
        if self.is_over:
            return False
        now = self._exchange.clock()
        if stop and self._stop_by is None:
            self._stop_by = now.mono + STOP_SECONDS
        self._step(now, may_call=self._stop_by is None)
        if self._stop_by is not None:
            return self._exchange.clock().mono < self._stop_by and not self._has_ended_calls
        if now.mono >= self._same_at and self._replay.phase is Phase.SENDING:
            self._same_at = now.mono + _GROWTH_SECONDS
            self._still_the_same()
        return True

    def _step(self, now: Now, *, may_call: bool) -> None:
        engine, replay = self._exchange.engine, self._replay
        self._read()
        replay.step(now)
        self._diary.turn(replay.progress, replay.marked)
        if self._diary.kept is not None:
            replay.kept(self._diary.kept)
        free = 0
        if may_call and replay.may_call(self._exchange.clock()):
            free = max(0, self._concurrency - engine.in_flight - self._diary.unsaved)
        self._exchange.step(BUSY_SECONDS, free)

    def _read(self) -> None:
        """Reads what is there. Several polls of it as long as nothing is sent: so the rest of a turn costs less."""
        wait_seconds = 0.0 if self._exchange.busy else _IDLE_SECONDS
        for _ in range(_POLLS):
            if not self._follower.turn(wait_seconds) or self._replay.phase is not Phase.READING:
                break

    @property
    def is_over(self) -> bool:
        """Whether all is done, and written down."""
        done = self._replay.phase is Phase.DONE and not self._exchange.engine.letters_waiting
        return done and self._diary.is_kept(self._replay.progress)

    @property
    def _has_ended_calls(self) -> bool:
        """Whether nothing is in flight, and the progress is written down."""
        engine = self._exchange.engine
        return not (engine.in_flight or engine.letters_waiting) and self._diary.is_kept(self._replay.progress)

    @property
    def standing(self) -> tuple[str, int, int]:
        """What it does, how much of that is done, and of how much."""
        replay = self._replay
        if replay.phase is Phase.READING:
            return "reading", *self._follower.read
        return "sending", replay.tally.delivered, replay.tally.calls

    def _tell(self) -> None:
        stage, done, total = self.standing
        passes = self._replay.passes
        if stage == "sending" and self._tickers.stage == "reading":
            self._tickers.show("reading", *self._follower.read)
            if passes > 1:
                self._say(f"not all users fit into WORKER_WINDOW__MAX_BYTES: {passes} passes over the topic are left")
        units = "offsets" if stage == "reading" else "users"
        waits = f"{self._replay.restless:,} have just changed, and wait" if self._replay.restless else ""
        self._tickers.show(stage, done, total, self.obstacle or waits, units)

    @property
    def obstacle(self) -> str | None:
        """What holds it up, in words. None if nothing does."""
        return self._follower.problem or self._diary.problem or self._exchange.halted
