"""Asks the destination what it holds of users, within the rate, and until it has answered for each."""

from __future__ import annotations

import heapq
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, Protocol

from worker.core.delivery.rate import Rate
from worker.core.delivery.verdict import Verdict, in_words, verdict_on
from worker.core.facts import CallEnded, Observer, Observers
from worker.core.held import read_held
from worker.core.model import Reply, User
from worker.jobs.sample import Subject
from worker.jobs.unfinished import Unfinished

PATIENCE_SECONDS: Final = 120.0
"""How long the destination may fail without any other answer in between, beside the pauses that it asked for."""
_ATTEMPTS_MAX: Final = 6  # for one user who fails while others do not
_NO_LIST: Final = "the answer is no list of attributes, or longer than 1 MiB"
_PAUSE_SECONDS: Final = 0.1  # at most, between two looks at whether to stop

NOT_ENABLED: Final = (
    "the token is right, but it may not read custom attributes: Attentive enables this endpoint for each account on "
    "request (ask your CSM and whiteglove@attentivemobile.com), and it needs the permission attributes:write"
)


class Destination(Protocol):
    """The way to the read endpoint."""

    def ask(self, users: Sequence[User], stopped: Callable[[], bool]) -> list[Reply]:
        """A reply for each user, in their order. `Failure.ABORTED` for those that were cut short by a stop."""

    def problem(self) -> str | None:
        """What is wrong with the token or the URL, and how to mend it. None if both are right."""


class DestinationFailed(Unfinished):
    """The destination cannot be asked. The message says why, and how to mend it."""


@dataclass(frozen=True, slots=True)
class Held:
    """What the destination holds of a user.

    Attributes:
        attributes: as it gives them. None if it cannot say: `problem` has the reason.
        asked_ms: when it was asked, in milliseconds since the epoch.
    """

    subject: Subject
    attributes: Mapping[str, object] | None = field(repr=False)
    asked_ms: int
    problem: str = ""


@dataclass(order=True, slots=True)
class _Waiting:
    """A user who is to be asked: not before `due`, in monotonic seconds."""

    due: float
    number: int
    subject: Subject = field(compare=False)
    attempts: int = field(default=0, compare=False)
    answers_before: int = field(default=0, compare=False)  # of others, at its first attempt


def lookup_of(subject: Subject) -> User | None:
    """The one identifier to ask by, which is a phone or an email. None: the destination finds nobody by any other."""
    phone, email = subject.user.phone, subject.user.email
    if email is not None and (phone is None or subject.key.kind == "email"):
        return User(email=email)
    return None if phone is None else User(phone=phone)


