"""Says on stderr how far a job is: one line that is redrawn on a terminal, else a line every ten seconds."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from typing import Final, TextIO, TypeAlias

LINE_SECONDS: Final = 10.0
_DRAW_SECONDS: Final = 0.2
_BAR_WIDTH: Final = 24
_ESTIMATE_AFTER_SECONDS: Final = 3.0


class Ticker:
    """One stage of a job, from its first to its last call.

    Example:
        >>> ticker = Ticker("reading")
        >>> ticker.show(read, total, "2 partitions left")  # as often as you like
        >>> ticker.end()
    """

    def __init__(
        self,
        stage: str,
        stream: TextIO | None = None,
        clock: Callable[[], float] = time.monotonic,
        note: Callable[[str, int, int], object] = lambda *_: None,
    ) -> None:
        """`note` gets the stage, what is done and of how much, each time, for whoever else wants to know."""
        self._stage = stage
        self._note = note
        self._stream = sys.stderr if stream is None else stream
        self._clock = clock
        self._redraws = self._stream.isatty() and os.environ.get("TERM") != "dumb"
        self._began = clock()
        self._next = self._began + (0.0 if self._redraws else LINE_SECONDS)
        self._drawn = False

    def show(self, done: int, total: int, words: str = "", unit: str = "") -> None:
        """So much of `total` is done, in units of that name. `words` are added to the line."""
        self._note(self._stage, done, total)
        now = self._clock()
        if now < self._next:
            return
        self._next = now + (_DRAW_SECONDS if self._redraws else LINE_SECONDS)
        share = min(1.0, done / total) if total else 1.0
        parts = [f"{self._stage}: {share:.0%}", f"{done:,} of {total:,} {unit}".rstrip(), words, self._left(now, share)]
        line = ", ".join(part for part in parts if part)
        if self._redraws:
            filled = round(share * _BAR_WIDTH)
            self._stream.write(f"\r\x1b[K[{'#' * filled}{'.' * (_BAR_WIDTH - filled)}] {line}")
            self._drawn = True
        else:
            self._stream.write(f"{line}\n")
        self._stream.flush()

    def end(self) -> None:
        """Clears the line that is redrawn, so that what is printed next stands alone."""
        if self._drawn:
            self._stream.write("\r\x1b[K")
            self._stream.flush()

    def _left(self, now: float, share: float) -> str:
        taken = now - self._began
        if not 0.0 < share < 1.0 or taken < _ESTIMATE_AFTER_SECONDS:
            return ""
        return f"about {_words(taken * (1.0 - share) / share)} left"


Stages: TypeAlias = Callable[[str], Ticker]
"""Begins a stage of a job, by its name."""


def _words(seconds: float) -> str:
    if seconds < 90.0:  # noqa: PLR2004 - then minutes are easier to read
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60} min"  # noqa: PLR2004 - then hours


class Tickers:
    """Shows one stage after the other.

    Attributes:
        stage: the one that is shown. Empty if none is.
    """

    def __init__(self, make: Stages) -> None:
        self._make = make
        self._ticker: Ticker | None = None
        self.stage = ""

    def show(self, stage: str, done: int, total: int, words: str = "", unit: str = "") -> None:
        """As `Ticker.show`. Another stage than before ends that one."""
        if self._ticker is None or stage != self.stage:
            self.end()
            self._ticker, self.stage = self._make(stage), stage
        self._ticker.show(done, total, words, unit)

    def end(self) -> None:
        """Ends the stage that is shown, if one is."""
        if self._ticker is not None:
            self._ticker.end()
            self._ticker, self.stage = None, ""
