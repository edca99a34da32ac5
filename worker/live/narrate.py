"""Logs facts. Facts of single calls go to the metrics only."""

from __future__ import annotations

from typing import Final

from structlog.typing import FilteringBoundLogger

from worker.core.facts import (
    Assigned,
    DeletedUnread,
    DrainEnded,
    DrainOutcome,
    Fact,
    Halted,
    LeaseEnd,
    LeaseRanOut,
    MemoryFreed,
    MemoryFull,
    PartitionsLost,
    Resumed,
    Revoked,
    SharedUser,
    UnusualSuccess,
)

_LEASE_ENDS: Final = {
    LeaseEnd.LOOP_STOOD_STILL: "woke up late",
    LeaseEnd.COORDINATOR_SILENT: "cut off from the group",
}


class Narrator:
    """An observer that logs."""

    def __init__(self, log: FilteringBoundLogger) -> None:
        self._log = log

    def observe(self, fact: Fact) -> None:
        """Logs the fact if people should know of it."""
        log = self._log
        match fact:
            case Halted():
                log.warning("halted", reason=fact.reason, detail=fact.detail)
            case Resumed():
                log.info("resumed", reason=fact.reason, halted_seconds=fact.halted_seconds)
            case UnusualSuccess():
                log.warning("unusual_success", status=fact.status)
            case SharedUser():
                log.info("user_in_several_partitions")
            case MemoryFull():
                log.debug("memory full", held_bytes=fact.held_bytes)
            case MemoryFreed():
                log.debug("memory freed", held_bytes=fact.held_bytes)
            case _:
                self._observe_partitions(fact)

    def _observe_partitions(self, fact: Fact) -> None:
        log = self._log
        match fact:
            case Assigned():
                log.info("assigned", gained=len(fact.partitions), held=fact.held)
            case Revoked():
                drained = fact.outcome is DrainOutcome.DONE
                log.info("revoked", lost=fact.lost, held=fact.held, drained=drained, seconds=round(fact.seconds, 2))
            case PartitionsLost():
                log.warning("partitions lost", lost=fact.lost, held=fact.held)
            case DrainEnded(outcome=DrainOutcome.CUT):
                log.warning("drain cut", left=fact.left, seconds=round(fact.seconds, 2))
            case DeletedUnread():
                topic, number = fact.partition
                log.warning(
                    "records deleted unread", topic=topic, partition=number, offset=fact.first, offsets=fact.offsets
                )
            case LeaseRanOut():
                seconds = round(fact.silent_seconds, 1)
                log.warning(_LEASE_ENDS[fact.why], silent_seconds=seconds, dropped=fact.dropped)
            case _:
                pass
