"""The promises as checks, made at each request, each applied call, each letter, each commit, and at the end.

lanes.py says what "accounted for" means.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass

from tests.simulation.attentive import Attentive
from tests.simulation.kafka import Log
from tests.simulation.lanes import Duty, Lane, same
from tests.simulation.plan import DENIED, NUMBERS, TOO_LONG, Plan, Produced
from tests.simulation.promises import PromiseBroken
from tests.simulation.senders import Flight
from worker.core.model import Letter, LostAttribute, Reason, Record, Reply, Scalar

_WHOLE_RECORD = ""
_FAILING = {408, 425, 429}
_ENTRY_REASONS = {Reason.SERVER_ERROR, Reason.NOT_FOUND, Reason.UNEXPECTED_STATUS}


@dataclass(slots=True)
class UserCalls:
    """A user's calls in flight, the last assignment that sent one, and the destination's failures in a row."""

    in_flight: int = 0
    epoch: int = -1
    failures: int = 0
    failing_since: float = 0.0


class Oracle:
    """Watches one run; every method may raise `PromiseBroken`."""

    def __init__(self, plan: Plan, logs: list[Log], attentive: Attentive) -> None:
        self.lanes: dict[tuple[int, str], Lane] = {}
        self.calls = 0
        self._plan = plan
        self._logs = logs
        self._attentive = attentive
        self._duties: list[list[Duty]] = [[] for _ in logs]
        self._verified = [0] * len(logs)
        self._users: dict[object, UserCalls] = {}
        self._reaches: dict[Letter, Mapping[int, int]] = {}
        self._started: deque[float] = deque()
        self._excused = False

    # -- the log -----------------------------------------------------------------------------------------------------

    def appended(self, record: Record, produced: Produced, now: float) -> None:
        """A record was appended to its log."""
        duty = Duty()
        self._duties[produced.partition].append(duty)
        if produced.kind == "garbage":
            duty.refused[_WHOLE_RECORD] = Reason.UNDECODABLE
        elif produced.kind == "nobody":
            duty.refused[_WHOLE_RECORD] = Reason.NO_IDENTITY
        else:
            for name, value in produced.attributes.items():
                self._expect(duty, record, produced.user, name, value, now)

    def _expect(self, duty: Duty, record: Record, user: int, name: str, value: object, now: float) -> None:
        if name == DENIED:
            duty.refused[name] = Reason.SENSITIVE_DATA
        elif name == TOO_LONG:
            duty.refused[name] = Reason.INVALID_ATTRIBUTE_NAME
        elif isinstance(value, list):
            duty.refused[name] = Reason.UNSUPPORTED_VALUE
        elif isinstance(value, bool | int | float | str):
            lane = self.lanes.get((user, name))
            if lane is None:
                spares = self._plan.options.sparing_users_max > 0
                lane = self.lanes[user, name] = Lane(user, name, shared=user in self._plan.shared, spares=spares)
            lane.values.append(value)
            lane.offsets.append(record.offset)
            lane.times.append(now)
            lane.partitions.append(record.partition.number)
            duty.sends.append((lane, len(lane.values) - 1))

    def truncated(self, partition: int, start: int, committed: int) -> None:
        """Retention has deleted a partition's records below `start`: the worker owes nothing for what it had not sent.

        It also owes nothing in this case: it delivers a lane's newest change and crashes before it commits; retention
        deletes that record; the next owner reads the older ones again and sends an older value last.
        """
        for offset, duty in zip(self._logs[partition].offsets, self._duties[partition], strict=True):
            if offset >= start:
                break
            for lane, index in duty.sends:
                accounted_for = lane.accounted_for(index) or offset < committed  # a commit was checked
                if offset >= committed or not accounted_for:
                    lane.excused = max(lane.excused, index)
                if not accounted_for:
                    lane.deleted.add(index)
            duty.lettered.update(duty.refused)

    # -- calls -------------------------------------------------------------------------------------------------------

    def _user_calls(self, user: int, worker: object) -> UserCalls:
        """A user's calls; a shared user's by worker, since two owners know nothing of each other's calls."""
        key = (user, worker) if user in self._plan.shared else user
        return self._users.setdefault(key, UserCalls())

    def started(self, now: float, workers: int) -> None:
        """A worker starts a call. Checks the rate of all workers."""
        self.calls += 1
        started = self._started
        started.append(now)
        while started[0] <= now - 1.0:
            started.popleft()
        limit = self._plan.options.requests_per_second * 1.1 + workers + 1
        if len(started) > limit:
            raise PromiseBroken("rate", f"{len(started)} requests in a second, at most {limit:.0f} are allowed")

    def request_written(self, flight: Flight, _: float) -> None:
        """A request is written: when its call starts, or late, by a worker that froze before it could write.

        The late one was counted against the rate when its call started.
        """
        user, epoch = flight.user, flight.epoch
        user_calls = self._user_calls(user, flight.owner)
        if user_calls.in_flight:
            raise PromiseBroken("one in flight", f"a second request for user {user}")
        if epoch < user_calls.epoch:
            raise PromiseBroken("fencing", f"user {user}: assignment {epoch} sends after {user_calls.epoch} did")
        user_calls.in_flight += 1
        user_calls.epoch = epoch

    def excuse_duplicates(self) -> None:
        """From now on duplicates are allowed: after a crash, a lost reply or an incomplete drain they are right."""
        self._excused = True

    def ended(self, flight: Flight, reply: Reply | None, now: float) -> None:
        """A request is over for the worker, by a reply, or None where it was given up."""
        user_calls = self._user_calls(flight.user, flight.owner)
        user_calls.in_flight -= 1
        if reply is None or reply.status is None:
            self.excuse_duplicates()
        if reply is None:
            return
        if reply.status is None or reply.status >= 500 or reply.status in _FAILING:
            user_calls.failures += 1
            if user_calls.failures == 1:
                user_calls.failing_since = now
        elif reply.status < 300 and not reply.web_page:
            user_calls.failures = 0

    def applied(self, flight: Flight, _: float) -> None:
        """The destination has set a call's properties."""
        user, epoch, reach = flight.user, flight.epoch, flight.reach
        if user not in self._plan.shared and epoch < self._users[user].epoch:
            raise PromiseBroken("fencing", f"user {user}: a request of assignment {epoch} was applied late")
        for name, value in flight.call.properties.items():
            lane = self.lanes.get((user, name))
            index = -1 if lane is None else lane.find(value, reach)
            if lane is None or index < 0:
                raise PromiseBroken("invented", f"user {user}, {name}: a value that was not in the log")
            if lane.shared:
                lane.settle(reach)
                continue
            # Where retention deleted a record unread, `find` may have taken its value for the equal one that was sent.
            certain = lane.unique or lane.excused < 0
            if certain and lane.epoch == epoch and index < lane.epoch_applied:
                raise PromiseBroken("order", f"user {user}, {name}: change {index} after {lane.epoch_applied}")
            lane.epoch, lane.epoch_applied = epoch, index
            if index <= lane.applied and lane.unique and not self._excused:
                raise PromiseBroken("duplicate", f"user {user}, {name}: change {index} again, and nothing went wrong")
            lane.applied = max(lane.applied, index)
            lane.set_to(index)

    # -- letters -----------------------------------------------------------------------------------------------------

    def published(self, letter: Letter, reach: Mapping[int, int], now: float) -> None:
        """A worker whose positions are `reach` hands a letter to its producer."""
        self._reaches.setdefault(letter, reach)
        user = -1 if letter.user is None else NUMBERS.get(letter.user, -1)
        # A shared user's entry outlives one partition: it is held by the other, and its waiting letter with it. So the
        # old owner may write it after all, and the next owner writes the same letter, with the same id.
        if user not in self._plan.shared and not any(source.partition.number in reach for source in letter.sources):
            raise PromiseBroken("fencing", f"a letter ({letter.reason}) of a partition that another member owns")
        if letter.reason is Reason.SERVER_ERROR and user not in self._plan.shared:
            user_calls = self._users[user]
            good = user not in self._plan.poison and not self.is_hopeless(user)  # it fails by chance alone
            if good or now - user_calls.failing_since < self._plan.options.server_error_seconds:
                raise PromiseBroken("bad destination", f"user {user} is given up after {user_calls.failures} failures")
        about_the_user = {*self._plan.not_found, *self._plan.unexpected}  # amid a fault one may get the other's answer
        if letter.reason in {Reason.NOT_FOUND, Reason.UNEXPECTED_STATUS} and user not in about_the_user:
            raise PromiseBroken("bad destination", f"{letter.reason} for user {user}, who can be delivered")

    def written(self, letter: Letter) -> None:
        """A letter is in the dead-letter topic."""
        if letter.reason in {Reason.UNDECODABLE, Reason.NO_IDENTITY}:
            self._preflight_letter(letter, _WHOLE_RECORD, letter.sources[0].partition.number, letter.sources[0].offset)
            return
        for lost in letter.attributes:
            if letter.reason is Reason.REJECTED or letter.reason in _ENTRY_REASONS:
                self._lost(letter, lost)
            else:
                self._preflight_letter(letter, lost.name, lost.partition.number, lost.offset)

    def _preflight_letter(self, letter: Letter, name: str, partition: int, offset: int) -> None:
        duty = self.duty(partition, offset)
        if duty.refused.get(name) is not letter.reason:
            raise PromiseBroken("bad letter", f"{letter.reason} for {name or 'a record'} that was not at fault")
        duty.lettered.add(name)

    def _lost(self, letter: Letter, lost: LostAttribute) -> None:
        duty = self.duty(lost.partition.number, lost.offset)
        for lane, index in duty.sends:
            if lane.name != lost.name:
                continue
            value = lane.values[index]
            if not same(value, lost.value):  # type: ignore[arg-type]  # a value of a lane is a scalar
                raise PromiseBroken("bad letter", f"user {lane.user}, {lane.name}: not the value of its record")
            whole = letter.attempts >= self._plan.options.calls_per_entry_max or lane.user in self._plan.odd_users
            if letter.reason in _ENTRY_REASONS or whole:
                lane.whole = max(lane.whole, index)
                if lane.shared:
                    lane.settle(self._reaches[letter])
            elif self._attentive.has_refused(lane.name, value):
                lane.lettered.add(index)
                if lane.shared:
                    lane.settle(self._reaches[letter], value)
            else:
                raise PromiseBroken("bad letter", f"user {lane.user}, {lane.name}: a good value was dead-lettered")
            return
        if self._logs[lost.partition.number].start <= lost.offset:
            raise PromiseBroken("bad letter", f"{lost.name} is not in the record that the letter names")

    def duty(self, partition: int, offset: int) -> Duty:
        """What must become of the record at an offset."""
        return self._duties[partition][bisect_left(self._logs[partition].offsets, offset)]

    # -- commits and the end -----------------------------------------------------------------------------------------

    def committing(self, offsets: Mapping[int, int]) -> None:
        """A worker is about to commit these offsets. Each record is checked once: it stays accounted for."""
        for partition, offset in offsets.items():
            log, duties = self._logs[partition], self._duties[partition]
            index = self._verified[partition]
            while index < len(duties) and log.offsets[index] < offset:
                part = duties[index].open_part()
                if part is not None:
                    where = f"partition {partition}: commit {offset} passes {log.offsets[index]}"
                    raise PromiseBroken("commit", f"{where}, whose {part} is not accounted for")
                index += 1
            self._verified[partition] = index

    def is_hopeless(self, user: int) -> bool:
        """Whether no call for this user ever succeeds."""
        plan = self._plan
        return user in plan.not_found or user in plan.unexpected or user in plan.odd_users

    def check_progress(self) -> None:
        """Production is over: of what can be delivered, enough is."""
        newest = [lane for lane in self.lanes.values() if lane.unique and not self.is_hopeless(lane.user)]
        delivered = sum(lane.applied == len(lane.values) - 1 for lane in newest)
        if delivered < self._plan.delivered_share_min * len(newest):
            raise PromiseBroken("liveness", f"{delivered} of {len(newest)} newest values are delivered")

    def finished(self) -> None:
        """All is settled: the destination must hold for every lane what the log says."""
        for lane in self.lanes.values():
            if lane.shared:
                self._check_shared_end(lane)
            else:
                self._check_end(lane)

    def _check_shared_end(self, lane: Lane) -> None:
        value = self._attentive.state.get(lane.user, {}).get(lane.name)
        hopeless = self.is_hopeless(lane.user)
        newest = {
            partition: kept
            for partition, kept in zip(lane.partitions, lane.values, strict=True)
            if not hopeless and not self._attentive.refuses(lane.name, kept)
        }
        loose = max(lane.whole, lane.excused, lane.given_up) >= 0
        if not loose and (value is not None or newest) and not any(same(value, kept) for kept in newest.values()):
            raise PromiseBroken("equivalence", f"shared user {lane.user}, {lane.name}: {value!r}, not of {newest!r}")

    def _check_end(self, lane: Lane) -> None:
        state = self._attentive.state.get(lane.user, {})
        hopeless = self.is_hopeless(lane.user)
        allowed: list[Scalar] = []
        free = hopeless
        for index in range(len(lane.values) - 1, -1, -1):
            value = lane.values[index]
            if hopeless or self._attentive.refuses(lane.name, value):
                continue
            allowed.append(value)
            # A refused value that a later one supersedes is not sent again, even if the destination takes it by now.
            late = self._attentive.has_refused(lane.name, value) and index < len(lane.values) - 1
            if index > max(lane.whole, lane.excused, lane.given_up) and not late:
                break
        else:
            free = True
        if lane.name not in state:
            if not free:
                raise PromiseBroken("equivalence", f"user {lane.user}, {lane.name}: nothing arrived")
        elif not any(same(value, state[lane.name]) for value in allowed):
            raise PromiseBroken("equivalence", f"user {lane.user}, {lane.name}: {state[lane.name]!r}, not {allowed!r}")
