"""The checks on a replay. It may not leave an older value behind, nor send one that was superseded a while ago.

What it sends does not count for the workers' promises: they owe each change as if there were no job beside them.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from typing import TYPE_CHECKING

from tests.simulation.attentive import Attentive
from tests.simulation.kafka import Log
from tests.simulation.lanes import Lane, same
from tests.simulation.oracle import Oracle
from tests.simulation.plan import Plan
from tests.simulation.promises import PromiseBroken
from tests.simulation.senders import Flight
from worker.core.delivery.spare_rate import MOST
from worker.core.model import Letter, LostAttribute, Reason, Reply
from worker.core.replay.scope import Matcher, Scope

if TYPE_CHECKING:
    from tests.simulation.job import Job

FRESH_SECONDS = 1.0
"""A call carries nothing that was superseded longer ago than this."""
_ABOUT_THE_USER = {Reason.SERVER_ERROR, Reason.NOT_FOUND, Reason.UNEXPECTED_STATUS}


class ReplayCheck:
    """Watches the processes of one replay, one after the other."""

    def __init__(self, plan: Plan, logs: list[Log], oracle: Oracle, attentive: Attentive) -> None:
        self.calls = 0
        self._plan = plan
        self._logs = logs
        self._oracle = oracle
        self._attentive = attentive
        self._in_flight: set[tuple[object, int]] = set()
        self._started: deque[float] = deque()
        self._done_at: dict[int, frozenset[tuple[str, int]]] = {}  # by user: what a process knows to be applied
        self._troubled: set[int] = set()  # users that did not simply get a 200, once
        self._repeated: set[int] = set()
        self._refused: set[tuple[Lane, int]] = set()  # whose letters are written: the job falls back on what is older
        self._may_repeat = 0

    # -- calls -------------------------------------------------------------------------------------------------------

    def started(self, now: float, _: int) -> None:
        """The job starts a call. Checks its rate."""
        self.calls += 1
        self._started.append(now)
        while self._started[0] <= now - 1.0:
            self._started.popleft()
        limit = self._plan.options.requests_per_second * MOST * 1.1 + 2
        if len(self._started) > limit:
            raise PromiseBroken("rate", f"{len(self._started)} requests of a job in a second, not {limit:.0f}")

    def request_written(self, flight: Flight, now: float) -> None:
        """Its request is written: it must say what the log said lately."""
        if (flight.owner, flight.user) in self._in_flight:
            raise PromiseBroken("one in flight", f"a second request of the job for user {flight.user}")
        self._in_flight.add((flight.owner, flight.user))
        for lane, index in self._carried(flight):
            newer = self._superseded_by(lane, index, now - FRESH_SECONDS)
            if newer is not None:
                age = now - lane.times[newer]
                what = f"change {index}, {age:.2f} s after {newer}"
                raise PromiseBroken("fresh", f"user {lane.user}, {lane.name}: the job sends {what}")
        self._count_repeats(flight)

    def ended(self, flight: Flight, reply: Reply | None, _: float) -> None:
        """A request is over for the job."""
        self._in_flight.discard((flight.owner, flight.user))
        if reply is None or reply.status not in {200, 202} or reply.web_page:
            self._troubled.add(flight.user)

    def applied(self, flight: Flight, _: float) -> None:
        """The destination has set a call's properties."""
        for lane, index in self._carried(flight):
            lane.replayed = max(lane.replayed, index)
            lane.set_to(index)

    def _carried(self, flight: Flight) -> list[tuple[Lane, int]]:
        """The changes that a call carries; without those of users with records in two partitions."""
        if flight.user in self._plan.shared:
            return []
        found = []
        for name, value in flight.call.properties.items():
            lane = self._oracle.lanes.get((flight.user, name))
            index = -1 if lane is None else lane.find(value, flight.reach)
            if lane is None or index < 0:
                raise PromiseBroken("invented", f"user {flight.user}, {name}: the job sends what is not in the log")
            found.append((lane, index))
        return found

    def _superseded_by(self, lane: Lane, index: int, before: float) -> int | None:
        """A later change that stood in the log before then, and that nothing keeps from being sent."""
        if self._oracle.is_hopeless(lane.user) or lane.user in self._plan.poison:
            return None
        for later in range(len(lane.values) - 1, max(index, lane.excused, lane.given_up), -1):
            is_refused = (lane, later) in self._refused or self._attentive.refuses(lane.name, lane.values[later])
            if lane.times[later] < before and not is_refused:
                return later
        return None

    # -- kills -------------------------------------------------------------------------------------------------------

    def replied(self, flight: Flight, reply: Reply) -> None:
        """The job takes in a reply."""
        if reply.status in {200, 202} and not reply.web_page:
            if flight.user in self._done_at:
                self._troubled.add(flight.user)  # overtaken: until it was read on, its newest value may be sent again
            carried = frozenset((lane.name, index) for lane, index in self._carried(flight))
            self._done_at[flight.user] = self._done_at.get(flight.user, frozenset()) | carried

    def killed(self, job: Job, concurrency: int) -> None:
        """A process is killed, or has ended: of the calls that succeeded so many at most may be made again."""
        self._in_flight = {each for each in self._in_flight if each[0] is not job}
        self._may_repeat += concurrency
        self._repeated = set()

    def _count_repeats(self, flight: Flight) -> None:
        known = self._done_at.get(flight.user)
        if known is None or flight.user in self._troubled:
            return
        carried = {(lane.name, index) for lane, index in self._carried(flight)}
        if carried and carried <= known:
            self._repeated.add(flight.user)
        if len(self._repeated) > self._may_repeat:
            raise PromiseBroken("repeated", f"{len(self._repeated)} calls again, at most {self._may_repeat} may be")

    # -- retention ---------------------------------------------------------------------------------------------------

    def truncated(self, partition: int, taken: int, start: int) -> None:
        """Retention deletes the records before `start`, and the job has taken in those before `taken`."""
        for lane in self._oracle.lanes.values():
            for index, offset in enumerate(lane.offsets):
                if lane.partitions[index] == partition and taken <= offset < start:
                    lane.given_up = max(lane.given_up, index)

    # -- letters -----------------------------------------------------------------------------------------------------

    def published(self, letter: Letter, _: Mapping[int, int], __: float) -> None:
        """The job hands a letter to its producer."""
        for lost in letter.attributes:
            lane = self._lane(lost)
            if lane is None or letter.reason not in _ABOUT_THE_USER:
                continue
            if not self._oracle.is_hopeless(lane.user) and lane.user not in self._plan.poison:
                raise PromiseBroken("bad destination", f"{letter.reason} for user {lane.user}, who can be delivered")

    def written(self, letter: Letter) -> None:
        """A letter is in the dead-letter topic."""
        for lost in letter.attributes:
            lane = self._lane(lost)
            if lane is None:
                continue
            index = self._index(lane, lost)
            whole = letter.attempts >= self._plan.options.calls_per_entry_max or lane.user in self._plan.odd_users
            if letter.reason in _ABOUT_THE_USER or whole:
                lane.given_up = max(lane.given_up, index)
            elif not self._attentive.has_refused(lane.name, lane.values[index]):
                raise PromiseBroken("bad letter", f"user {lane.user}, {lane.name}: the job gave a good value up")
            else:
                self._refused.add((lane, index))

    def _lane(self, lost: LostAttribute) -> Lane | None:
        """The lane of a letter's attribute; None if retention has deleted its record."""
        for lane, _ in self._oracle.duty(lost.partition.number, lost.offset).sends:
            if lane.name == lost.name:
                return lane
        raise PromiseBroken("bad letter", f"{lost.name} is not in the record that the job's letter names")

    @staticmethod
    def _index(lane: Lane, lost: LostAttribute) -> int:
        for index, offset in enumerate(lane.offsets):
            if offset == lost.offset and lane.partitions[index] == lost.partition.number:
                if same(lane.values[index], lost.value):  # type: ignore[arg-type]  # a value of a lane is a scalar
                    return index
                break
        raise PromiseBroken("bad letter", f"user {lane.user}, {lane.name}: not the value of its record")

    # -- the end -----------------------------------------------------------------------------------------------------

    def over(self, scope: Scope) -> None:
        """The replay is done: it leaves no older value behind, and has sent what it had to."""
        matches = Matcher(scope.attributes)
        for lane in self._oracle.lanes.values():
            if lane.shared or self._oracle.is_hopeless(lane.user) or max(lane.excused, lane.given_up) >= 0:
                continue
            if lane.stands < lane.highest and lane.replayed == lane.stands:
                what = f"change {lane.stands} after {lane.highest}"
                raise PromiseBroken("left behind", f"user {lane.user}, {lane.name}: the job leaves {what}")
            newest = len(lane.values) - 1
            log, offset = self._logs[lane.partitions[newest]], lane.offsets[newest]
            if offset < log.start or not scope.covers(log.partition, offset) or not matches(lane.name):
                continue
            if lane.replayed < newest and not self._attentive.refuses(lane.name, lane.values[newest]):
                raise PromiseBroken("missed", f"user {lane.user}, {lane.name}: the job has not sent change {newest}")