class Asking:
    """Asks for one user after another, several at once as the rate allows.

    Args:
        destination: whom to ask.
        rate: how fast.
        at_once: the most requests in flight.
        backoff: from the attempts so far to the seconds before the next one.
        retry_after_max_seconds: the longest Retry-After that is obeyed.
        clock: in monotonic seconds.
        sleep: waits.
        observer: is told of each answer, as of each call of a worker.
    """

    def __init__(
        self,
        destination: Destination,
        rate: Rate,
        *,
        at_once: int,
        backoff: Callable[[int], float],
        retry_after_max_seconds: float,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], object] = time.sleep,
        observer: Observer = Observers(),  # noqa: B008 - it has no state
    ) -> None:
        self._destination = destination
        self._rate = rate
        self._at_once = at_once
        self._backoff = backoff
        self._retry_after_max_seconds = retry_after_max_seconds
        self._clock = clock
        self._sleep = sleep
        self._observer = observer
        self._quiet_until = 0.0
        self._answered_at = clock()
        self._answers = 0
        self._is_proved = False  # an answer has shown that URL and token are right

    def each(self, subjects: Sequence[Subject], stopped: Callable[[], bool]) -> Iterator[Held]:
        """What is held of each, as the answers come. Ends early once `stopped`.

        Every subject has a `lookup_of`.

        Raises:
            DestinationFailed: No user can be asked.
        """
        waiting = [_Waiting(0.0, number, subject) for number, subject in enumerate(subjects)]
        self._answered_at = self._clock()
        while waiting and not stopped():
            batch = self._due(waiting)
            if not batch:
                self._sleep(_PAUSE_SECONDS if self._clock() < self._quiet_until else self._pause(waiting[0].due))
                continue
            asked_ms = time.time_ns() // 1_000_000
            users = [user for each in batch if (user := lookup_of(each.subject)) is not None]
            for one, reply in zip(batch, self._destination.ask(users, stopped), strict=True):
                held = self._taken(one, reply, asked_ms)
                if held is not None:
                    yield held
                elif not stopped():
                    heapq.heappush(waiting, one)

    def _due(self, waiting: list[_Waiting]) -> list[_Waiting]:
        """Those to ask now, each with its token of the rate."""
        now = self._clock()
        batch: list[_Waiting] = []
        while waiting and len(batch) < self._at_once and max(waiting[0].due, self._quiet_until) <= now:
            if not self._rate.ready(now):
                break
            self._rate.spend()
            batch.append(heapq.heappop(waiting))
        return batch

    def _pause(self, due: float) -> float:
        now = self._clock()
        return min(_PAUSE_SECONDS, max(0.001, self._rate.next_ready(now) - now, due - now))

    def _taken(self, one: _Waiting, reply: Reply, asked_ms: int) -> Held | None:
        """What the reply says. None: to be asked again, not before `one.due`."""
        self._rate.observe(reply, self._clock())
        verdict = verdict_on(reply, ever_delivered=self._is_proved)
        if verdict in {Verdict.UNAUTHORIZED, Verdict.WRONG_URL}:
            self._prove(reply, verdict)
            verdict = verdict_on(reply, ever_delivered=True)
        self._tell(reply, verdict)
        match verdict:
            case Verdict.DELIVERED:
                return self._answered(one, read_held(reply.body), asked_ms, _NO_LIST)
            case Verdict.NOT_FOUND:
                return self._answered(one, {}, asked_ms)
            case Verdict.RETRY | Verdict.THROTTLED:
                return self._put_off(one, reply, verdict, asked_ms)
            case Verdict.ABORTED:
                return None
            case _:
                return self._answered(one, None, asked_ms, in_words(reply))

    def _tell(self, reply: Reply, verdict: Verdict) -> None:
        answered = verdict is Verdict.NOT_FOUND  # that nobody is known by this name is an answer
        told = Verdict.DELIVERED if answered else verdict
        self._observer.observe(CallEnded(told, reply.status, reply.failure, reply.seconds))

    def _answered(
        self, one: _Waiting, attributes: Mapping[str, object] | None, asked_ms: int, problem: str = ""
    ) -> Held:
        self._answered_at = self._clock()
        self._answers += 1
        self._is_proved = True
        return Held(one.subject, attributes, asked_ms, problem if attributes is None else "")

    def _prove(self, reply: Reply, verdict: Verdict) -> None:
        """An answer that speaks of the token or the URL: asks whether these are right.

        Raises:
            DestinationFailed: They are not, or the account may not read.
        """
        problem = self._destination.problem()
        if problem is not None:
            raise DestinationFailed(f"GET /attributes/custom: {in_words(reply)}. {problem}")
        if verdict is Verdict.UNAUTHORIZED:
            raise DestinationFailed(f"GET /attributes/custom: {in_words(reply)}: {NOT_ENABLED}")
        if verdict_on(reply, ever_delivered=True) is Verdict.WRONG_URL:
            raise DestinationFailed(f"GET /attributes/custom: {in_words(reply)}: check WORKER_ATTENTIVE__BASE_URL")

    def _put_off(self, one: _Waiting, reply: Reply, verdict: Verdict, asked_ms: int) -> Held | None:
        now = self._clock()
        if verdict is Verdict.THROTTLED:
            self._rate.throttled(now)
        if reply.retry_after_seconds is not None:
            pause = min(reply.retry_after_seconds, self._retry_after_max_seconds)
            self._quiet_until = max(self._quiet_until, now + pause)
            self._answered_at = max(self._answered_at, self._quiet_until)
        if now - self._answered_at > PATIENCE_SECONDS:
            raise DestinationFailed(f"GET /attributes/custom: {in_words(reply)}, and no other answer for two minutes")
        if not one.attempts:
            one.answers_before = self._answers
        one.attempts += 1
        if verdict is Verdict.RETRY and one.attempts >= _ATTEMPTS_MAX and self._answers > one.answers_before:
            return Held(one.subject, None, asked_ms, in_words(reply))
        one.due = now + self._backoff(one.attempts)
        return None
