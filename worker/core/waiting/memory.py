"""The memory budget of changes and dead letters that are not settled."""

from __future__ import annotations

from worker.core.facts import Facts, MemoryFreed, MemoryFull

PLENTIFUL_BELOW = 0.25  # of the budget
RESUME_BELOW = 0.8  # of the budget: partitions resume below it


class Memory:
    """Counts bytes in use. Whoever takes or frees memory calls `add`.

    Attributes:
        max_bytes: the budget.
        held_bytes: the bytes in use now.
        plentiful: most of the budget is free: what could be smaller need not be made smaller.
        short: true from when the budget is exceeded until a fifth of it is free again. With one mark instead of two,
            partitions would pause and resume at every record.
    """

    __slots__ = ("_facts", "_plentiful_bytes", "_resume_bytes", "held_bytes", "max_bytes", "plentiful", "short")

    def __init__(self, max_bytes: int, facts: Facts) -> None:
        self.max_bytes = max_bytes
        self._resume_bytes = max_bytes * RESUME_BELOW
        self._plentiful_bytes = max_bytes * PLENTIFUL_BELOW
        self._facts = facts
        self.held_bytes = 0
        self.plentiful = True
        self.short = False

    def add(self, size_bytes: int) -> None:
        """Adds to the bytes in use; a negative number frees them."""
        self.held_bytes += size_bytes
        self.plentiful = self.held_bytes < self._plentiful_bytes
        if self.held_bytes > (self._resume_bytes if self.short else self.max_bytes):
            if not self.short:
                self.short = True
                self._facts.tell(MemoryFull(self.held_bytes))
        elif self.short:
            self.short = False
            self._facts.tell(MemoryFreed(self.held_bytes))
