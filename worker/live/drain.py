"""A drain: sends and settles what is open in partitions that are about to go, before a deadline."""

from __future__ import annotations

from collections.abc import Callable, Collection

from worker.core.delivery.gate import HaltReason
from worker.core.engine import Engine
from worker.core.facts import DrainOutcome
from worker.core.model import Now, Partition

_LASTING_HALTS = frozenset({HaltReason.UNAUTHORIZED, HaltReason.WRONG_URL})


class Drain:
    """Proceeds by `step` until it has an outcome.

    done: every record read from the partitions is settled. cut: the deadline passed, or waiting longer would settle
    nothing more. gone: some of the partitions were lost to another member, and what was open in them was dropped.

    The owner of the loop calls `step`. In a revoke, the callback does so until there is an outcome, and then returns:

        drain = membership.begin_revoke(partitions)
        while drain.step(clock()) is None:
            ...  # wait a little

    Attributes:
        outcome: None while it goes on.
        left: the number of entries and dead letters not settled.
    """

    def __init__(
        self,
        engine: Engine,
        partitions: Collection[Partition],
        *,
        begun: Now,
        deadline: float,
        on_step: Callable[[], None],
        on_end: Callable[[Drain], None],
    ) -> None:
        """Makes what is open in the partitions due at once.

        Args:
            engine: has the partitions' entries.
            partitions: those about to go. For a stop, the membership's live set of all assigned partitions.
            begun: now.
            deadline: in monotonic seconds; no call outlasts it.
            on_step: called at each step. Sends and receives what is due, and may wait briefly.
            on_end: called once, when there is an outcome. Commits and drops.
        """
        self.partitions = partitions
        self.begun = begun
        self.deadline = deadline
        self.outcome: DrainOutcome | None = None
        self.left = 0
        self._engine = engine
        self._on_step = on_step
        self._on_end = on_end
        self._result = DrainOutcome.DONE
        self.resume()

    def resume(self) -> None:
        """Tells the engine this drain's partitions and deadline: at its start, and after an inner drain has ended."""
        self._engine.draining(self.partitions, self.deadline)

    def step(self, now: Now) -> DrainOutcome | None:
        """Ends the drain if there is nothing to wait for, else calls `on_step`. Returns the outcome, or None."""
        if self.outcome is None and not self._try_to_end(now):
            self._on_step()
            self._try_to_end(now)
        return self.outcome

    def lose(self, partitions: Collection[Partition]) -> None:
        """These partitions were lost to another member. Call it before the engine drops them."""
        if self.outcome is None and not set(partitions).isdisjoint(self.partitions):
            self._note_shortfall(DrainOutcome.GONE, self._engine.unsettled(partitions))

    def include(self, inner: Drain) -> None:
        """During this drain (a stop), some of its partitions were revoked: adds the outcome of that revoke's drain."""
        if inner.outcome is DrainOutcome.CUT:  # not GONE: `lose` was called on both drains
            self._note_shortfall(DrainOutcome.CUT, inner.left)

    def commit_failed(self) -> None:
        """The commit at its end was not acknowledged: what it settled is sent again."""
        if self.outcome is DrainOutcome.DONE:
            self.outcome = DrainOutcome.CUT

    def _try_to_end(self, now: Now) -> bool:
        if not self._engine.drained(self.partitions):
            if now.mono < self.deadline and not self._is_hopeless(now):
                return False
            self._note_shortfall(DrainOutcome.CUT, self._engine.unsettled(self.partitions))
        self.outcome = self._result
        self._on_end(self)
        return True

    def _is_hopeless(self, now: Now) -> bool:
        """Whether waiting longer would settle nothing more.

        Only dead letters are left that wait for credit: good records would earn it, but a drain reads none. Or no call,
        letter or schema is under way, and the worker is halted until somebody mends the token or the URL, or only users
        are left whose calls fail while others succeed, or nothing may be sent before the deadline (a long Retry-After,
        a share of 0).
        """
        engine = self._engine
        if engine.awaits_good_records(self.partitions):
            return True
        if engine.in_flight or engine.letters_waiting:
            return False
        if engine.halt is not None and engine.halt.reason in _LASTING_HALTS:
            return True
        if engine.only_failing(self.partitions, now):
            return True
        return not engine.missing_schemas and engine.next_wakeup(now) >= self.deadline

    def _note_shortfall(self, how: DrainOutcome, left: int) -> None:
        self._result = how if self._result is not DrainOutcome.GONE else self._result
        self.left += left
