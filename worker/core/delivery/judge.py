"""From due entries to calls, and from replies to what becomes of their entries.

Every reply ends in one of four ways: the entry is settled, made again, searched for what was refused, or handed to the
outbox as a dead letter. What is none of these is still in flight.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from itertools import count

from worker.core.delivery.gate import Gate, HaltReason, Passage
from worker.core.delivery.isolation import Isolation
from worker.core.delivery.rate import Rate
from worker.core.delivery.refusals import Refusals
from worker.core.delivery.verdict import Verdict, in_words, judge
from worker.core.facts import Delivery, News
from worker.core.letters.letter import letter_of_entry
from worker.core.letters.outbox import Outbox
from worker.core.model import Call, Failure, Now, Reason, Reply
from worker.core.options import Options
from worker.core.totals import Totals
from worker.core.waiting.entry import Entry, Place
from worker.core.waiting.window import Window

SHORTEST_CALL_SECONDS = 0.2  # with less than this until a deadline no call is started
# An entry ends as `server_error` only if it failed this often itself, while this many calls for others succeeded.
POISON_FAILURES = 5
POISON_SUCCESSES = 10

_USER_REFUSED = "the destination refuses the user's identifier: it took none of what was tried, good values included"
_STORM = "refused for many users in a row, or for a large share of them"
_HALTS = {Verdict.UNAUTHORIZED: HaltReason.UNAUTHORIZED, Verdict.WRONG_URL: HaltReason.WRONG_URL}
_LETTERS = {Verdict.NOT_FOUND: Reason.NOT_FOUND, Verdict.UNEXPECTED: Reason.UNEXPECTED_STATUS}


@dataclass(frozen=True, slots=True)
class _Flight:
    call: Call
    entry: Entry
    names: tuple[str, ...]


class Dispatch:
    """The calls of one worker: which may go, which are under way, and what their replies mean."""

    def __init__(
        self,
        options: Options,
        *,
        window: Window,
        outbox: Outbox,
        totals: Totals,
        news: News,
        backoff: Callable[[int], float],
        now: Now,
    ) -> None:
        self._options = options
        self._window = window
        self._outbox = outbox
        self._totals = totals
        self._news = news
        self._backoff = backoff
        self._flights: dict[int, _Flight] = {}
        self._numbers = count(1)
        self._probe: Call | None = None  # that the closed gate waits for; one of an earlier halt is none any more
        self._successes = 0
        self._odd_successes: set[int] = set()
        self.gate = Gate(backoff, probe_max_seconds=options.probe_max_seconds, concurrency=options.concurrency)
        self.rate = Rate(options.requests_per_second, now.mono)
        self.deadline = math.inf  # no call outlasts this instant, in monotonic seconds
        self._refusals = Refusals()

    @property
    def in_flight(self) -> int:
        """Calls under way."""
        return len(self._flights)

    def carrying(self, entries: Iterable[Entry]) -> list[Call]:
        """The calls under way for these entries."""
        wanted = set(entries)
        return [flight.call for flight in self._flights.values() if flight.entry in wanted]

    def next_call(self, now: Now) -> float:
        """The earliest instant at which time alone allows a call, in monotonic seconds."""
        due = self._window.next_due(probing=self.gate.halt is not None)
        return max(due, self.rate.next_ready(now.mono), self.gate.next_passage())

    def calls(self, free: int, now: Now, *, hurry: bool = False) -> list[Call]:
        """The calls to be made now, at most `free` of them; with `hurry` also those whose window has not ended."""
        calls: list[Call] = []
        while len(calls) < free and self.rate.ready(now.mono) and self.deadline - now.mono > SHORTEST_CALL_SECONDS:
            passage = self.gate.passage(len(self._flights), now.mono)
            if passage is Passage.NONE:
                break
            probe = passage is Passage.PROBE
            entry = self._window.take_probe(now.mono) if probe else self._window.take(now.mono, hurry=hurry)
            if entry is None:
                break
            names = tuple(self._trial(entry, now))
            if names:
                calls.append(self._call(entry, names, probe=probe, now=now))
            else:
                self._conclude(entry, now)
        return calls

    def replied(self, call: Call, reply: Reply, now: Now) -> Verdict:
        """Takes in what came back for a call. Returns what it means."""
        flight = self._flights.pop(call.number)
        self._totals.replies[str(reply.status or reply.failure)] += 1
        self.rate.observe(reply, now.mono)
        verdict = judge(reply, ever_delivered=self._successes > 0)
        if reply.failure is Failure.TIMEOUT and call.timeout_seconds < self._options.timeout_seconds:
            verdict = Verdict.ABORTED  # a drain's deadline cut it short, and says nothing of the destination
        if reply.retry_after_seconds and verdict is not Verdict.DELIVERED:
            self.gate.pause(min(reply.retry_after_seconds, self._options.retry_after_max_seconds), now.mono)
        if verdict is Verdict.THROTTLED:
            self.rate.throttled(now.mono)
        if flight.entry.place is Place.GONE:
            # Its partitions went away: whatever came of it is the next owner's to find out.
            self._end_probe(flight, now)
            self._window.call_ended(flight.entry)
        else:
            self._act(flight, verdict, reply, now)
        return verdict

    def _act(self, flight: _Flight, verdict: Verdict, reply: Reply, now: Now) -> None:
        match verdict:
            case Verdict.DELIVERED:
                self._delivered(flight, reply, now)
            case Verdict.REFUSED:
                self._refused(flight, reply, now)
            case Verdict.RETRY:
                self._failed(flight, reply, now)
            case Verdict.THROTTLED:
                self._throttled(flight, now)
            case Verdict.UNAUTHORIZED | Verdict.WRONG_URL:
                self._halted(flight, _HALTS[verdict], reply, now)
            case Verdict.NOT_FOUND | Verdict.UNEXPECTED:
                self._end_probe(flight, now)
                self._give_up(flight, _LETTERS[verdict], f"the destination answered {reply.status}", reply, now)
            case Verdict.ABORTED:
                self._end_probe(flight, now)
                self._again(flight.entry, now.mono)

    def _trial(self, entry: Entry, now: Now) -> Iterable[str]:
        """The attributes to send next. Some that isolation has in mind may have gone with their partition."""
        if entry.isolation is None:
            suspects = self._refusals.suspects(entry.fold(), now.mono)
            if not suspects or len(entry.items) == 1:
                return entry.items
            entry.isolation = Isolation(entry.items, refused=False, suspected=suspects)
        isolation = entry.isolation
        while isolation.trial:
            names = [name for name in isolation.trial if name in entry.items]
            if names:
                return names
            isolation.skip()
        return ()

    def _call(self, entry: Entry, names: tuple[str, ...], *, probe: bool, now: Now) -> Call:
        self.rate.spend()
        entry.calls += 1
        self._totals.calls += 1
        number = next(self._numbers)
        properties = {name: entry.items[name].value for name in names}
        seconds = min(self._options.timeout_seconds, self.deadline - now.mono)
        call = Call(number, entry.user, properties, timeout_seconds=seconds, probe=probe)
        if probe:
            self._probe = call
            self.gate.probe_started()
        self._flights[number] = _Flight(call, entry, names)
        return call

    def _delivered(self, flight: _Flight, reply: Reply, now: Now) -> None:
        self._successes += 1
        if reply.status not in {None, HTTPStatus.OK, *self._odd_successes}:
            self._odd_successes.add(reply.status or 0)
            self._news.tell("unusual_success", status=reply.status)
        self._resume(now, probe=flight.call.probe)
        self._outbox.calls.earn()
        self._refusals.taken(flight.call.properties, now.mono)
        entry = flight.entry
        entry.delivered = True
        entry.answered += 1
        entry.failures = 0
        for name in flight.names:
            entry.items.pop(name, None)
        if entry.isolation is not None:
            entry.isolation.accepted()
        self._conclude(entry, now)

    def _refused(self, flight: _Flight, reply: Reply, now: Now) -> None:
        """A 400 refuses the whole call: good attributes must not go with the bad one."""
        self._end_probe(flight, now)
        entry, names = flight.entry, flight.names
        entry.answered += 1
        entry.failures = 0
        alone: str | None = None
        if entry.isolation is not None:
            alone = entry.isolation.refused()
        elif len(names) == 1:
            alone = names[0]
        else:
            entry.isolation = self._refusals.search(flight.call.properties, reply.message, now.mono)
        if alone is not None:
            self._refusals.refused(alone, flight.call.properties[alone], now.mono)
        if entry.isolation is not None and entry.isolation.blames_user:
            self._give_up(flight, Reason.REJECTED, _USER_REFUSED, reply, now)
            return
        if alone is not None and alone in entry.items:
            if self._withheld(flight, now):
                return
            self._reject(flight, alone, reply, now)
        if entry.items and entry.answered >= self._options.calls_per_entry_max:
            detail = f"not delivered within {entry.answered} calls, of which the destination refused some"
            self._give_up(flight, Reason.REJECTED, detail, reply, now)
            return
        self._conclude(entry, now)

    def _reject(self, flight: _Flight, name: str, reply: Reply, now: Now) -> None:
        """The attribute was refused alone: a dead letter, and the value before it is tried."""
        entry = flight.entry
        item = entry.items[name]
        # Else the refused value went with its partition meanwhile, and the one that stands now was never sent.
        if item.has(flight.call.properties[name]):
            detail = f"the destination answered {reply.status} to this attribute alone"
            self._post(entry, Reason.REJECTED, detail, [name], reply, now)
            if not item.step_back():
                del entry.items[name]
                return
        if entry.isolation is not None:
            entry.isolation.again(name)

    def _give_up(self, flight: _Flight, reason: Reason, detail: str, reply: Reply, now: Now) -> None:
        """All that is left of the entry is one dead letter."""
        if self._withheld(flight, now):
            return
        entry = flight.entry
        self._post(entry, reason, detail, list(entry.items), reply, now)
        entry.items.clear()
        entry.isolation = None
        self._conclude(entry, now)

    def _withheld(self, flight: _Flight, now: Now) -> bool:
        """Without credit for a dead letter the entry waits whole: it can probe, and be taken once all is well again."""
        if exhausted := self._outbox.calls.exhausted:
            self._close(flight, HaltReason.REJECTION_STORM, _STORM, now)
            flight.entry.isolation, flight.entry.answered = None, 0
            self._window.retry(flight.entry, now.mono)
        return exhausted

    def _failed(self, flight: _Flight, reply: Reply, now: Now) -> None:
        entry = flight.entry
        self._totals.retries += 1
        entry.failures += 1
        if entry.failures == 1:
            entry.failing_since = now.mono
            entry.successes_when_failing = self._successes
        detail = in_words(reply)
        if self.gate.failed(entry.key, detail, probe=self._is_probe(flight), now=now.mono, wall_ms=now.wall_ms):
            self._news.tell("halted", reason=HaltReason.UNAVAILABLE, detail=detail)
        if self._is_poison(entry, reply, now):
            seconds = now.mono - entry.failing_since
            detail = f"failed {entry.failures} times in {seconds:.0f} s while other calls succeeded; latest: {detail}"
            if self.gate.halt is not None:  # this user alone had closed the gate
                self._resume(now, probe=True)
            self._give_up(flight, Reason.SERVER_ERROR, detail, reply, now)
        else:
            self._again(entry, now.mono + self._backoff(entry.failures))

    def _is_poison(self, entry: Entry, reply: Reply, now: Now) -> bool:
        """Whether it is this entry that fails, not the destination. An outage does not count against it."""
        # Successes of others tell the two apart. They may lie back: a topic that went silent has no new ones.
        if reply.failure is Failure.CONNECT or not self.gate.blames(entry.key):
            return False
        if self.gate.opened_at > entry.failing_since:
            entry.failing_since = self.gate.opened_at
            entry.failures = 1
            entry.successes_when_failing = self._successes
        return (
            now.mono - entry.failing_since >= self._options.server_error_seconds
            and entry.failures >= POISON_FAILURES
            and self._successes - entry.successes_when_failing >= POISON_SUCCESSES
        )

    def _resume(self, now: Now, *, probe: bool) -> None:
        """The destination is well: what closed the gate is over."""
        ended = self.gate.succeeded(now.mono, probe=probe)
        if ended is not None:
            self._probe = None
            self._news.tell("resumed", reason=ended.reason, halted_seconds=(now.wall_ms - ended.since_ms) / 1000)

    def _throttled(self, flight: _Flight, now: Now) -> None:
        """A 429 is about the rate, not about this entry and not about the destination's health."""
        self._totals.retries += 1
        if self._is_probe(flight) and (halt := self.gate.halt) is not None:
            self._close(flight, halt.reason, halt.detail, now)
        self._again(flight.entry, now.mono + self._backoff(1))

    def _halted(self, flight: _Flight, reason: HaltReason, reply: Reply, now: Now) -> None:
        self._close(flight, reason, in_words(reply), now)
        self._again(flight.entry, now.mono)

    def _close(self, flight: _Flight, reason: HaltReason, detail: str, now: Now) -> None:
        """The gate closes, or stays closed after a failed probe."""
        if self.gate.close(reason, detail, probe=self._is_probe(flight), now=now.mono, wall_ms=now.wall_ms):
            self._news.tell("halted", reason=reason, detail=detail)

    def _again(self, entry: Entry, not_before: float) -> None:
        """The call is made again. A search that has learned nothing yet is dropped: so newer changes can join."""
        if entry.isolation is not None and not entry.isolation.begun:
            entry.isolation = None
        self._window.retry(entry, not_before)

    def _end_probe(self, flight: _Flight, now: Now) -> None:
        if self._is_probe(flight):
            self.gate.probe_ended(now.mono)

    def _is_probe(self, flight: _Flight) -> bool:
        return flight.call is self._probe

    def _conclude(self, entry: Entry, now: Now) -> None:
        """Nothing of the entry is in flight: what is left of it is sent, else it is settled."""
        if entry.isolation is not None and not entry.isolation.names:
            entry.isolation = None
        if entry.items:
            self._window.retry(entry, now.mono)
        else:
            entry.place = Place.POSTED
            self.settle_if_done(entry, now)

    def settle_if_done(self, entry: Entry, now: Now) -> None:
        """Settles the entry once all of it is delivered, superseded or a written dead letter."""
        if entry.place is not Place.POSTED or entry.letters:
            return
        if entry.delivered:
            self._totals.delivered_entries += 1
            self._news.deliveries.append(Delivery(entry.changes, max(0.0, (now.wall_ms - entry.oldest_ms) / 1000)))
        self._totals.calls_saved += max(0, entry.changes - entry.calls)
        self._window.settle(entry)

    def _post(self, entry: Entry, reason: Reason, detail: str, names: Sequence[str], reply: Reply, now: Now) -> None:
        if not names:
            return  # all of it went with its partition while the call was under way
        entry.letters += 1
        self._outbox.add(letter_of_entry(entry, reason, detail, names, reply, now), entry, now.wall_ms)
