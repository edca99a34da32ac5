"""How many records one turn takes in, so that the calls in flight do not wait for it."""

from __future__ import annotations

from typing import Final

SLICE_SECONDS: Final = 0.002
"""How long a turn takes records in while calls are in flight: their replies, and the next calls, wait as long."""
_LEAST: Final = 10


class Slices:
    """Learns how long a record takes, and so how many fill a slice.

    `records_max` bounds a poll, and `took` tells how long its records took.
    """

    def __init__(self) -> None:
        self._record_seconds = 0.0

    @property
    def records_max(self) -> int | None:
        """How many records fill a slice. None while that is not known, or if they take no time."""
        return max(_LEAST, int(SLICE_SECONDS / self._record_seconds)) if self._record_seconds else None

    def took(self, records: int, seconds: float) -> None:
        """So many records took so long."""
        latest = seconds / records
        self._record_seconds = latest if not self._record_seconds else 0.8 * self._record_seconds + 0.2 * latest
