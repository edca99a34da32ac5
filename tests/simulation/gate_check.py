"""What one worker's replies alone say of the gate: whether it must be closed, and until when it must wait.

It asks for less than the worker does: it closes only where nobody could doubt.
"""

from __future__ import annotations

from tests.simulation.plan import NUMBERS
from tests.simulation.promises import PromiseBroken
from worker.core.model import Call, Failure, Letter, Reply
from worker.core.options import Options

_RETRIED = {408, 425}
_FAILING_USERS = 5
_HALTED_USERS = 2
_SILENCE_SECONDS = 1.0


class GateCheck:
    """What one worker must know from its replies.

    Attributes:
        closed: whether the worker may only probe: one call at a time.
        wait_until: no call may start before this.
    """

    __slots__ = (
        "_failed_at",
        "_failing",
        "_forgotten",
        "_halted",
        "_known",
        "_letters",
        "_out",
        "_paused",
        "_started",
        "_succeeded_at",
        "_success_started_at",
        "_successes",
        "closed",
        "wait_until",
    )

    def __init__(self) -> None:
        self.closed = False
        self._failing: set[int] = set()  # users that failed since the last success, none of them known to fail
        self._halted: set[int] = set()  # the same for answers that halt
        self._known: set[tuple[int, str]] = set()  # users that fail in a way while others succeed
        self._failed_at: dict[tuple[int, str], float] = {}
        self._started: dict[Call, float] = {}
        self._succeeded_at = self._success_started_at = -1.0
        self._successes = 0
        self._paused = False
        self._letters: set[Letter] = set()
        self._out: set[Call] = set()
        self._forgotten: set[Call] = set()
        self.wait_until = 0.0

    def replied(self, call: Call, reply: Reply, now: float, options: Options) -> None:
        """The worker takes in a reply. The reply of a call that it gave up counts only for its Retry-After."""
        self._out.discard(call)
        started = self._started.pop(call)
        user, way = NUMBERS[call.user], _way(reply)
        cut_short = reply.failure is Failure.TIMEOUT and call.timeout_seconds < options.timeout_seconds
        tells = not (call in self._forgotten or cut_short or way == "aborted")
        if tells and self._success_started_at > self._failed_at.get((user, way), now):
            self._known.add((user, way))
        if reply.retry_after_seconds and way == "failing":
            doubtful = self._paused and now - self._succeeded_at <= _SILENCE_SECONDS  # it may be this user's alone
            self._paused = True
            if (user, way) not in self._known and not doubtful:
                wait_seconds = min(reply.retry_after_seconds, options.retry_after_max_seconds)
                self.wait_until = max(self.wait_until, now + wait_seconds)
        if not tells:
            return
        if way == "delivered":
            self._succeeded(user, started, now)
        elif way == "refused":
            self._forget(user)
        else:
            self._failed(user, way, now, throttled=reply.status == 429)

    def _succeeded(self, user: int, started: float, now: float) -> None:
        self.closed = False
        self._successes += 1
        self._succeeded_at, self._success_started_at = now, max(self._success_started_at, started)
        self._failing.clear()
        self._halted.clear()
        self._out.clear()
        self._forget(user)

    def _failed(self, user: int, way: str, now: float, *, throttled: bool) -> None:
        self._failed_at[user, way] = now
        if any(known == user for known, _ in self._known):
            return
        if way == "halting":
            self._halted.add(user)
            self.closed = self.closed or len(self._halted) >= _HALTED_USERS
        elif way == "failing" and not throttled:
            self._failing.add(user)
            silent = now - self._succeeded_at >= _SILENCE_SECONDS
            self.closed = self.closed or (silent and len(self._failing) >= _FAILING_USERS)

    def _forget(self, user: int) -> None:
        self._known = {(known, way) for known, way in self._known if known != user}
        for key in [key for key in self._failed_at if key[0] == user]:
            del self._failed_at[key]

    def forgotten(self, call: Call) -> None:
        """The worker has aborted a call."""
        self._out.discard(call)
        self._forgotten.add(call)

    def starting(self, call: Call, now: float) -> None:
        """The worker starts a call."""
        self._started[call] = now
        if now < self.wait_until - 1e-6:
            raise PromiseBroken("retry-after", f"a call {self.wait_until - now:.2f} s too early")
        if self.closed:
            self._out.add(call)
            if len(self._out) > 1:
                raise PromiseBroken("probes", "two calls through a closed gate at once")

    def writing(self, letter: Letter, letters_max: int) -> None:
        """The worker writes a letter. Allowed are `letters_max`, and one more for each success.

        Raises:
            PromiseBroken: it is one too many.
        """
        if letter.attempts:
            self._letters.add(letter)
            if len(self._letters) > letters_max + self._successes:
                raise PromiseBroken("storm", f"{len(self._letters)} letters after {self._successes} successes")


def _way(reply: Reply) -> str:
    status = reply.status
    if status is None:
        way = {Failure.ABORTED: "aborted", Failure.NO_TOKEN: "halting"}.get(reply.failure or Failure.BROKEN, "failing")
    elif 200 <= status < 300 and not reply.web_page:
        way = "delivered"
    elif status == 413:
        way = "refused"
    elif status in {*_RETRIED, 429}:
        way = "failing"
    elif status in {401, 403, 302, 405} or reply.no_such_path or (reply.web_page and status < 500):
        way = "halting"
    elif status == 400:
        way = "refused"
    elif status >= 500:
        way = "failing"
    else:
        way = "doubted"
    return way
