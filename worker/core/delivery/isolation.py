"""Finding the attributes that make the destination refuse a call.

The API refuses a call as a whole. One bad value must not take good ones with it, so we halve a refused set until one
attribute was refused alone; what is accepted on the way is delivered. Hints (the error's text, earlier refusals) decide
only what is tried first.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable
from typing import Final

_USER_WORDS: Final = re.compile(r"\b(phone|e-?mail|client ?user ?id|identifiers?)\b", re.IGNORECASE)


class Isolation:
    """The search through one call's attributes.

    Send `trial`, then report `accepted()` or `refused()`. `refused()` returns a name that was refused alone; `again()`
    puts it back, with its previous value. Without hints, b bad attributes among n cost about b·(log2(n) + 2) calls.

        search = Isolation(["age", "city", "tier"], refused=True)
        search.trial  # ["age"]: half of the suspects
        search.accepted()
        search.trial  # ["city"]
        search.refused()  # "city": it was alone, so it is bad
        search.trial  # ["tier"]

    Attributes:
        trial: the names to send next.
        begun: whether a refusal or an answered trial has told anything worth keeping.
        accepted_any: whether anything was accepted. If so, the user's identifier is not what is refused.
        refused_alone: the names that were refused alone, in order.
    """

    __slots__ = (
        "_first",
        "_last",
        "_probes",
        "_suspects",
        "_unknown",
        "accepted_any",
        "begun",
        "refused_alone",
        "trial",
    )

    def __init__(
        self, names: Iterable[str], *, refused: bool, suspected: Collection[str] = (), probes: Collection[str] = ()
    ) -> None:
        """Begins a search.

        Args:
            names: all attributes of the call.
            refused: whether they were just refused together.
            suspected: names to keep apart: the others go first, together, and then each of these alone.
            probes: names that go first, each alone, until one is accepted. If all of them are refused, the destination
                refuses the user.
        """
        kept_apart = {*suspected, *probes}
        others = [name for name in names if name not in kept_apart]
        self._first = list(probes)
        self._last = list(suspected)
        # Refused as a whole: at least one of them is bad. If there are suspects, most likely one of those.
        self._suspects = others if refused and not suspected else []
        self._unknown = [] if self._suspects else others  # not known to hold a bad one
        self.trial: list[str] = []
        self.begun = refused
        self.accepted_any = False
        self._probes = frozenset(probes)
        self.refused_alone: list[str] = []
        self._narrow()

    def accepted(self) -> list[str]:
        """The trial was delivered: the other suspects hold a bad one. Returns the delivered names."""
        self.begun = self.accepted_any = True
        delivered, self.trial = self.trial, []
        # The user is not refused, so the remaining probes are names like all others.
        (self._suspects or self._unknown).extend(self._first)
        self._first = []
        self._narrow()
        return delivered

    def skip(self) -> None:
        """Passes over the trial: nothing of it is to be sent any more."""
        self.trial = []
        self._narrow()

    def refused(self) -> str | None:
        """The trial was refused. Returns the name if it was one alone, else None."""
        self.begun = True
        trial, self.trial = self.trial, []
        # The bad one may be in the trial, so the other suspects are suspects no longer. They are tried together later.
        self._unknown += self._suspects
        alone = len(trial) == 1
        self._suspects = [] if alone else trial
        if alone:
            self.refused_alone += trial
        self._narrow()
        return trial[0] if alone else None

    def again(self, name: str) -> None:
        """Tries `name` once more: the caller sends its previous value."""
        self._unknown.append(name)
        if not self.trial:
            self._narrow()

    @property
    def blames_user(self) -> bool:
        """Whether the user's identifier is what is refused: each probe was refused alone, and nothing was accepted."""
        return not self.accepted_any and bool(self._probes) and self._probes.issubset(self.refused_alone)

    def _narrow(self) -> None:
        """Chooses the next trial: a probe, half of the suspects, all that is unknown, or one of those kept apart."""
        if self._first:
            self.trial = [self._first.pop(0)]
        elif self._suspects:
            # The last suspect must be bad, by elimination. It is tried all the same: only its own refusal counts.
            half = max(1, len(self._suspects) // 2)
            self.trial, self._suspects = self._suspects[:half], self._suspects[half:]
        elif self._unknown:
            self.trial, self._unknown = self._unknown, []
        elif self._last:
            self.trial = [self._last.pop(0)]

    @property
    def names(self) -> list[str]:
        """Every name that was neither delivered nor refused alone."""
        return [*self.trial, *self._first, *self._suspects, *self._unknown, *self._last]


def named_in(message: str, names: Iterable[str]) -> list[str]:
    """The attribute names that an error's text mentions, as whole words."""
    if not message:
        return []
    return [name for name in names if re.search(rf"(?<!\w){re.escape(name)}(?!\w)", message)]


def speaks_of_user(message: str, names: Collection[str]) -> bool:
    """Whether an error's text mentions the user's identifier and none of the attributes."""
    return bool(_USER_WORDS.search(message)) and not named_in(message, names)
