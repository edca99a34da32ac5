"""Whose trouble an answer is: the call's, the user's, the token's, the destination's, or somebody's in between.

One answer cannot tell. What tells is the others: whether calls of other users succeed while one user's fail, again and
again. DESIGN.md has the table of evidence, blame and consequence.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Mapping
from enum import Enum, auto
from typing import Final

from worker.core.delivery.verdict import Verdict
from worker.core.model import Failure, Reply, UserKey
from worker.core.waiting.entry import Entry
from worker.core.waiting.trouble import Evidence, Kind, Trouble

# The destination fails if so many calls failed since the last success, and that was a while ago.
FAILURES_IN_SILENCE: Final = 5
SILENCE_SECONDS: Final = 1.0
# Or if fewer did, of so many users, and it was longer ago: calls are seldom.
FAILING_USERS: Final = 3
LONG_SILENCE_SECONDS: Final = 3.0
# Or if so many failed in a row, however short the time: half of all calls may fail at random without that.
FAILURES_IN_A_ROW: Final = 15
# Or if such a share of so many calls within the window failed.
WINDOW_SECONDS: Final = 5.0
WINDOW_CALLS_MIN: Final = 20
FAILING_SHARE: Final = 0.8
_WINDOW_CALLS_MAX: Final = 1_000
_MET_MAX: Final = 16

# A user's calls fail for good, and not the destination, if so many of its failures came though others succeeded since
# the one before, and so many calls of others succeeded in all.
POISON_CONFIRMED: Final = 5
POISON_SUCCESSES: Final = 10
# An answer that halts everybody, or that may be about the user (a 404), is one user's if it came so often though others
# succeeded in between, and for so long: while a proxy is replaced, some calls meet the old one and some the new one.
CONFIRMED: Final = 2
CONFIRMED_SECONDS: Final = 10.0
# If so many users got such an answer since the last success, it is not about users.
DOUBTED_USERS: Final = 3
# A 429 after so many successes, the last of them just now, may be one user's. If it is the rate, more will follow.
SUCCESSES_BEFORE_ONE_429: Final = 20

_KINDS: Final[Mapping[Verdict, Kind]] = {
    Verdict.RETRY: Kind.FAILING,
    Verdict.THROTTLED: Kind.FAILING,
    Verdict.NOT_FOUND: Kind.DOUBTED,
    Verdict.UNEXPECTED: Kind.DOUBTED,
    Verdict.UNAUTHORIZED: Kind.UNAUTHORIZED,
    Verdict.WRONG_URL: Kind.WRONG_URL,
}
_HALTING: Final = frozenset({Kind.UNAUTHORIZED, Kind.WRONG_URL})


class Blame(Enum):
    """Who is to blame for a failed call, as far as is known by now."""

    NOBODY = auto()  # not decided: the call is made again
    USER = auto()  # the others are well: what comes of it concerns this entry alone
    DESTINATION = auto()  # the destination, the token, or somebody in between: everybody waits


class Attribution:
    """Keeps what is known of everybody's successes and failures, and says who is to blame for the next one.

    It is bounded: a window of outcomes, a few users since the last success, and a `Trouble` in each entry that fails.

    Attributes:
        successes: calls that succeeded since the start.
    """

    def __init__(self, server_error_seconds: float) -> None:
        """`server_error_seconds`: so long one user's calls must fail beside others' successes before it is given up."""
        self._server_error_seconds = server_error_seconds
        self.successes = 0
        self._succeeded_at = -math.inf
        self._success_started_at = -math.inf  # of the successful calls, the latest start
        self._outcomes: deque[tuple[float, bool]] = deque(maxlen=_WINDOW_CALLS_MAX)  # of users not known to fail
        self._failed_in_window = 0
        self._failed_in_a_row = 0
        self._failing: set[UserKey] = set()  # the first few users that failed since the last success
        self._halted: set[UserKey] = set()  # the same for answers that halt everybody
        self._met: list[Evidence] = []  # of users known for such answers, since the last success
        self._doubted: set[UserKey] = set()  # the same for answers that may be about the user
        self._successes_since_429 = 0

    def succeeded(self, entry: Entry, started_at: float, now: float) -> None:
        """A call of the entry, started at `started_at`, was delivered."""
        self.successes += 1
        self._success_started_at = max(self._success_started_at, started_at)
        self._succeeded_at = now
        self._successes_since_429 += 1
        self._failed_in_a_row = 0
        self._failing.clear()
        self._halted.clear()
        self._met.clear()
        self._doubted.clear()
        self._remember(now, failed=False)
        self.answered(entry)

    def answered(self, entry: Entry) -> None:
        """The destination did what it is there for: it took or refused the entry's values. A row of failures ends.

        But the search for what halts this user alone goes on: some of its calls succeed, and others do not.
        """
        if entry.trouble is not None and entry.trouble.blamed_for not in _HALTING:
            entry.trouble = None

    def well_lately(self, now: float) -> bool:
        """Whether a call succeeded just now: a sudden halt may be one user's, and another user can tell at once."""
        return now - self._succeeded_at <= LONG_SILENCE_SECONDS

    def is_news(self, entry: Entry, verdict: Verdict) -> bool:
        """Whether this answer may concern everybody. Not if others succeed while this entry is answered so."""
        kind = _KINDS.get(verdict)
        return entry.trouble is None or kind is None or not entry.trouble.confirmed(kind)

    def slows(self, now: float) -> bool:
        """Whether a 429 that is news tells that the rate is too high, and not that one user is disliked."""
        before, self._successes_since_429 = self._successes_since_429, 0
        return before < SUCCESSES_BEFORE_ONE_429 or now - self._succeeded_at > SILENCE_SECONDS

    def blame(self, entry: Entry, verdict: Verdict, reply: Reply, now: float) -> tuple[Blame, Trouble]:
        """Who is to blame for a call that was neither delivered nor refused for its values, and the entry's trouble.

        `now` is in monotonic seconds.
        """
        trouble, kind = entry.trouble or Trouble(), _KINDS[verdict]
        entry.trouble = trouble
        evidence = trouble.add(kind, successes=self.successes, others_started_at=self._success_started_at, now=now)
        if kind in _HALTING:
            blame = self._halt(entry, kind, evidence, now)
        elif trouble.blamed_for is kind:
            blame = Blame.USER
        elif kind is Kind.DOUBTED:
            blame = self._doubt(entry, evidence, now)
        elif self._is_poison(entry, evidence, reply, now):
            blame = Blame.USER
        elif verdict is Verdict.RETRY and self._destination_fails(entry, trouble, now):
            blame = Blame.DESTINATION
        else:
            blame = Blame.NOBODY
        if blame is Blame.USER:
            trouble.blamed_for = kind
        return blame, trouble

    def _halt(self, entry: Entry, kind: Kind, evidence: Evidence, now: float) -> Blame:
        """A 401 or the like: everybody's at first; one user's if others succeed in between, again and again.

        The token may expire while a user is searched for what a firewall dislikes: so the others must be well still.
        """
        blamed = entry.trouble is not None and entry.trouble.blamed_for is kind
        if not (blamed or evidence.confirmed):  # whoever is known for it is no news
            self._note_news(entry)
        elif self._halted:
            evidence.retract()
        elif len(self._met) < _MET_MAX:
            self._met.append(evidence)
        others_are_well = self._halted <= {entry.key} and (evidence.latest_confirmed or self.well_lately(now))
        return Blame.USER if (blamed or _is_one_users(evidence, now)) and others_are_well else Blame.DESTINATION

    def _note_news(self, entry: Entry) -> None:
        """Somebody new meets a halting answer: whoever else met it since the last success is not to blame for that."""
        if len(self._halted) < DOUBTED_USERS:
            self._halted.add(entry.key)
        for evidence in self._met:
            evidence.retract()
        self._met.clear()

    def _doubt(self, entry: Entry, evidence: Evidence, now: float) -> Blame:
        """A 404 or the like: about the user, if others succeed in between; about the way, if others get it too."""
        if _is_one_users(evidence, now):
            return Blame.USER
        if not evidence.confirmed:
            self._doubted.add(entry.key)
        return Blame.DESTINATION if len(self._doubted) >= DOUBTED_USERS else Blame.NOBODY

    def _is_poison(self, entry: Entry, evidence: Evidence, reply: Reply, now: float) -> bool:
        """Whether this entry fails and not the destination. A refused connection is never one user's fault."""
        return (
            reply.failure is not Failure.CONNECT
            and self._failing <= {entry.key}  # somebody else failed since the last success: it may be an outage
            and now - evidence.since >= self._server_error_seconds
            and evidence.confirmed >= POISON_CONFIRMED
            and self.successes - evidence.successes_at_first >= POISON_SUCCESSES
        )

    def _destination_fails(self, entry: Entry, trouble: Trouble, now: float) -> bool:
        """Whether so many users fail that it is the destination. Whoever is known to fail is no news."""
        if trouble.known:
            return False
        self._failed_in_a_row += 1
        if len(self._failing) < FAILING_USERS:
            self._failing.add(entry.key)
        self._remember(now, failed=True)
        silence = now - self._succeeded_at
        return (
            (self._failed_in_a_row >= FAILURES_IN_SILENCE and silence >= SILENCE_SECONDS)
            or (len(self._failing) >= FAILING_USERS and silence >= LONG_SILENCE_SECONDS)
            or self._failed_in_a_row >= FAILURES_IN_A_ROW
            or (
                len(self._outcomes) >= WINDOW_CALLS_MIN
                and self._failed_in_window >= FAILING_SHARE * len(self._outcomes)
            )
        )

    def forget_window(self) -> None:
        """The gate closed: what comes after it opens again is judged by itself."""
        self._outcomes.clear()
        self._failed_in_window = self._failed_in_a_row = 0

    def _remember(self, now: float, *, failed: bool) -> None:
        outcomes = self._outcomes
        if len(outcomes) == _WINDOW_CALLS_MAX:
            self._failed_in_window -= outcomes.popleft()[1]
        outcomes.append((now, failed))
        self._failed_in_window += failed
        while outcomes[0][0] < now - WINDOW_SECONDS:
            self._failed_in_window -= outcomes.popleft()[1]


def _is_one_users(evidence: Evidence, now: float) -> bool:
    return evidence.confirmed >= CONFIRMED and now - evidence.since >= CONFIRMED_SECONDS
