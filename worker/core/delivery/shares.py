"""What everybody's calls show: how many of them fail just now, and who a request to slow down is about."""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass
from enum import Enum, auto
from typing import Final

from worker.core.model import UserKey
from worker.core.waiting.trouble import Kind

_KINDS: Final = tuple(Kind)
_CALLS: Final = 20  # the last so many calls count most
_BITS_MAX: Final = 5.0  # so few calls don't show a share below 1 in 32
_SHARE_MIN: Final = math.exp2(-_BITS_MAX)
# A wish for fewer calls after so many successes, the last of them just now, may be about one user. If it is about the
# rate, more will follow.
_SUCCESSES_BETWEEN: Final = 20
_JUST_NOW_SECONDS: Final = 1.0
# A pause that a smaller share of first calls is asked for is about their users: each of them obeys it.
_PAUSED_SHARE: Final = 0.3
_RETRIES: Final = 5.0  # the last so many entries that were asked to wait, and were tried again, count most


class Share:
    """The share of recent calls that failed in one way: an exponentially weighted mean."""

    def __init__(self) -> None:
        self.value = _SHARE_MIN

    def add(self, *, failed: bool) -> None:
        """One more call ended."""
        self.value += (failed - self.value) / _CALLS

    @property
    def bits(self) -> float:
        """How surprising one more such failure is: 1 bit at a share of a half, 2 bits at a quarter, 5 bits at most."""
        return min(_BITS_MAX, -math.log2(self.value))


class Shares:
    """How often calls fail just now, by kind of failure, and so how much one more failure shows.

    What counts is the share of first calls: those of users that did not fail before. So a user that always fails does
    not raise it. But an outage may leave nobody who did not fail before. As long as too few first calls have ended, the
    latest calls of all other users are asked as well. A call that fails in another way shows nothing of this one.

    Attributes:
        first_calls: how many first calls ended well or in this kind of failure, since the start.
    """

    def __init__(self) -> None:
        self.first_calls = dict.fromkeys(Kind, 0)
        self._of_first = {kind: Share() for kind in Kind}
        self._latest: deque[tuple[UserKey, Kind | None]] = deque(maxlen=2 * _CALLS)

    def ended(self, key: UserKey, failed: Kind | None, *, first: bool) -> None:
        """A call for this user ended: in a failure of the kind `failed`, or well."""
        self._latest.append((key, failed))
        if not first:
            return
        for kind in _KINDS if failed is None else [failed]:
            self.first_calls[kind] += 1
            self._of_first[kind].add(failed=failed is not None)

    def bits(self, key: UserKey, kind: Kind, first_calls_before: int) -> float:
        """How much a further failure of this user shows.

        `first_calls_before`: so many `first_calls` had ended when this user first failed in this way.
        """
        bits = self._of_first[kind].bits
        if self.first_calls[kind] - first_calls_before >= _CALLS:
            return bits
        others = [failed is kind for other, failed in self._latest if other != key and failed in {None, kind}]
        return min(bits, -math.log2((sum(others) + _SHARE_MIN) / (len(others) + 1)))

    @property
    def most(self) -> float:
        """The share of first calls that fail in the way in which most do."""
        return max(share.value for share in self._of_first.values())


class Slowing(Enum):
    """What a 429 does to everybody's rate."""

    NONE = auto()
    SECOND = auto()  # no call until the destination's next second
    LOWER = auto()  # that, and a lower rate


@dataclass(frozen=True, slots=True)
class Heed:
    """How far a wish is heeded.

    Attributes:
        slowing: if it is a 429, what it does to everybody's rate.
        everybody_pauses: if it is a Retry-After, whether it holds for everybody, or else for its own entry alone.
    """

    slowing: Slowing
    everybody_pauses: bool


OWN_ENTRY_ALONE: Final = Heed(Slowing.NONE, everybody_pauses=False)


class WaitWishes:
    """Answers that ask for fewer calls (429) or for a pause (Retry-After): is that about everybody, or about one user?

    The entries that were asked to wait show it, when they are tried again while others succeed. If most get the same
    answer again, it is about them; if most succeed, it is about the rate. As long as too few were tried again, a 429
    amid successes, and far from the one before, costs everybody the rest of a second. A pause holds for everybody if a
    large share of the first calls is asked for one, and the very first one always does.
    """

    def __init__(self) -> None:
        self._successes = 0  # since the last wish
        self._same_again = 0.0  # the share of entries that got the same answer again
        self._tried_again = 0
        self._share = Share()
        self._paused = False

    def succeeded(self) -> None:
        """A call succeeded."""
        self._successes += 1

    def call_ended(self, *, wish: bool) -> None:
        """A call that counts for the share of such answers ended."""
        self._share.add(failed=wish)

    def tried_again(self, *, same_again: bool) -> None:
        """An entry that was asked to wait was tried again, while others succeeded."""
        self._tried_again += 1
        self._same_again += (same_again - self._same_again) / _RETRIES

    def heed(self, *, pause: bool, silence_seconds: float) -> Heed:
        """How far to heed a wish that comes to an entry which is not known for it.

        `pause`: it is a Retry-After. The last success was `silence_seconds` ago.
        """
        between, self._successes = self._successes, 0
        first_pause = pause and not self._paused
        self._paused = self._paused or pause
        if first_pause or silence_seconds > _JUST_NOW_SECONDS:
            return Heed(Slowing.LOWER, everybody_pauses=True)
        by_chance = self._share.value  # so often an entry gets the same again if it is about the rate
        if self._same_again > (1.0 + by_chance) / 2:
            return OWN_ENTRY_ALONE
        lower = between < _SUCCESSES_BETWEEN or self._tried_again >= _RETRIES
        return Heed(Slowing.LOWER if lower else Slowing.SECOND, everybody_pauses=by_chance >= _PAUSED_SHARE)
