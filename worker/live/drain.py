"""A drain: partitions are about to go, and what is open of them is sent and settled before a deadline."""

from __future__ import annotations

from collections.abc import Callable, Collection

from worker.core.delivery.gate import HaltReason
from worker.core.engine import Engine
from worker.core.facts import DrainOutcome
from worker.core.model import Now, Partition

_LASTING_HALTS = frozenset({HaltReason.UNAUTHORIZED, HaltReason.WRONG_URL})


class Drain:
    """Moves on by `step` until it has an outcome.

    done: everything that was read of the partitions is settled. cut: the deadline came, or waiting on would settle
    nothing more. gone: some of the partitions became another member's meanwhile, and what was open of them was dropped.

    Whoever owns the loop turns it. A revoke's callback does so until there is an outcome, and then returns:

        drain = membership.begin_revoke(partitions)
        while drain.step(clock()) is None:
            ...  # wait a little

    Attributes:
        outcome: None while it goes on.
        left: entries and dead letters that it did not settle.
    """

    def __init__(
        self,
        engine: Engine,
        partitions: Collection[Partition],
        *,
        begun: Now,
        deadline: float,
        act: Callable[[], None],
        end: Callable[[Drain], None],
    ) -> None:
        """Makes what is open of the partitions due at once.

        Args:
            engine: what holds the partitions' entries.
            partitions: those that are about to go; of a stop the live set of all that are held.
            begun: the present.
            deadline: in monotonic seconds; no call outlasts it.
            act: moves calls and letters on, and may wait a little for them.
            end: called once, when there is an outcome.
        """
        self.partitions = partitions
        self.begun = begun
        self.deadline = deadline
        self.outcome: DrainOutcome | None = None
        self.left = 0
        self._engine = engine
        self._act = act
        self._end = end
        self._result = DrainOutcome.DONE
        self.resume()

    def resume(self) -> None:
        """Makes this the drain whose partitions and deadline the engine keeps to."""
        self._engine.draining(self.partitions, self.deadline)

    def step(self, now: Now) -> DrainOutcome | None:
        """Ends it if there is nothing to wait for, else acts."""
        if self.outcome is None and not self._ended(now):
            self._act()
            self._ended(now)
        return self.outcome

    def lose(self, partitions: Collection[Partition]) -> None:
        """These are another member's already. To be called before the engine drops them."""
        if self.outcome is None and not set(partitions).isdisjoint(self.partitions):
            self._fall_short(DrainOutcome.GONE, self._engine.unsettled(partitions))

    def include(self, inner: Drain) -> None:
        """Some of the partitions were revoked meanwhile, and had a drain of their own."""
        if inner.outcome is DrainOutcome.CUT:  # of those that are gone both drains were told
            self._fall_short(DrainOutcome.CUT, inner.left)

    def _ended(self, now: Now) -> bool:
        if not self._engine.drained(self.partitions):
            if now.mono < self.deadline and not self._in_vain():
                return False
            self._fall_short(DrainOutcome.CUT, self._engine.unsettled(self.partitions))
        self.outcome = self._result
        self._end(self)
        return True

    def _in_vain(self) -> bool:
        """Whether waiting on would settle nothing.

        Either dead letters wait for credit, which only good records earn, and none is read any more. Or people must
        mend the halt, and nothing is under way.
        """
        if self._engine.awaits_good_records(self.partitions):
            return True
        halt, busy = self._engine.halt, self._engine.in_flight or self._engine.letters_waiting
        return halt is not None and halt.reason in _LASTING_HALTS and not busy

    def _fall_short(self, how: DrainOutcome, left: int) -> None:
        self._result = how if self._result is not DrainOutcome.GONE else self._result
        self.left += left
