"""How many records one turn takes in, so that the calls in flight do not wait for it."""

from __future__ import annotations

from typing import Final

SLICE_SECONDS: Final = 0.002
"""How long a turn takes records in while calls are in flight: their replies, and the next calls, wait as long."""
_SPARED_MIN: Final = 0.01
"""Where reading on spares fewer calls than this for each record, it is not worth their time. It is that low because
reading on spares the more, the further it goes."""
_LEAST: Final = 10
_LATELY: Final = 5_000  # records


class Slices:
    """Learns how long a record takes and how often one spares a call, and so how many a turn should take in.

    A turn takes what fills a slice. But if most replies wait because this process is busy, and reading on spares no
    calls since no user comes again, it takes only as many records as calls have ended. Then the calls get the time.

        slices.took(200, 0.001, opened=200)
        slices.ended(32, of=32)
        slices.records_max
    """

    def __init__(self) -> None:
        self._record_seconds = 0.0
        self._spared = 1.0  # calls, for each of the latest records
        self._ended = 0
        self._replies_wait = False

    @property
    def records_max(self) -> int | None:
        """How many records the next turn should take. None while that is not known, or if they take no time."""
        if self._replies_wait and self._spared < _SPARED_MIN:
            return max(_LEAST, self._ended)
        return max(_LEAST, int(SLICE_SECONDS / self._record_seconds)) if self._record_seconds else None

    def took(self, records: int, seconds: float, opened: int) -> None:
        """So many records took so long, and each of so many needs a call of its own."""
        latest = seconds / records
        self._record_seconds = latest if not self._record_seconds else 0.8 * self._record_seconds + 0.2 * latest
        self._spared += (1.0 - opened / records - self._spared) * min(1.0, records / _LATELY)

    def ended(self, calls: int, of: int) -> None:
        """So many calls had a reply when the turn came to them, of as many as may be in flight together."""
        self._ended = calls
        self._replies_wait = calls * 2 > of
