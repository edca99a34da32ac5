"""Finding the attributes that make the destination refuse a call.

The API refuses a call as a whole. One bad value must not take good ones with it, so the refused set is halved
until an attribute has been refused alone; what is accepted on the way is delivered.
"""

from __future__ import annotations

from collections.abc import Iterable


class Isolation:
    """The search through one refused call.

    `trial` is the set of names to send next; the caller reports `accepted()` or `refused()` for it. A name that
    was refused alone is returned by `refused()`; the caller may put it back with its previous value by `again()`.
    With b bad attributes among n, about b·(log2(n) + 2) calls are made.
    """

    __slots__ = ("_suspects", "_unknown", "trial")

    def __init__(self, names: Iterable[str]) -> None:
        """Starts from `names`, which were just refused together."""
        self._suspects: list[str] = []  # refused as a whole: at least one of them is bad
        self._unknown: list[str] = []  # not tried since they were set aside
        self.trial: list[str] = list(names)
        self.refused()

    def accepted(self) -> list[str]:
        """The trial was delivered: the rest of its suspects hold a bad one. Returns the delivered names."""
        delivered, self.trial = self.trial, []
        self._narrow()
        return delivered

    def refused(self) -> str | None:
        """The trial was refused. Returns the name, where it was one alone."""
        trial, self.trial = self.trial, []
        # The other suspects are no longer known to hold a bad one: they are tried together once this one is found.
        self._unknown += self._suspects
        alone = len(trial) == 1
        self._suspects = [] if alone else trial
        self._narrow()
        return trial[0] if alone else None

    def again(self, name: str) -> None:
        """Tries `name` once more, with the value that stood before the refused one."""
        self._unknown.append(name)
        if not self.trial:
            self._narrow()

    def _narrow(self) -> None:
        """Chooses the next trial: half of the suspects, or all that is left when none is suspected."""
        if not self._suspects:
            self.trial, self._unknown = self._unknown, []
            return
        # A single suspect is tried alone too, though it must be bad by elimination: only its own refusal counts.
        half = max(1, len(self._suspects) // 2)
        self.trial, self._suspects = self._suspects[:half], self._suspects[half:]

    @property
    def names(self) -> list[str]:
        """Every name that is not decided yet."""
        return [*self.trial, *self._suspects, *self._unknown]
