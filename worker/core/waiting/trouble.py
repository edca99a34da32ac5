"""What an entry's failures show, compared with the successes of other users in between."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from enum import IntEnum, auto
from typing import Final

# So many bits of evidence rule chance out: a million users must be that unlucky before one is blamed by mistake.
BITS: Final = 20.0


class Kind(IntEnum):  # as `Verdict`
    """Kinds of failure; what is known of one says nothing of another."""

    FAILING = auto()  # 5xx, time-outs, broken connections, 429: also a well destination has them at times
    HALTING = auto()  # 401, 403, web pages and the like: about the token, the way, or one user
    DOUBTED = auto()  # 404 and other answers that may be about the user


@dataclass(slots=True)
class Evidence:
    """An entry's failures of one kind. Instants are in monotonic seconds.

    A failure is *confirmed* if another user's call started after the entry's previous failure of this kind, and
    succeeded. Calls that were in flight at that failure do not count: they may have met the destination before it
    changed. A confirmed failure may still be chance. The rarer such failures are among all calls just then, the more it
    shows: 1 bit where every second call fails, 5 bits where 1 in 32 or fewer do.

    Attributes:
        first_calls_before: how many first calls had ended before it began, for `Shares.bits`.
        failed_at: the latest failure.
        confirmed: how many are confirmed.
        bits: what they show in all.
        latest_bits: what the latest failure shows; 0 if it is not confirmed.
        since: the first confirmed one. Before that a bad destination explains everything, so the clock does not run.
    """

    first_calls_before: int
    failed_at: float = math.inf
    confirmed: int = 0
    bits: float = 0.0
    latest_bits: float = 0.0
    since: float = math.inf

    def add(self, bits: float, *, others_started_at: float, now: float) -> None:
        """A further failure, which shows `bits` if it is confirmed."""
        self.latest_bits = bits if others_started_at > self.failed_at else 0.0
        if self.latest_bits:
            self.confirmed += 1
            self.bits += self.latest_bits
            self.since = min(self.since, now)
        self.failed_at = now

    def retract(self) -> None:
        """Somebody new failed in the same way before any success, so the latest failure shows nothing."""
        if self.latest_bits:
            self.confirmed -= 1
            self.bits -= self.latest_bits
            self.latest_bits = 0.0
            self.since = self.since if self.confirmed else math.inf

    def begin_again(self) -> None:
        """The next call carries something else: its first failure cannot be confirmed by what failed before."""
        self.failed_at = math.inf

    def beyond_chance(self, seconds: float, now: float, *, more_bits: float = 0.0) -> bool:
        """Whether chance does not explain it (and `more_bits` that something else shows), and it lasts for so long."""
        return self.bits + more_bits >= BITS and now - self.since >= seconds


@dataclass(slots=True)
class Trouble:
    """An entry's row of failed calls. A success, or a refusal of values, ends it.

    Attributes:
        failures: failed calls in a row, of any kind.
        blamed: the user is to blame for `HALTING` answers; what halts it alone is searched.
        asked_to_wait: the latest failure was a 429, or had a Retry-After.
        latest: the latest failure in a few words, for people.
    """

    failures: int = 0
    blamed: bool = False
    asked_to_wait: bool = False
    latest: str = ""
    _evidence: dict[Kind, Evidence] = field(default_factory=dict)

    def failed(self, kind: Kind, first_calls: int) -> Evidence:
        """The entry failed in this way. Returns what is known of that so far.

        `FAILING` erases what is known of the other kinds: a user that always fails must not come to be blamed for halts
        that it met from time to time, as everybody did.
        """
        self.failures += 1
        if kind is Kind.FAILING and not self.blamed:
            self._evidence = {known: of for known, of in self._evidence.items() if known is Kind.FAILING}
        return self._evidence.setdefault(kind, Evidence(first_calls))

    @property
    def known(self) -> bool:
        """Whether others succeed while this entry fails: a further failure tells nothing of the destination."""
        return any(evidence.confirmed for evidence in self._evidence.values())

    def confirmed(self, kind: Kind) -> bool:
        """Whether others succeed while this entry fails in this way."""
        evidence = self._evidence.get(kind)
        return evidence is not None and evidence.confirmed > 0

    def bits(self, kind: Kind) -> float:
        """What the failures of this kind show."""
        evidence = self._evidence.get(kind)
        return 0.0 if evidence is None else evidence.bits

    def begin_again(self) -> None:
        """The search for what halts this user goes on with another part of its call."""
        if Kind.HALTING in self._evidence:
            self._evidence[Kind.HALTING].begin_again()

    @property
    def since(self) -> float:
        """When a failure of any kind was first confirmed; infinite before that."""
        return min((evidence.since for evidence in self._evidence.values()), default=math.inf)
