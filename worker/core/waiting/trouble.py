"""What an entry's failures show, compared with the successes of other users in between."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from enum import Enum, auto


class Kind(Enum):
    """Kinds of failure; what is known of one says nothing of another."""

    FAILING = auto()  # 5xx, time-outs, broken connections, 429
    DOUBTED = auto()  # 404 and other answers that may be about the user
    UNAUTHORIZED = auto()
    WRONG_URL = auto()


@dataclass(slots=True)
class Evidence:
    """An entry's failures of one kind. Instants are in monotonic seconds.

    A failure is *confirmed* if another user's call started after the entry's previous failure of this kind, and
    succeeded. Calls that were in flight at that failure do not count: they may have met the destination before it
    changed.

    Attributes:
        failed_at: the latest failure.
        successes_at_first: how many calls had succeeded, for anyone, at the first one.
        confirmed: how many are confirmed.
        latest_confirmed: whether the latest one is.
        since: the first confirmed one. Before that a bad destination explains everything, so the clock does not run.
    """

    failed_at: float
    successes_at_first: int
    confirmed: int = 0
    latest_confirmed: bool = False
    since: float = math.inf

    def retract(self) -> None:
        """Somebody new failed in the same way before any success, so the latest failure shows nothing."""
        if self.latest_confirmed:
            self.latest_confirmed = False
            self.confirmed -= 1
            self.since = self.since if self.confirmed else math.inf


@dataclass(slots=True)
class Trouble:
    """An entry's row of failed calls. A success, or a refusal of values, ends it.

    Attributes:
        failures: failed calls in a row, of any kind.
        blamed_for: the user is to blame for failures of this kind; None while that is not decided.
    """

    failures: int = 0
    blamed_for: Kind | None = None
    _evidence: dict[Kind, Evidence] = field(default_factory=dict)

    def add(self, kind: Kind, *, successes: int, others_started_at: float, now: float) -> Evidence:
        """The entry failed. Returns what is known of this kind by now.

        `successes` counts the calls that succeeded for anyone, and the latest of them started at `others_started_at`.
        Only what is known of `FAILING` outlives a failure of another kind: a user that always fails must not come to be
        blamed for halts that it met from time to time, as everybody did.
        """
        self.failures += 1
        self._evidence = {known: of for known, of in self._evidence.items() if known in {kind, Kind.FAILING}}
        evidence = self._evidence.get(kind)
        if evidence is None:
            evidence = self._evidence[kind] = Evidence(now, successes)
        evidence.latest_confirmed = others_started_at > evidence.failed_at
        if evidence.latest_confirmed:
            evidence.confirmed += 1
            evidence.since = min(evidence.since, now)
        evidence.failed_at = now
        return evidence

    @property
    def known(self) -> bool:
        """Whether others succeed while this entry fails: a further failure tells nothing of the destination."""
        return any(evidence.confirmed for evidence in self._evidence.values())

    def confirmed(self, kind: Kind) -> bool:
        """Whether others succeed while this entry fails in this way."""
        evidence = self._evidence.get(kind)
        return evidence is not None and evidence.confirmed > 0

    @property
    def since(self) -> float:
        """When a failure of any kind was first confirmed; infinite before that."""
        return min((evidence.since for evidence in self._evidence.values()), default=math.inf)
