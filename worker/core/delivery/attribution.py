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

from worker.core.delivery.shares import OWN_ENTRY_ALONE, Heed, Shares, WaitWishes
from worker.core.delivery.verdict import Verdict, in_words
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

# An answer that halts everybody, or that may be about the user (a 404), is one user's if it goes on for so long though
# others succeed in between: while a proxy is replaced, some calls meet the old one and some the new one.
ODD_SECONDS: Final = 10.0
# If so many users got such an answer since the last success, it is not about users.
DOUBTED_USERS: Final = 3
_HALTED_MAX: Final = 2  # enough to see that another user met it, too
# Many calls fail just now if such a share of those that were made for the first time does.
MANY: Final = 0.25

_KINDS: Final[Mapping[Verdict, Kind]] = {
    Verdict.RETRY: Kind.FAILING,
    Verdict.THROTTLED: Kind.FAILING,
    Verdict.NOT_FOUND: Kind.DOUBTED,
    Verdict.UNEXPECTED: Kind.DOUBTED,
    Verdict.UNAUTHORIZED: Kind.HALTING,
    Verdict.WRONG_URL: Kind.HALTING,
}


class Blame(Enum):
    """Who is to blame for a failed call, as far as is known by now."""

    NOBODY = auto()  # not decided: the call is made again
    USER = auto()  # the others are well: what comes of it concerns this entry alone
    DESTINATION = auto()  # the destination, the token, or somebody in between: everybody waits


