"""The loop of a redrive: brings letters, reads the log behind them, calls, and ends letters."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import ExitStack
from typing import Final

from worker.core.model import Partition
from worker.core.replay.redrive import Redrive
from worker.core.replay.replay import Phase
from worker.core.totals import Totals
from worker.jobs.follower import Follower
from worker.jobs.redrive.letters import Letters
from worker.jobs.redrive.mail import Mail
from worker.jobs.ticker import Stages, Ticker, Tickers
from worker.live.exchange import BUSY_SECONDS, Exchange

STOP_SECONDS: Final = 6.0
"""After a stop is requested, letters that are begun are ended within so long, or stay open."""
_IDLE_SECONDS: Final = 0.05
_GROWTH_SECONDS: Final = 30.0


class RedriveJob:
    """Runs a redrive.

    Args:
        open_follower: opens a reader of the log from these offsets on, which feeds the redrive.
        still_the_same: is called now and then with what is read. It raises if the topics have changed.
        say: tells people what they should know beforehand.
        stages: tell how far it is.
    """

    def __init__(
        self,
        redrive: Redrive,
        exchange: Exchange,
        letters: Letters,
        mail: Mail,
        *,
        open_follower: Callable[[Mapping[Partition, int]], Follower],
        still_the_same: Callable[[Mapping[Partition, int]], object],
        say: Callable[[str], object],
        stages: Stages = Ticker,
    ) -> None:
        self.letters = letters
        self._redrive = redrive
        self._exchange = exchange
        self._mail = mail
        self._open_follower = open_follower
        self._still_the_same = still_the_same
        self._say = say
        self._tickers = Tickers(stages)
        self._starts: Mapping[Partition, int] = {}
        self._follower: Follower
        self._reading = ExitStack()
        self._same_at = 0.0
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
            LettersUnread, Unfinished, TopicsUnavailable, GroupUnavailable: As `Letters.bring`.
        """
        try:
            while self.turn(stop_requested):
                pass
            return self.is_over
        finally:
            self._tickers.end()
            self._reading.close()

    def turn(self, stop_requested: Callable[[], bool]) -> bool:
        """Goes on for a moment; errors as `run`. Returns whether another turn must follow."""
        if self.is_over:
            return False
        if self._redrive.refill():
            self._begin_pass(stop_requested)
        elif self._stop_by is not None or stop_requested():
            return self._end_begun()
        else:
            self._turn()
            self._tell()
            self._compare()
        return True

    @property
    def is_over(self) -> bool:
        """Whether all is done."""
        return self._redrive.phase is Phase.DONE

    def _begin_pass(self, stop_requested: Callable[[], bool]) -> None:
        redrive = self._redrive
        self._tickers.end()
        self._reading.close()
        self.letters.bring(redrive, stop_requested)
        if stop_requested():
            return
        if redrive.addressees.passes > 1:
            self._say(f"not all letters fit into WORKER_WINDOW__MAX_BYTES: {redrive.addressees.passes} passes are left")
        redrive.filled()
        if redrive.addressees.users:
            self._starts = self.letters.starts(redrive)
            self._follower = self._reading.enter_context(self._open_follower(self._starts))
            self._same_at = self._exchange.clock().mono + _GROWTH_SECONDS

    def _turn(self) -> None:
        exchange, redrive = self._exchange, self._redrive
        self._follower.turn(0.0 if exchange.busy else BUSY_SECONDS if redrive.under_way else _IDLE_SECONDS)
        redrive.step(exchange.clock())
        self._mail.post()
        exchange.step(BUSY_SECONDS, None if redrive.may_call(exchange.clock()) else 0)

    def _compare(self) -> None:
        now = self._exchange.clock().mono
        if now >= self._same_at:
            self._same_at = now + _GROWTH_SECONDS
            self._still_the_same(self._starts)

    def _end_begun(self) -> bool:
        """Begins no further letter, and ends those that are begun: a newer value of them must be sent last.

        Returns whether another turn must follow.
        """
        exchange, redrive = self._exchange, self._redrive
        now = exchange.clock().mono
        if self._stop_by is None:
            redrive.stop()
            self._stop_by = now + STOP_SECONDS
        halted = exchange.engine.halt is not None and not (exchange.busy or redrive.under_way)
        if halted or not redrive.begun or now >= self._stop_by:
            return False
        self._turn()
        return True

    def _tell(self) -> None:
        redrive = self._redrive
        if redrive.phase is Phase.READING:
            done, total = self._follower.read
            self._tickers.show("reading", done, total, self._waits() or "", "offsets")
        else:
            total = self.letters.total - self.letters.skipped.total() - self.letters.unchecked.total()
            self._tickers.show("sending", redrive.ended, total, self._waits() or "", "letters")

    def _waits(self) -> str | None:
        """What holds it up, in words."""
        return self._follower.problem or self._exchange.halted
