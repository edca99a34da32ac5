"""Counts different users in bounded memory."""

from __future__ import annotations

from typing import Final

KEPT_MAX: Final = 1_000_000


class Distinct:
    """Exact up to `kept_max`. Past it, keeps the hashes that a power of two divides, and multiplies.

    Example:
        >>> distinct.add(hash(key))
        >>> distinct.count, distinct.exact
    """

    def __init__(self, kept_max: int = KEPT_MAX) -> None:
        self._kept_max = kept_max
        self._kept: set[int] = set()
        self._step = 1

    def add(self, hashed: int) -> None:
        """One more, perhaps known. The hash must be well mixed in its low bits."""
        if hashed % self._step:
            return
        self._kept.add(hashed)
        while len(self._kept) > self._kept_max:
            self._step *= 2
            self._kept = {each for each in self._kept if not each % self._step}

    @property
    def count(self) -> int:
        """How many there are, or an estimate within about a third of a per cent."""
        return len(self._kept) * self._step

    @property
    def exact(self) -> bool:
        """Whether they are counted, not estimated."""
        return self._step == 1
