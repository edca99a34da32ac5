"""A worker's part of the token's rate: its partitions of all partitions."""

from __future__ import annotations

from collections.abc import Callable

SHARE_SECONDS = 300.0  # how often the number of partitions is asked for: topics may grow
SHARE_RETRY_SECONDS = 2.0  # while it was never told
SHARE_STALE_SECONDS = 30.0  # while only an old answer is known: each question may hold the loop up for seconds


class Share:
    """Knows how many partitions there are in all.

    Attributes:
        ask_at: when to ask again, in monotonic seconds.
    """

    def __init__(self, partition_total: Callable[[], int | None]) -> None:
        """`partition_total` counts all partitions of the subscribed topics; None where it cannot be told now."""
        self._partition_total = partition_total
        self._total: int | None = None
        self.ask_at = 0.0

    def ask(self, now: float) -> None:
        """Asks the brokers, which may take seconds; an old answer is better than none."""
        total = self._partition_total()
        self._total = total or self._total
        unanswered = SHARE_STALE_SECONDS if self._total else SHARE_RETRY_SECONDS
        self.ask_at = now + (SHARE_SECONDS if total else unanswered)

    def of(self, held: int) -> float:
        """The part that so many partitions give a right to, 0 to 1; 0 where the total was never told."""
        return min(1.0, held / self._total) if self._total else 0.0
