"""The memory budget: what lies between Kafka and the destination, and whether that is too much."""

from __future__ import annotations

from worker.core.facts import Facts, MemoryFreed, MemoryFull

RESUME_BELOW = 0.8  # of the budget: memory that was short is no longer short below it


class Memory:
    """Counts the bytes held. Whoever takes or frees some tells it so.

    Attributes:
        held_bytes: what is held now.
        short: from the moment the budget is exceeded until a fifth of it is free again. Between the two marks it stays
            as it was, so that partitions are not paused and resumed at every record.
    """

    __slots__ = ("_facts", "_max_bytes", "_resume_bytes", "held_bytes", "short")

    def __init__(self, max_bytes: int, facts: Facts) -> None:
        self._max_bytes = max_bytes
        self._resume_bytes = max_bytes * RESUME_BELOW
        self._facts = facts
        self.held_bytes = 0
        self.short = False

    def add(self, size_bytes: int) -> None:
        """So many bytes more are held; fewer where the number is below 0."""
        self.held_bytes += size_bytes
        if self.held_bytes > (self._resume_bytes if self.short else self._max_bytes):
            if not self.short:
                self.short = True
                self._facts.tell(MemoryFull(self.held_bytes))
        elif self.short:
            self.short = False
            self._facts.tell(MemoryFreed(self.held_bytes))
