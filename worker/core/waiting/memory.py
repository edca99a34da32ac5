"""The memory budget of changes and dead letters that are not settled."""

from __future__ import annotations

import math

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

    __slots__ = (
        "_above",
        "_facts",
        "_plentiful_bytes",
        "_resume_bytes",
        "_upto",
        "held_bytes",
        "max_bytes",
        "plentiful",
        "short",
    )

    def __init__(self, max_bytes: int, facts: Facts) -> None:
        self.max_bytes = max_bytes
        self._resume_bytes = max_bytes * RESUME_BELOW
        self._plentiful_bytes = math.ceil(max_bytes * PLENTIFUL_BELOW) - 1
        self._facts = facts
        self.held_bytes = 0
        self.plentiful = True
        self.short = False
        self._look()

    def add(self, size_bytes: int) -> None:
        """Adds to the bytes in use; a negative number frees them."""
        held_bytes = self.held_bytes = self.held_bytes + size_bytes
        if not self._above < held_bytes <= self._upto:
            self._look()

    def _look(self) -> None:
        """Says how much that is, and from where to where it stays so: `add` is called for each change."""
        held_bytes = self.held_bytes
        was_short = self.short
        self.short = held_bytes > (self._resume_bytes if was_short else self.max_bytes)
        self.plentiful = held_bytes <= self._plentiful_bytes
        if self.short:
            self._above, self._upto = self._resume_bytes, math.inf
        elif self.plentiful:
            self._above, self._upto = -math.inf, self._plentiful_bytes
        else:
            self._above, self._upto = self._plentiful_bytes, self.max_bytes
        if self.short != was_short:
            self._facts.tell(MemoryFull(held_bytes) if self.short else MemoryFreed(held_bytes))
