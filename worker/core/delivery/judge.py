"""What a reply means for its entry: settle, retry, isolate what was refused, dead-letter the rest, or halt."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from http import HTTPStatus

from worker.core.delivery.destination import Destination
from worker.core.delivery.gate import HaltReason
from worker.core.delivery.schedule import Flight, Schedule
from worker.core.delivery.settlement import EntryOwner, Settlement
from worker.core.delivery.verdict import Verdict, in_words, verdict_on
from worker.core.facts import CallEnded, Facts, Halted, Refused, Resumed, UnusualSuccess
from worker.core.letters.letter import letter_of_entry
from worker.core.letters.outbox import Outbox
from worker.core.model import Call, Failure, Now, Reason, Reply
from worker.core.options import Options
from worker.core.totals import Totals
from worker.core.waiting.entry import Entry, Place

DRAIN_BACKOFF_SECONDS = 1.0  # the longest pause before an entry is tried again during a drain
# An entry becomes a `server_error` dead letter only after this many failures of its own and successes of others.
POISON_FAILURES = 5
POISON_SUCCESSES = 10

_USER_REFUSED = "the destination refuses the user's identifier: it refused every attribute tried, each sent alone"
_STORM = "the destination refused many users' calls in a row, or a large share of all calls"
_HALTS = {Verdict.UNAUTHORIZED: HaltReason.UNAUTHORIZED, Verdict.WRONG_URL: HaltReason.WRONG_URL}
_LETTERS = {Verdict.NOT_FOUND: Reason.NOT_FOUND, Verdict.UNEXPECTED: Reason.UNEXPECTED_STATUS}


class Judge:
    """Acts on every reply: on its entry, and on the gate, the rate and the refusals of the destination."""

    def __init__(
        self,
        options: Options,
        *,
        schedule: Schedule,
        destination: Destination,
        settlement: Settlement,
        outbox: Outbox,
        totals: Totals,
        facts: Facts,
        backoff: Callable[[int], float],
    ) -> None:
        self._options = options
        self._schedule = schedule
        self._gate = destination.gate
        self._rate = destination.rate
        self._refusals = destination.refusals
        self._settlement = settlement
        self._outbox = outbox
        self._totals = totals
        self._facts = facts
        self._backoff = backoff
        self._successes = 0
        self._odd_successes: set[int] = set()

    def replied(self, call: Call, reply: Reply, now: Now) -> None:
        """Judges a call's reply and acts on the verdict."""
        flight = self._schedule.ended(call)
        self._totals.replies[str(reply.status or reply.failure)] += 1
        self._rate.observe(reply, now.mono)
        verdict = verdict_on(reply, ever_delivered=self._successes > 0)
        if reply.failure is Failure.TIMEOUT and call.timeout_seconds < self._options.timeout_seconds:
            verdict = Verdict.ABORTED  # the drain deadline cut the call short, so the destination is not to blame
        self._facts.tell(CallEnded(verdict, reply.status, reply.failure, reply.seconds))
        if reply.retry_after_seconds and verdict is not Verdict.DELIVERED:
            self._gate.retry_after(min(reply.retry_after_seconds, self._options.retry_after_max_seconds), now.mono)
        if verdict is Verdict.THROTTLED:
            self._rate.throttled(now.mono)
        if flight.entry.place is Place.GONE:
            # Its partitions were dropped while the call was in flight. The next owner sends the same changes again.
            self._schedule.probe_unanswered(flight, now)
            self._settlement.orphan_call_ended(flight.entry)
        else:
            self._act(flight, verdict, reply, now)

    def _act(self, flight: Flight, verdict: Verdict, reply: Reply, now: Now) -> None:
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
                self._schedule.probe_unanswered(flight, now)
                self._dead_letter_rest(
                    flight, _LETTERS[verdict], f"the destination answered {reply.status}", reply, now
                )
            case Verdict.ABORTED:
                self._schedule.probe_unanswered(flight, now)
                self._settlement.retry(flight.entry, now.mono)

    def _delivered(self, flight: Flight, reply: Reply, now: Now) -> None:
        self._successes += 1
        if reply.status not in {None, HTTPStatus.OK, *self._odd_successes}:
            self._odd_successes.add(reply.status or 0)
            self._facts.tell(UnusualSuccess(reply.status or 0))
        self._resume(now, probe=flight.call.probe)
        self._outbox.call_credit.earn()
        self._refusals.accepted(flight.call.properties, now.mono)
        entry = flight.entry
        entry.delivered = True
        entry.answered += 1
        entry.failures = 0
        for name in flight.names:
            entry.attributes.pop(name, None)
        if entry.isolation is not None:
            entry.isolation.accepted()
        self._settlement.conclude(entry, now)

    def _refused(self, flight: Flight, reply: Reply, now: Now) -> None:
        """A 400 refuses the whole call. Isolate the bad attribute: the good ones must not be lost with it."""
        self._schedule.probe_unanswered(flight, now)
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
            self._dead_letter_rest(flight, Reason.REJECTED, _USER_REFUSED, reply, now)
            return
        if alone is not None and alone in entry.attributes:
            if self._lacks_credit(flight, now):
                return
            self._dead_letter_attribute(flight, alone, reply, now)
        if entry.attributes and entry.answered >= self._options.calls_per_entry_max:
            detail = f"not delivered after {entry.answered} calls, some of which the destination refused"
            self._dead_letter_rest(flight, Reason.REJECTED, detail, reply, now)
            return
        self._settlement.conclude(entry, now)

    def _dead_letter_attribute(self, flight: Flight, name: str, reply: Reply, now: Now) -> None:
        """The attribute was refused alone: dead-letters its value, and tries the value before it."""
        entry = flight.entry
        attribute = entry.attributes[name]
        # False in this race: the call carries the value, its partition is revoked and the value dropped, then the 400
        # comes. The value that stands now, from another partition, was never sent: only try it.
        if attribute.has(flight.call.properties[name]):
            detail = f"the destination answered {reply.status} to this attribute alone"
            self._add_letter(entry, Reason.REJECTED, detail, [name], reply, now)
            stepped_back = attribute.step_back()
            self._facts.tell(Refused(stepped_back))
            if not stepped_back:
                del entry.attributes[name]
                return
        if entry.isolation is not None:
            entry.isolation.again(name)

    def _dead_letter_rest(self, flight: Flight, reason: Reason, detail: str, reply: Reply, now: Now) -> None:
        """Turns all that is left of the entry into one dead letter."""
        if self._lacks_credit(flight, now):
            return
        entry = flight.entry
        self._add_letter(entry, reason, detail, list(entry.attributes), reply, now)
        entry.attributes.clear()
        entry.isolation = None
        self._settlement.conclude(entry, now)

    def _lacks_credit(self, flight: Flight, now: Now) -> bool:
        """Whether there is no credit for a dead letter. If so, closes the gate and retries the entry as a whole.

        The entry may become a probe. It is delivered once the storm is over.
        """
        if exhausted := self._outbox.call_credit.exhausted:
            self._close(flight, HaltReason.REJECTION_STORM, _STORM, now)
            flight.entry.isolation, flight.entry.answered = None, 0
            self._settlement.retry(flight.entry, now.mono)
        return exhausted

    def _failed(self, flight: Flight, reply: Reply, now: Now) -> None:
        entry = flight.entry
        self._totals.retries += 1
        entry.failures += 1
        if entry.failures == 1:
            entry.failing_since = now.mono
            entry.successes_when_failing = self._successes
        detail, probe = in_words(reply), self._schedule.is_probe(flight)
        if self._gate.failed(entry.key, detail, probe=probe, now=now.mono, wall_ms=now.wall_ms):
            self._facts.tell(Halted(HaltReason.UNAVAILABLE, detail))
        if self._is_poison(entry, reply, now):
            seconds = now.mono - entry.failing_since
            detail = f"failed {entry.failures} times in {seconds:.0f} s while other calls succeeded; latest: {detail}"
            if self._gate.halt is not None:  # only this user's failures closed the gate (see _is_poison), so open it
                self._resume(now, probe=True)
            self._dead_letter_rest(flight, Reason.SERVER_ERROR, detail, reply, now)
        else:
            self._settlement.retry(entry, now.mono + self._backoff_seconds(entry.failures))

    def _backoff_seconds(self, failures: int) -> float:
        """The pause before the next try. Short during a drain: a long one would end after the deadline."""
        return min(self._backoff(failures), DRAIN_BACKOFF_SECONDS if self._schedule.draining else math.inf)

    def _is_poison(self, entry: Entry, reply: Reply, now: Now) -> bool:
        """Whether this entry is at fault, not the destination. Failures during an outage do not count."""
        # Successes of other users since its first failure show that the destination works. They need not be recent: a
        # silent topic brings no new ones.
        if reply.failure is Failure.CONNECT or not self._gate.only_failing(entry.key):
            return False
        if self._gate.outage_ended_at > entry.failing_since:
            entry.failing_since = self._gate.outage_ended_at
            entry.failures = 1
            entry.successes_when_failing = self._successes
        return (
            now.mono - entry.failing_since >= self._options.server_error_seconds
            and entry.failures >= POISON_FAILURES
            and self._successes - entry.successes_when_failing >= POISON_SUCCESSES
        )

    def _resume(self, now: Now, *, probe: bool) -> None:
        """A call succeeded: tells the gate, and reports the halt that this ended, if any."""
        ended = self._gate.succeeded(now.mono, probe=probe)
        if ended is not None:
            self._schedule.resumed()
            self._facts.tell(Resumed(ended.reason, (now.wall_ms - ended.since_ms) / 1000))

    def _throttled(self, flight: Flight, now: Now) -> None:
        """A 429 is about the rate. The entry is good, and the destination works."""
        self._totals.retries += 1
        if self._schedule.is_probe(flight) and (halt := self._gate.halt) is not None:
            self._close(flight, halt.reason, halt.detail, now)
        self._settlement.retry(flight.entry, now.mono + self._backoff_seconds(1))

    def _halted(self, flight: Flight, reason: HaltReason, reply: Reply, now: Now) -> None:
        self._close(flight, reason, in_words(reply), now)
        self._settlement.retry(flight.entry, now.mono)

    def _close(self, flight: Flight, reason: HaltReason, detail: str, now: Now) -> None:
        """Closes the gate, or keeps it closed after a failed probe."""
        probe = self._schedule.is_probe(flight)
        if self._gate.close(reason, detail, probe=probe, now=now.mono, wall_ms=now.wall_ms):
            self._facts.tell(Halted(reason, detail))

    def _add_letter(
        self, entry: Entry, reason: Reason, detail: str, names: Sequence[str], reply: Reply, now: Now
    ) -> None:
        if not names:
            return  # its partition was dropped while the call was in flight, and all its attributes with it
        entry.pending_letters += 1
        letter = letter_of_entry(entry, reason, detail, names, reply, now)
        self._outbox.add_of_call(letter, EntryOwner(entry, self._settlement))
