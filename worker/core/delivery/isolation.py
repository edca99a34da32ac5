"""Finds the attributes that make the destination refuse a call.

The API refuses a call as a whole. A bad value must not take good ones with it. So we halve a refused set until one
attribute is refused alone. Every half that is accepted on the way is delivered. Hints (the error's text, earlier
refusals) decide only what is tried first.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable
from typing import Final

_USER_WORDS: Final = re.compile(r"\b(phone|e-?mail|client ?user ?id|identifiers?)\b", re.IGNORECASE)


class Isolation:
    """The search through one call's attributes.

    Send `trial`, then report `accepted()` or `refused()`. If the trial was one name, `refused()` returns it: it is bad.
    `again()` puts it back, to try its previous value. Without hints, b bad attributes among n cost about
    b·(log2(n) + 2) calls.

        search = Isolation(["age", "city", "tier"], refused=True)
        search.trial  # ["age"]: half of the names
        search.accepted()
        search.trial  # ["city"]
        search.refused()  # "city": refused alone, so it is bad
        search.trial  # ["tier"]

    Attributes:
        trial: the names to send next.
        has_learned: whether any call was accepted or refused yet. If not, the search knows nothing but its hints.
        accepted_any: whether any trial was accepted. If so, the user's identifier is not the problem.
        refused_alone: the names refused alone, in order.
    """

    __slots__ = (
        "_controls",
        "_controls_left",
        "_kept_apart",
        "_tainted",
        "_undecided",
        "accepted_any",
        "has_learned",
        "refused_alone",
        "trial",
    )

    def __init__(
        self, names: Iterable[str], *, refused: bool, suspected: Collection[str] = (), controls: Collection[str] = ()
    ) -> None:
        """Begins a search.

        Args:
            names: all attributes of the call.
            refused: whether the destination has just refused them together.
            suspected: names that are probably bad. The others are tried first, together; then each of these alone.
            controls: names that are probably good. They are tried first, each alone, until one is accepted. If all are
                refused, the destination refuses the user, not a value.
        """
        set_apart = {*suspected, *controls}
        others = [name for name in names if name not in set_apart]
        self._controls_left = list(controls)
        self._kept_apart = list(suspected)
        # Tainted: at least one of these is bad. Empty if names are suspected: the bad one is probably among those.
        self._tainted = others if refused and not suspected else []
        self._undecided = [] if self._tainted else others  # may contain a bad one, or none
        self.trial: list[str] = []
        self.has_learned = refused
        self.accepted_any = False
        self._controls = frozenset(controls)
        self.refused_alone: list[str] = []
        self._narrow()

    def accepted(self) -> list[str]:
        """The trial was delivered, so a bad one is in the rest of the tainted set. Returns the delivered names."""
        self.has_learned = self.accepted_any = True
        delivered, self.trial = self.trial, []
        # The user is not refused, so the remaining controls are no longer special.
        (self._tainted or self._undecided).extend(self._controls_left)
        self._controls_left = []
        self._narrow()
        return delivered

    def skip(self) -> None:
        """Skips the trial: the entry no longer has any of its names."""
        self.trial = []
        self._narrow()

    def refused(self) -> str | None:
        """The trial was refused. Returns its name if it had only one, else None."""
        self.has_learned = True
        trial, self.trial = self.trial, []
        # The trial has a bad one. It may be the only one, so the rest of the tainted set is undecided now.
        self._undecided += self._tainted
        alone = len(trial) == 1
        self._tainted = [] if alone else trial
        if alone:
            self.refused_alone += trial
        self._narrow()
        return trial[0] if alone else None

    def again(self, name: str) -> None:
        """Puts `name` back into the search, now with its previous value."""
        self._undecided.append(name)
        if not self.trial:
            self._narrow()

    @property
    def blames_user(self) -> bool:
        """Whether the destination refuses the user: every control was refused alone, and no trial was accepted."""
        return not self.accepted_any and bool(self._controls) and self._controls.issubset(self.refused_alone)

    def _narrow(self) -> None:
        """Chooses the next trial: a control, half of the tainted set, all the undecided, or one name kept apart."""
        if self._controls_left:
            self.trial = [self._controls_left.pop(0)]
        elif self._tainted:
            # A single tainted name is bad by elimination. Try it anyway: only its own refusal makes a dead letter.
            half = max(1, len(self._tainted) // 2)
            self.trial, self._tainted = self._tainted[:half], self._tainted[half:]
        elif self._undecided:
            self.trial, self._undecided = self._undecided, []
        elif self._kept_apart:
            self.trial = [self._kept_apart.pop(0)]

    @property
    def names(self) -> list[str]:
        """Every name not delivered and not refused alone yet."""
        return [*self.trial, *self._controls_left, *self._tainted, *self._undecided, *self._kept_apart]


def named_in(message: str, names: Iterable[str]) -> list[str]:
    """The attribute names that an error's text mentions, as whole words."""
    if not message:
        return []
    # The cheap test first: a call may carry tens of thousands of names.
    return [name for name in names if name in message and re.search(rf"(?<!\w){re.escape(name)}(?!\w)", message)]


def speaks_of_user(message: str, names: Collection[str]) -> bool:
    """Whether an error's text mentions the user's identifier and none of the attributes."""
    return bool(_USER_WORDS.search(message)) and not named_in(message, names)
