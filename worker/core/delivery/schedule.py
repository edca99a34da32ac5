"""Which calls may start now, and which are in flight."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from itertools import count

from worker.core.cheap import cheap_by_identity
from worker.core.delivery.destination import Destination
from worker.core.delivery.gate import Passage
from worker.core.delivery.isolation import Isolation
from worker.core.delivery.settlement import Settlement
from worker.core.facts import CallMade, Facts
from worker.core.model import Call, Now, Scalar
from worker.core.totals import Totals
from worker.core.waiting.entry import Entry
from worker.core.waiting.window import Window

FRESH_PER_RETRY = 9  # while other entries wait, one call in ten may be for an entry that failed
FAILED_PART_MAX = 4  # a quarter of the senders for entries that failed while others wait: their calls may hang
SHORTEST_CALL_SECONDS = 0.2  # with less than this until a deadline no call is started


@cheap_by_identity
class Flight:
    """A call in flight since `started_at`, and the entry that it is for.

    `failed`: the entry had failed before. `newest`: it was taken from the end of the queue.
    """

    call: Call
    entry: Entry
    started_at: float
    failed: bool
    newest: bool


class Schedule:
    """One worker's calls: which may start, and which are in flight.

    A call needs a due entry, a free sender, a rate token and an open gate. A closed gate lets one probe through.

    Attributes:
        deadline: the drain deadline, in monotonic seconds: no call outlasts it. Infinite if no drain is under way.
    """

    def __init__(
        self,
        concurrency: int,
        timeout_seconds: float,
        *,
        window: Window,
        destination: Destination,
        settlement: Settlement,
        totals: Totals,
        facts: Facts,
    ) -> None:
        self._concurrency = concurrency
        self._timeout_seconds = timeout_seconds
        self._attribution = destination.attribution
        self._window = window
        self._gate = destination.gate
        self._rate = destination.rate
        self._refusals = destination.refusals
        self._settlement = settlement
        self._totals = totals
        self._facts = facts
        self._flights: dict[int, Flight] = {}
        self._failed_in_flight = 0
        self._newest_in_flight = 0
        self._held_back = False  # entries are due, but only a reply lets one more of them go
        self._numbers = count(1)
        # The probe in flight while the gate is closed. None once the halt that sent it has ended.
        self._probe: Call | None = None
        self._fresh_in_a_row = 0  # calls since the last one for an entry that had failed
        self.deadline = math.inf

    @property
    def draining(self) -> bool:
        """Whether a drain is under way."""
        return self.deadline < math.inf

    @property
    def in_flight(self) -> int:
        """Calls without a reply yet."""
        return len(self._flights)

    def carrying(self, entries: Iterable[Entry]) -> list[Call]:
        """The calls in flight for these entries."""
        wanted = set(entries)
        return [flight.call for flight in self._flights.values() if flight.entry in wanted]

    def next_call(self, now: Now) -> float:
        """When the next call may start even if nothing arrives, in monotonic seconds."""
        if self._held_back:
            return math.inf
        due = self._window.next_due(probing=self._gate.closed is not None)
        return max(due, self._rate.next_ready(now.mono), self._gate.next_passage())

    def may_rest_until(self, now: Now, late_seconds: float) -> float:
        """Until when no call need start, in monotonic seconds: entries may be so late, but no rate is lost."""
        due = self._window.next_due(probing=self._gate.closed is not None)
        return max(due + late_seconds, self._rate.next_full(now.mono), self._gate.next_passage())

    def calls(self, free: int, now: Now, *, hurry: bool = False) -> list[Call]:
        """Starts the calls that may start now, at most `free`. With `hurry`, without waiting for windows to end."""
        calls: list[Call] = []
        while len(calls) < free and self._rate.ready(now.mono) and self.deadline - now.mono > SHORTEST_CALL_SECONDS:
            passage = self._gate.passage(len(self._flights), now.mono)
            if passage is Passage.NONE:
                break
            probe = passage is Passage.PROBE
            newest = not probe and self._prefers_newest(now)
            entry = self._window.take_probe() if probe else self._take(now, hurry=hurry, newest=newest)
            if entry is None:
                break
            properties = self._trial(entry, now)
            if properties:
                calls.append(self._start(entry, properties, probe=probe, newest=newest, now=now))
            else:
                self._settlement.conclude(entry, now)
        return calls

    def _take(self, now: Now, *, hurry: bool, newest: bool) -> Entry | None:
        """The next entry. One that failed waits behind the others, and is never starved by them.

        Calls for entries that failed may hang. So they never hold all senders.
        """
        quarter = max(1, self._concurrency // FAILED_PART_MAX)
        failed_first = self._fresh_in_a_row >= FRESH_PER_RETRY and self._failed_in_flight < quarter
        room = self._failed_in_flight < max(1, self._concurrency - quarter)
        entry = self._window.take(now.mono, hurry=hurry, failed_first=failed_first, failed=room, newest=newest)
        if entry is not None:
            self._fresh_in_a_row = self._fresh_in_a_row + 1 if entry.trial.trouble is None else 0
        self._held_back = entry is None and not room
        return entry

    def _prefers_newest(self, now: Now) -> bool:
        """Whether the next call is for the newest entry instead of the one that waits longest.

        While many fail, a run of bad users may stand at the front, and the good ones wait behind it. So every second
        sender then works from the other end.
        """
        if not self._attribution.many_fail or not self._window.is_late(now.mono):
            return False
        return 2 * self._newest_in_flight <= len(self._flights)

    def fresh_first(self) -> None:
        """The next few calls are not for entries that failed: first others must show whether it is well."""
        self._fresh_in_a_row = 0

    def ended(self, call: Call) -> Flight:
        """The call ended: removes and returns its flight.

        Raises:
            KeyError: it is not in flight.
        """
        flight = self._flights.pop(call.number)
        self._failed_in_flight -= flight.failed
        self._newest_in_flight -= flight.newest
        self._held_back = False
        return flight

    def is_probe(self, flight: Flight) -> bool:
        """Whether this is the probe that the closed gate waits for, and not a call sent before the halt."""
        return flight.call is self._probe

    def probe_unanswered(self, flight: Flight, now: Now) -> None:
        """Tells the gate, if this call was its probe, that the reply does not show whether the halt is over."""
        if self.is_probe(flight):
            self._gate.probe_ended(now.mono)

    def forget_probe(self) -> None:
        """Something changed that the probe in flight cannot know of: another one may go at once."""
        self._probe = None
        self._gate.forget_probe()

    def resumed(self) -> None:
        """The halt ended. Its probe, if one is still in flight, is an ordinary call from now on."""
        self._probe = None

    def _trial(self, entry: Entry, now: Now) -> Mapping[str, Scalar]:
        """The values to send next. Skips names of the isolation that were dropped with their partition."""
        values = entry.fold()
        if entry.trial.isolation is None:
            suspects = self._refusals.suspects(values, now.mono)
            if not suspects or len(values) == 1:
                return values
            entry.trial.isolation = Isolation(values, refused=False, suspected=suspects)
        isolation = entry.trial.isolation
        while isolation.trial:
            tried = {name: values[name] for name in isolation.trial if name in values}
            if tried:
                return tried
            isolation.skip()
        return {}

    def _start(self, entry: Entry, properties: Mapping[str, Scalar], *, probe: bool, newest: bool, now: Now) -> Call:
        self._rate.spend()
        trial = entry.trial
        trial.calls += 1
        self._totals.calls += 1
        self._facts.tell(CallMade(len(properties), probe))
        number = next(self._numbers)
        seconds = min(self._timeout_seconds, self.deadline - now.mono)
        call = Call(number, entry.user, properties, timeout_seconds=seconds, probe=probe)
        if probe:
            self._probe = call
            self._gate.probe_started()
        flight = Flight(call, entry, now.mono, failed=trial.trouble is not None, newest=newest)
        self._failed_in_flight += flight.failed
        self._totals.retries += flight.failed
        self._newest_in_flight += flight.newest
        self._flights[number] = flight
        return call
