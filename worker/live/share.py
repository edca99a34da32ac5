"""A worker's share of the token's rate: its partitions, by all partitions."""

from __future__ import annotations

from collections.abc import Callable

SHARE_SECONDS = 60.0  # how often to ask for the number of partitions: topics may grow, or be made anew
SHARE_RETRY_SECONDS = 2.0  # after a failure, if the number was never known
SHARE_STALE_SECONDS = 30.0  # after a failure, if an old number is known. Rarely, because asking may block the loop


class Share:
    """Knows how many partitions the subscribed topics have in all.

        share = Share(lambda: 12)
        share.ask(now)
        share.of(3)  # 0.25

    Attributes:
        ask_at: when to ask again, in monotonic seconds.
    """

    def __init__(self, partition_total: Callable[[], int | None]) -> None:
        """`partition_total` counts all partitions of the subscribed topics. It returns None if it cannot now."""
        self._partition_total = partition_total
        self._total: int | None = None
        self.ask_at = 0.0

    def ask(self, now: float) -> None:
        """Asks the brokers, which may take seconds. If they do not answer, keeps the old answer."""
        total = self._partition_total()
        self._total = total or self._total
        unanswered = SHARE_STALE_SECONDS if self._total else SHARE_RETRY_SECONDS
        self.ask_at = now + (SHARE_SECONDS if total else unanswered)

    def of(self, assigned: int) -> float:
        """The share of a worker with `assigned` partitions, 0 to 1. 0 if the total was never known."""
        return min(1.0, assigned / self._total) if self._total else 0.0
