"""Logs facts. Facts of single calls go to the metrics only.

A halt that comes again within a minute gets no further line. `Reminders` says once a minute what the worker waits for.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

from structlog.typing import FilteringBoundLogger

from worker.core.facts import (
    Assigned,
    AssignmentDiffers,
    CallEnded,
    CallMade,
    DeletedUnread,
    Delivered,
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
from worker.live.advice import Advice
from worker.logs import LogLimiter

_OF_EACH_CALL: Final = frozenset({CallMade, CallEnded, Delivered})


class Narrator:
    """An observer that logs."""

    def __init__(self, log: FilteringBoundLogger, advice: Advice, clock: Callable[[], float] = time.monotonic) -> None:
        self._log = log
        self._advice = advice
        self._clock = clock
        self._halts = LogLimiter()
        self._halt_told = True

    def observe(self, fact: Fact) -> None:
        """Logs the fact if people should know of it."""
        if type(fact) in _OF_EACH_CALL:
            return
        log = self._log
        match fact:
            case Halted():
                self._halt_told = self._halts.allows(fact.reason, self._clock())
                if self._halt_told:
                    log.warning("halted", reason=fact.reason, detail=self._advice.in_one(fact.reason, fact.detail))
            case Resumed() if self._halt_told:
                log.info("resumed", reason=fact.reason, halted_seconds=fact.halted_seconds)
            case UnusualSuccess():
                log.warning("unusual_success", status=fact.status)
            case SharedUser():
                log.info("user_in_several_partitions")
            case MemoryFull():
                log.debug("memory_full", held_bytes=fact.held_bytes)
            case MemoryFreed():
                log.debug("memory_freed", held_bytes=fact.held_bytes)
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
                log.warning("partitions_lost", lost=fact.lost, held=fact.held)
            case DrainEnded(outcome=DrainOutcome.CUT):
                log.warning("drain_cut", left=fact.left, seconds=round(fact.seconds, 2))
            case DeletedUnread():
                topic, number = fact.partition
                log.warning(
                    "records_deleted_unread", topic=topic, partition=number, offset=fact.first, offsets=fact.offsets
                )
            case LeaseRanOut(why=LeaseEnd.LOOP_STOOD_STILL):
                log.warning("woke_up_late", silent_seconds=round(fact.silent_seconds, 1), dropped=fact.dropped)
            case AssignmentDiffers():
                seconds = round(fact.seconds, 1)
                log.warning("assignment_differs", unread=fact.unread, not_held=fact.not_held, seconds=seconds)
            case LeaseRanOut(why=LeaseEnd.COORDINATOR_SILENT):
                log.warning("cut_off_from_group", silent_seconds=round(fact.silent_seconds, 1), dropped=fact.dropped)
            case _:
                pass