class Attribution:
    """Keeps what is known of everybody's successes and failures, and says who is to blame for the next one.

    It is bounded: shares, a window of outcomes, a few users since the last success, and a `Trouble` in each entry that
    fails.

    Attributes:
        successes: calls that succeeded since the start.
    """

    def __init__(self, server_error_seconds: float) -> None:
        """`server_error_seconds`: so long one user's calls must fail beside others' successes before it is given up."""
        self._server_error_seconds = server_error_seconds
        self.successes = 0
        self._succeeded_at = -math.inf
        self._success_started_at = -math.inf  # of the successful calls, the latest start
        self._shares = Shares()
        self._wishes = WaitWishes()
        self._outcomes: deque[tuple[float, bool]] = deque(maxlen=_WINDOW_CALLS_MAX)  # of users not known to fail
        self._failed_in_window = 0
        self._failed_in_a_row = 0
        self._failing: set[UserKey] = set()  # the first few users that failed since the last success
        self._odd: set[UserKey] = set()  # the same for odd answers, of users not known for them
        self._halted: set[UserKey] = set()  # the first two for answers that halt, known or not
        self._met: list[Evidence] = []  # of users known for odd answers, since the last success

    def succeeded(self, entry: Entry, started_at: float, now: float) -> None:
        """A call of the entry, started at `started_at`, was delivered."""
        self.successes += 1
        self._success_started_at = max(self._success_started_at, started_at)
        self._succeeded_at = now
        self._wishes.succeeded()
        self._failed_in_a_row = 0
        self._failing.clear()
        self._odd.clear()
        self._halted.clear()
        self._met.clear()
        self._remember(now, failed=False)
        self.answered(entry)

    def answered(self, entry: Entry) -> None:
        """The destination did what it is there for: it took or refused the entry's values. A row of failures ends.

        But the search for what halts this user alone goes on: some of its calls succeed, and others do not.
        """
        self._count(entry, failed=None, wish=False)
        trouble = entry.trial.trouble
        if trouble is None:
            return
        if trouble.asked_to_wait:
            self._wishes.tried_again(same_again=False)
        if trouble.blamed:
            trouble.begin_again()
        else:
            entry.trial.trouble = None

    @property
    def many_fail(self) -> bool:
        """Whether so many calls fail just now that those which wait longest may all be of users that fail."""
        return self._shares.most >= MANY

    def well_lately(self, now: float) -> bool:
        """Whether a call succeeded just now: a sudden halt may be one user's, and another user can tell at once."""
        return now - self._succeeded_at <= LONG_SILENCE_SECONDS

    def heed(self, entry: Entry, verdict: Verdict, now: float, *, pause: bool) -> Heed:
        """How far to heed a 429, or a Retry-After (`pause`): it may be about everybody, or about this entry's user."""
        if _KINDS.get(verdict) is not Kind.FAILING:
            return OWN_ENTRY_ALONE  # of the others only a redirect may ask for a pause, and it halts everybody anyway
        trouble = entry.trial.trouble
        if trouble is not None and trouble.confirmed(Kind.FAILING):
            return OWN_ENTRY_ALONE  # others succeed while this entry is answered so
        return self._wishes.heed(pause=pause, silence_seconds=now - self._succeeded_at)

    def blame(
        self, entry: Entry, verdict: Verdict, reply: Reply, now: float, *, alone: bool = True
    ) -> tuple[Blame, Trouble]:
        """Who is to blame for a call that was neither delivered nor refused for its values, and the entry's trouble.

        `now` is in monotonic seconds. `alone`: the call carried one attribute only.
        """
        trouble, kind = entry.trial.trouble or Trouble(), _KINDS[verdict]
        wish = verdict is Verdict.THROTTLED or bool(reply.retry_after_seconds)
        evidence = trouble.failed(kind, self._shares.first_calls[kind])
        bits = self._shares.bits(entry.key, kind, evidence.first_calls_before)
        evidence.add(bits, others_started_at=self._success_started_at, now=now)
        self._count(entry, failed=kind, wish=wish)
        entry.trial.trouble = trouble
        if trouble.asked_to_wait and evidence.latest_bits:
            self._wishes.tried_again(same_again=wish)
        trouble.asked_to_wait, trouble.latest = wish, in_words(reply)
        if kind is not Kind.FAILING:
            blame = self._blame_for_odd(entry, trouble, kind, evidence, now, alone=alone)
        elif self._is_poison(entry, evidence, reply, now):
            blame = Blame.USER
        elif verdict is Verdict.RETRY and self._destination_fails(entry, trouble, now):
            blame = Blame.DESTINATION
        else:
            blame = Blame.NOBODY
        return blame, trouble

    def _count(self, entry: Entry, *, failed: Kind | None, wish: bool) -> None:
        """A call of the entry ended: in a failure of the kind `failed`, or well."""
        first = entry.trial.trouble is None
        self._shares.ended(entry.key, failed, first=first)
        if first:
            self._wishes.call_ended(wish=wish)

    def _blame_for_odd(
        self, entry: Entry, trouble: Trouble, kind: Kind, evidence: Evidence, now: float, *, alone: bool
    ) -> Blame:
        """A 401 or a 404: everybody's or nobody's at first, one user's if others succeed in between again and again."""
        known = trouble.blamed or trouble.confirmed(Kind.HALTING) or trouble.confirmed(Kind.DOUBTED)
        if not known:
            self._note_news(entry)
        elif self._odd - {entry.key}:
            evidence.retract()
        elif len(self._met) < _MET_MAX:
            self._met.append(evidence)
        if kind is Kind.HALTING:
            return self._blame_for_halt(entry, trouble, evidence, now, alone=alone, known=known)
        if evidence.latest_bits and evidence.beyond_chance(ODD_SECONDS, now):
            return Blame.USER
        return Blame.DESTINATION if not known and len(self._odd) >= DOUBTED_USERS else Blame.NOBODY

    def _blame_for_halt(
        self, entry: Entry, trouble: Trouble, evidence: Evidence, now: float, *, alone: bool, known: bool
    ) -> Blame:
        """The same for an answer that halts. If the user is to blame, what halts it is searched.

        During a search, what fails alone must be confirmed anew: the token may expire in the middle of it.
        """
        confirmed = evidence.latest_bits > 0.0
        if confirmed and evidence.beyond_chance(ODD_SECONDS, now, more_bits=trouble.bits(Kind.DOUBTED)):
            trouble.blamed = True
        others_are_well = confirmed or (not self._odd - {entry.key} and self.well_lately(now))
        if trouble.blamed and others_are_well and (confirmed or not alone):
            evidence.begin_again()
            return Blame.USER
        if len(self._halted) < _HALTED_MAX:
            self._halted.add(entry.key)
        if self._halted - {entry.key}:
            return Blame.DESTINATION
        # One user alone: if others succeed, the next replies tell.
        return Blame.NOBODY if known or now - self._succeeded_at <= SILENCE_SECONDS else Blame.DESTINATION

    def _note_news(self, entry: Entry) -> None:
        """Somebody new meets an odd answer: whoever else met it since the last success is not to blame for that."""
        if len(self._odd) < DOUBTED_USERS:
            self._odd.add(entry.key)
        for evidence in self._met:
            evidence.retract()
        self._met.clear()

    def _is_poison(self, entry: Entry, evidence: Evidence, reply: Reply, now: float) -> bool:
        """Whether this entry fails and not the destination. A refused connection is never one user's fault."""
        return (
            reply.failure is not Failure.CONNECT
            and self._failing <= {entry.key}  # somebody else failed since the last success: it may be an outage
            and evidence.beyond_chance(self._server_error_seconds, now)
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
