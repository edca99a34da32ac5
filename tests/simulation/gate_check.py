"""Checks on one worker's gate, from its calls and replies alone: single probes, Retry-After, and letters in a storm."""

from __future__ import annotations

from tests.simulation.promises import PromiseBroken
from worker.core.model import Call, Failure, Letter, Reply
from worker.core.options import Options

_RETRIED = {408, 425}
_FAILURES_BEFORE_CLOSING = 5


class GateCheck:
    """What one worker must know from its replies.

    Attributes:
        closed: whether the worker may only probe: one call at a time.
        wait_until: no call may start before this.
    """

    __slots__ = ("_failures", "_forgotten", "_letters", "_out", "_successes", "closed", "wait_until")

    def __init__(self) -> None:
        self.closed = False
        self._failures = 0
        self._successes = 0
        self._letters: set[Letter] = set()
        self._out: set[Call] = set()
        self._forgotten: set[Call] = set()
        self.wait_until = 0.0

    def replied(self, call: Call, reply: Reply, now: float, options: Options) -> None:
        """The worker takes in a reply. The reply of a call that it gave up counts only for its Retry-After."""
        self._out.discard(call)
        if reply.retry_after_seconds:
            self.wait_until = max(
                self.wait_until, now + min(reply.retry_after_seconds, options.retry_after_max_seconds)
            )
        cut_short = reply.failure is Failure.TIMEOUT and call.timeout_seconds < options.timeout_seconds
        if call in self._forgotten or cut_short:
            return
        status = reply.status
        if status is not None and 200 <= status < 300:
            self.closed, self._failures = False, 0
            self._successes += 1
            self._out.clear()
        elif status in {401, 403, 302} or reply.no_such_path or reply.failure == "no_token":
            self.closed = True
        elif status is None or status >= 500 or status in _RETRIED:
            self._failures += reply.failure != "aborted"
            self.closed = self.closed or self._failures >= _FAILURES_BEFORE_CLOSING

    def forgotten(self, call: Call) -> None:
        """The worker has aborted a call."""
        self._out.discard(call)
        self._forgotten.add(call)

    def starting(self, call: Call, now: float) -> None:
        """The worker starts a call.

        Raises:
            PromiseBroken: it is too early, or the second call at once through a closed gate.
        """
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
