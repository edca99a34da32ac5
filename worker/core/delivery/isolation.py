"""Finding the attributes that make the destination refuse a call.

The API refuses a call as a whole. One bad value must not take good ones with it, so a refused set is halved until an
attribute has been refused alone; what is accepted on the way is delivered. What is known beforehand (the error's text,
earlier refusals) decides only what is tried first.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable
from typing import Final

_USER_WORDS: Final = re.compile(r"\b(phone|e-?mail|client ?user ?id|identifiers?)\b", re.IGNORECASE)


class Isolation:
    """The search through one call's attributes.

    `trial` is the set of names to send next; the caller reports `accepted()` or `refused()` for it. A name that
    was refused alone is returned by `refused()`; the caller may put it back with its previous value by `again()`.
    With b bad attributes among n, about b·(log2(n) + 2) calls are made where nothing is known beforehand.

    Attributes:
        begun: whether a refusal or an answered trial has told anything that is worth keeping.
        sound: whether anything was accepted, so that it is not the user's identifier that is refused.
        refused_alone: the names that were, in order.
    """

    __slots__ = ("_first", "_last", "_probes", "_suspects", "_unknown", "begun", "refused_alone", "sound", "trial")

    def __init__(
        self, names: Iterable[str], *, refused: bool, suspected: Collection[str] = (), probes: Collection[str] = ()
    ) -> None:
        """Begins a search.

        Args:
            names: all attributes of the call.
            refused: whether they were just refused together.
            suspected: those to keep apart: the others go first, together, and then each of these alone.
            probes: those whose refusal, of each alone, tells that it is the user who is refused: they go first, until
                one is accepted.
        """
        kept_apart = {*suspected, *probes}
        others = [name for name in names if name not in kept_apart]
        self._first = list(probes)
        self._last = list(suspected)
        # Refused as a whole: at least one of them is bad. With suspects named, most likely it is one of those.
        self._suspects = others if refused and not suspected else []
        self._unknown = [] if self._suspects else others  # not tried since they were set aside
        self.trial: list[str] = []
        self.begun = refused
        self.sound = False
        self._probes = frozenset(probes)
        self.refused_alone: list[str] = []
        self._narrow()

    def accepted(self) -> list[str]:
        """The trial was delivered: the rest of its suspects hold a bad one. Returns the delivered names."""
        self.begun = self.sound = True
        delivered, self.trial = self.trial, []
        # The probes have told what they were to tell; of those left, any may be the bad one like all others.
        (self._suspects or self._unknown).extend(self._first)
        self._first = []
        self._narrow()
        return delivered

    def skip(self) -> None:
        """Nothing of the trial is to be sent any more."""
        self.trial = []
        self._narrow()

    def refused(self) -> str | None:
        """The trial was refused. Returns the name, where it was one alone."""
        self.begun = True
        trial, self.trial = self.trial, []
        # The other suspects are no longer known to hold a bad one: they are tried together once this one is found.
        self._unknown += self._suspects
        alone = len(trial) == 1
        self._suspects = [] if alone else trial
        if alone:
            self.refused_alone += trial
        self._narrow()
        return trial[0] if alone else None

    def again(self, name: str) -> None:
        """Tries `name` once more, with the value that stood before the refused one."""
        self._unknown.append(name)
        if not self.trial:
            self._narrow()

    @property
    def blames_user(self) -> bool:
        """Whether it is the user's identifier that is refused: so was each probe, alone, and nothing was accepted."""
        return not self.sound and bool(self._probes) and self._probes.issubset(self.refused_alone)

    def _narrow(self) -> None:
        """Chooses the next trial: a probe, half of the suspects, all that is unknown, or one of those kept apart."""
        if self._first:
            self.trial = [self._first.pop(0)]
        elif self._suspects:
            # A single suspect is tried alone too, though it must be bad by elimination: only its own refusal counts.
            half = max(1, len(self._suspects) // 2)
            self.trial, self._suspects = self._suspects[:half], self._suspects[half:]
        elif self._unknown:
            self.trial, self._unknown = self._unknown, []
        elif self._last:
            self.trial = [self._last.pop(0)]

    @property
    def names(self) -> list[str]:
        """Every name that is not decided yet."""
        return [*self.trial, *self._first, *self._suspects, *self._unknown, *self._last]


def named_in(message: str, names: Iterable[str]) -> list[str]:
    """The attribute names that an error's text speaks of, as whole words."""
    if not message:
        return []
    return [name for name in names if re.search(rf"(?<!\w){re.escape(name)}(?!\w)", message)]


def speaks_of_user(message: str, names: Collection[str]) -> bool:
    """Whether an error's text speaks of the user's identifier and of none of the attributes."""
    return bool(_USER_WORDS.search(message)) and not named_in(message, names)
