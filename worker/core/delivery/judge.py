"""What a reply means for its entry: settle, retry, isolate what was refused, dead-letter the rest, or halt."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from http import HTTPStatus

from worker.core.delivery.attribution import Blame
from worker.core.delivery.destination import Destination
from worker.core.delivery.gate import HaltReason
from worker.core.delivery.schedule import Flight, Schedule
from worker.core.delivery.settlement import EntryOwner, Settlement
from worker.core.delivery.shares import Slowing
from worker.core.delivery.verdict import LatestError, Verdict, in_words, verdict_on
from worker.core.facts import CallEnded, Facts, Halted, Refused, Resumed, UnusualSuccess
from worker.core.letters.letter import letter_of_entry
from worker.core.letters.outbox import Outbox
from worker.core.model import Call, Failure, Now, Reason, Reply
from worker.core.options import Options
from worker.core.receipts.receipt import Receipt, request_id_of
from worker.core.totals import Totals
from worker.core.trace import CallTrace
from worker.core.waiting.entry import Entry, Place
from worker.core.waiting.trouble import Trouble

DRAIN_BACKOFF_SECONDS = 1.0  # the longest pause before an entry is tried again during a drain

_OK = int(HTTPStatus.OK)  # asked for by its name, it would cost a function's call for every reply
_USER_REFUSED = "the destination refuses the user's identifier: it took none of what was tried, good values included"
_STORM = "refused for many users in a row, or for a large share of them"
_HALTS = {
    Verdict.UNAUTHORIZED: HaltReason.UNAUTHORIZED,
    Verdict.WRONG_URL: HaltReason.WRONG_URL,
    Verdict.RETRY: HaltReason.UNAVAILABLE,
}
_ONE_USERS = frozenset({HaltReason.UNAUTHORIZED, HaltReason.WRONG_URL})  # one user alone may meet these
_LETTERS = {Verdict.NOT_FOUND: Reason.NOT_FOUND, Verdict.UNEXPECTED: Reason.UNEXPECTED_STATUS}


class Judge:
    """Acts on every reply: on its entry, and on the gate, the rate and the refusals of the destination.

    Attributes:
        latest_error: the latest call that did not deliver; None before the first.
    """

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
        self._attribution = destination.attribution
        self._odd_successes: set[int] = set()
        self.latest_error: LatestError | None = None

    def replied(self, call: Call, reply: Reply, now: Now) -> None:
        """Judges a call's reply and acts on the verdict."""
        flight = self._schedule.ended(call)
        self._totals.replies[str(reply.status or reply.failure)] += 1
        self._rate.observe(reply, now.mono, self._schedule.in_flight)
        verdict = verdict_on(reply, ever_delivered=self._attribution.successes > 0)
        if reply.failure is Failure.TIMEOUT and call.timeout_seconds < self._options.timeout_seconds:
            verdict = Verdict.ABORTED  # the drain deadline cut the call short, so the destination is not to blame
        if verdict is not Verdict.DELIVERED and verdict is not Verdict.ABORTED:
            self.latest_error = LatestError(now.wall_ms, in_words(reply))
        trace = self._trace(flight, now) if self._options.trace_links_max else None
        receipt = _receipt(flight, reply, now) if self._options.receipts else None
        self._facts.tell(CallEnded(verdict, reply.status, reply.failure, reply.seconds, trace, receipt))
        if flight.entry.place is Place.GONE:
            # Its partitions went away while the call was in flight: the next owner sends the same again.
            self._heed(flight.entry, verdict, reply, now)
            self._schedule.probe_unanswered(flight, now)
            self._settlement.orphan_call_ended(flight.entry)
        else:
            self._act(flight, verdict, reply, now)

    def _trace(self, flight: Flight, now: Now) -> CallTrace:
        entry, names = flight.entry, flight.call.properties
        links = entry.trace_links(names, self._options.trace_links_max)
        return CallTrace(now.wall_ms, len(names), entry.count, entry.trial.calls, links)

    def _act(self, flight: Flight, verdict: Verdict, reply: Reply, now: Now) -> None:
        match verdict:
            case Verdict.DELIVERED:
                self._delivered(flight, reply, now)
            case Verdict.REFUSED:
                self._refused(flight, reply, now)
            case Verdict.ABORTED:
                self._schedule.probe_unanswered(flight, now)
                self._settlement.retry(flight.entry, now.mono)
            case _:
                self._failed(flight, verdict, reply, now)

    def _delivered(self, flight: Flight, reply: Reply, now: Now) -> None:
        if reply.status != _OK and reply.status is not None and reply.status not in self._odd_successes:
            self._odd_successes.add(reply.status or 0)
            self._facts.tell(UnusualSuccess(reply.status or 0))
        self._resume(now, probe=flight.call.probe)
        self._outbox.call_credit.earn()
        self._refusals.accepted(flight.call.properties, now.mono)
        entry, trial = flight.entry, flight.entry.trial
        trial.delivered = True
        trial.answered += 1
        self._attribution.succeeded(entry, flight.started_at, now.mono)
        self._settlement.delivered(entry, flight.call, flight.started_at)
        if trial.isolation is not None:
            trial.isolation.accepted()
        self._settlement.conclude(entry, now)

    def _refused(self, flight: Flight, reply: Reply, now: Now) -> None:
        """The destination works, and refuses the call's values or its user."""
        self._heed(flight.entry, Verdict.REFUSED, reply, now)
        self._schedule.probe_unanswered(flight, now)
        self._attribution.answered(flight.entry)
        self._search(flight, reply, now)

    def _search(self, flight: Flight, reply: Reply, now: Now) -> None:
        """The whole call is refused: good attributes must not go with the bad one."""
        entry, trial, sent = flight.entry, flight.entry.trial, flight.call.properties
        trial.answered += 1
        alone: str | None = None
        if trial.isolation is not None:
            alone = trial.isolation.refused()
        elif len(sent) == 1:
            [alone] = sent
        else:
            trial.isolation = self._refusals.search(sent, reply.message, now.mono)
        if alone is not None:
            self._refusals.refused(alone, sent[alone], now.mono)
        if trial.isolation is not None and trial.isolation.blames_user:
            self._dead_letter_rest(flight, Reason.REJECTED, _USER_REFUSED, reply, now)
            return
        if alone is not None and alone in entry.fold():
            if self._lacks_credit(flight, now):
                return
            self._dead_letter_attribute(flight, alone, reply, now)
        if trial.answered >= self._options.calls_per_entry_max and not entry.is_empty:
            detail = f"not delivered after {trial.answered} calls, some of which the destination refused"
            self._dead_letter_rest(flight, Reason.REJECTED, detail, reply, now)
            return
        self._settlement.conclude(entry, now)

    def _dead_letter_attribute(self, flight: Flight, name: str, reply: Reply, now: Now) -> None:
        """The attribute was refused alone: dead-letters its value, and tries the value before it."""
        entry = flight.entry
        # If not: the refused value went with its partition meanwhile, and the one that stands now was never sent.
        if entry.has(name, flight.call.properties[name]):
            detail = f"the destination answered {in_words(reply)} to this attribute alone"
            self._add_letter(entry, Reason.REJECTED, detail, [name], reply, now)
            stepped_back = entry.step_back(name)
            self._facts.tell(Refused(stepped_back))
            if not stepped_back:
                return
        if entry.trial.isolation is not None:
            entry.trial.isolation.again(name)

    def _dead_letter_rest(self, flight: Flight, reason: Reason, detail: str, reply: Reply, now: Now) -> None:
        """Turns all that is left of the entry into one dead letter."""
        if self._lacks_credit(flight, now):
            return
        entry = flight.entry
        self._add_letter(entry, reason, detail, list(entry.fold()), reply, now)
        entry.finish()
        entry.trial.isolation = None
        self._settlement.conclude(entry, now)

    def _lacks_credit(self, flight: Flight, now: Now) -> bool:
        """Whether there is no credit for a dead letter. If so, closes the gate and retries the entry as a whole.

        The entry may become a probe. It is delivered once the storm is over.
        """
        if exhausted := self._options.storms and self._outbox.call_credit.exhausted:
            self._close(flight, HaltReason.REJECTION_STORM, _STORM, now)
            flight.entry.trial.isolation, flight.entry.trial.answered = None, 0
            self._settlement.retry(flight.entry, now.mono)
        return exhausted

    def _failed(self, flight: Flight, verdict: Verdict, reply: Reply, now: Now) -> None:
        """Neither delivered nor refused for its values: whose trouble is that?"""
        entry = flight.entry
        blame, trouble = self._attribution.blame(
            entry, verdict, reply, now.mono, alone=len(flight.call.properties) == 1
        )
        if blame is Blame.USER:
            self._schedule.probe_unanswered(flight, now)
            self._give_up_on_user(flight, trouble, verdict, reply, now)
            return
        # A 429 that is everybody's says how fast, not when: the rate sees to that. A search goes on at its own pace.
        failures = 1 if (verdict is Verdict.THROTTLED and not trouble.known) or trouble.blamed else trouble.failures
        pause = max(self._backoff_seconds(failures), self._heed(entry, verdict, reply, now))
        if blame is Blame.DESTINATION:
            self._close(flight, _HALTS.get(verdict, HaltReason.WRONG_URL), in_words(reply), now)
        elif (halt := self._gate.closed) is not None and self._schedule.is_probe(flight):
            reason = HaltReason.UNAVAILABLE if verdict is Verdict.RETRY and not trouble.known else halt.reason
            self._close(flight, reason, in_words(reply), now)
        self._settlement.retry(entry, now.mono + pause)

    def _heed(self, entry: Entry, verdict: Verdict, reply: Reply, now: Now) -> float:
        """Obeys a 429 and a Retry-After. Returns for how many seconds this entry alone has to wait.

        They hold for everybody, unless others succeed while this entry's user gets them.
        """
        pause = min(reply.retry_after_seconds or 0.0, self._options.retry_after_max_seconds)
        if verdict is not Verdict.THROTTLED and not pause:
            return 0.0
        heed = self._attribution.heed(entry, verdict, now.mono, pause=pause > 0.0)
        if verdict is Verdict.THROTTLED and heed.slowing is Slowing.LOWER:
            self._rate.throttled(now.mono)
        elif verdict is Verdict.THROTTLED and heed.slowing is Slowing.SECOND:
            self._rate.wait_for_next_second(now.mono)
        if not heed.everybody_pauses:
            return pause
        self._gate.retry_after(pause, now.mono)
        self._schedule.fresh_first()  # else whoever asked is the first one to be asked again
        return 0.0

    def _give_up_on_user(self, flight: Flight, trouble: Trouble, verdict: Verdict, reply: Reply, now: Now) -> None:
        """The others are well. What would halt or slow everybody is searched, or ends in a letter, here alone."""
        if verdict in {Verdict.UNAUTHORIZED, Verdict.WRONG_URL}:
            self._search(flight, reply, now)
        elif verdict in _LETTERS:
            self._dead_letter_rest(flight, _LETTERS[verdict], f"the destination answered {in_words(reply)}", reply, now)
        else:
            seconds = now.mono - trouble.since
            detail = f"failed {trouble.failures} times in {seconds:.0f} s while other calls succeeded"
            self._dead_letter_rest(flight, Reason.SERVER_ERROR, f"{detail}; latest: {in_words(reply)}", reply, now)

    def _backoff_seconds(self, failures: int) -> float:
        """The pause before the next try. Short during a drain: a long one would end after the deadline."""
        return min(self._backoff(failures), DRAIN_BACKOFF_SECONDS if self._schedule.draining else math.inf)

    def _resume(self, now: Now, *, probe: bool) -> None:
        """A call succeeded: a halt that it may end is over."""
        told = self._gate.halt is not None
        ended = self._gate.succeeded(probe=probe)
        if ended is not None:
            self._schedule.resumed()
        if ended is not None and told:
            self._facts.tell(Resumed(ended.reason, (now.wall_ms - ended.since_ms) / 1000))

    def _close(self, flight: Flight, reason: HaltReason, detail: str, now: Now) -> None:
        """Closes the gate, or keeps it closed after a failed probe."""
        probe = self._schedule.is_probe(flight)
        # Others succeeded just now, so it may be this user's alone: the next one to be asked can tell.
        at_once = reason in _ONE_USERS and self._attribution.well_lately(now.mono)
        was_open = self._gate.closed is None
        if self._gate.close(reason, detail, probe=probe, now=now.mono, wall_ms=now.wall_ms, at_once=at_once):
            self._facts.tell(Halted(reason, detail))
        if was_open:
            self._attribution.forget_window()

    def _add_letter(
        self, entry: Entry, reason: Reason, detail: str, names: Sequence[str], reply: Reply, now: Now
    ) -> None:
        if not names:
            return  # its partition was dropped while the call was in flight, and all its attributes with it
        entry.trial.pending_letters += 1
        letter = letter_of_entry(entry, reason, detail, names, reply, now)
        self._outbox.add_of_call(letter, EntryOwner(entry, self._settlement))


def _receipt(flight: Flight, reply: Reply, now: Now) -> Receipt:
    entry = flight.entry
    request_id = request_id_of(reply.request_id, flight.call.user)
    return Receipt(now.wall_ms, entry.trial.calls, request_id, entry.positions(flight.call.properties))
