"""Whether the Kafka client and the membership hold the same partitions.

They hear of each partition together, by the client's callbacks. If one of them had it alone, nobody would deliver it:
the group counts it as this worker's, and the worker does not know of it. So the membership compares, and rejoins.
"""

from __future__ import annotations

from collections.abc import Set as AbstractSet
from typing import Final

from worker.core.counted import counted
from worker.core.facts import AssignmentDiffers
from worker.core.model import Partition

PATIENCE_SECONDS: Final = 15.0
_PATIENCE_MAX_SECONDS: Final = 300.0


class Agreement:
    """Compares, now and then. Each time that it calls for a new assignment, it waits twice as long for the next.

    A while of disagreement is normal: after a lease that ran out, the client keeps its partitions until the rebalance
    that is under way has ended.
    """

    def __init__(self) -> None:
        self.problem: str | None = None
        """What is wrong, in words. None if both hold the same."""
        self._since: float | None = None
        self._patience = PATIENCE_SECONDS

    def compare(
        self, own: AbstractSet[Partition], clients: AbstractSet[Partition], now: float
    ) -> AssignmentDiffers | None:
        """Whether to join the group anew: the two have differed for too long."""
        if own == clients:
            self.problem, self._since, self._patience = None, None, PATIENCE_SECONDS
            return None
        if self._since is None:
            self._since = now
        seconds = now - self._since
        if seconds < self._patience:
            return None
        self._since = now
        self._patience = min(2 * self._patience, _PATIENCE_MAX_SECONDS)
        names = ", ".join(f"{topic}[{number}]" for topic, number in sorted(own ^ clients)[:3])
        self.problem = (
            f"{counted(len(own ^ clients), 'partition')} not read ({names} ...): the Kafka client and the worker "
            "differ about which they have. The worker joins the group again; if that does not help, restart it"
        )
        return AssignmentDiffers(unread=len(clients - own), not_held=len(own - clients), seconds=seconds)
