"""Deliberate faults: each mutation breaks the worker in one place, so that it breaks one promise."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace

import pytest

from tests.simulation import sparing_mutations
from tests.simulation.sparing_mutations import Mutation
from worker.core.delivery import attribution, verdict
from worker.core.delivery.attribution import Attribution, Blame
from worker.core.delivery.gate import Gate, Passage
from worker.core.delivery.rate import Rate
from worker.core.delivery.schedule import Schedule
from worker.core.delivery.shares import Heed, Share, Slowing
from worker.core.delivery.verdict import Verdict
from worker.core.engine import Engine
from worker.core.intake import Intake
from worker.core.letters.outbox import Outbox
from worker.core.model import Call, Letter, Now, Partition, Record, Reply, Scalar
from worker.core.waiting import trouble
from worker.core.waiting.change import Change
from worker.core.waiting.changes import Changes
from worker.core.waiting.entry import Entry
from worker.core.waiting.ledger import Ledger
from worker.core.waiting.memory import Memory
from worker.core.waiting.trouble import Evidence, Trouble
from worker.core.waiting.window import Window
from worker.live.agreement import Agreement
from worker.live.drain import Drain
from worker.live.lease import Lease
from worker.live.offsets import Offsets


def commits_past_an_open_entry(patch: pytest.MonkeyPatch) -> None:
    """It commits its position, although older entries are open."""
    patch.setattr(Ledger, "committable", property(lambda ledger: ledger.position))


def folds_in_reverse(patch: pytest.MonkeyPatch) -> None:
    """The first value of an attribute wins, not the last."""
    original = Changes.newest

    def newest(self: Changes) -> dict[str, tuple[Scalar, Change]]:
        return original(Changes(self[::-1]))

    patch.setattr(Changes, "newest", newest)


def settles_on_send(patch: pytest.MonkeyPatch) -> None:
    """A call settles its offsets when it is sent, not when it succeeds."""
    original = Schedule._start

    def call(
        self: Schedule, entry: Entry, properties: Mapping[str, Scalar], *, probe: bool, newest: bool, now: Now
    ) -> Call:
        made = original(self, entry, properties, probe=probe, newest=newest, now=now)
        for ledger, offset in entry.holds.items():
            ledger.settle(offset)
        return made

    def settle_once(self: Ledger, offset: int) -> None:
        with suppress(KeyError):
            settle(self, offset)

    settle = Ledger.settle
    patch.setattr(Ledger, "settle", settle_once)

    patch.setattr(Schedule, "_start", call)


def settles_before_the_letter_is_acknowledged(patch: pytest.MonkeyPatch) -> None:
    """A letter counts as written when the producer gets it, not when the topic has it."""
    letters, written = Engine.letters, Engine.letter_written

    def hand_out(self: Engine, now: Now) -> list[Letter]:
        out = letters(self, now)
        for letter in out:
            written(self, letter, now)
        return out

    patch.setattr(Engine, "letters", hand_out)
    patch.setattr(Engine, "letter_written", lambda *_: None)
    patch.setattr(Engine, "letter_failed", lambda *_: None)


def writes_letters_of_a_lost_partition(patch: pytest.MonkeyPatch) -> None:
    """A waiting letter is written after its partition went to another member."""
    patch.setattr(Outbox, "_is_wanted", lambda *_: True)


def keeps_entries_of_a_lost_partition(patch: pytest.MonkeyPatch) -> None:
    """An entry is sent after its partition went to another member."""
    patch.setattr(Entry, "forget", lambda *_: None)


def retries_over_newer_changes(patch: pytest.MonkeyPatch) -> None:
    """A retry sends its old values, not those that came meanwhile."""
    original = Entry.merge

    def merge(self: Entry, newer: Entry) -> None:
        mine = list(self.changes)
        original(self, newer)
        assert isinstance(self._changes, Changes)
        held = [change.emptied() for change in mine]
        self._changes[:] = [*held, *self._changes[len(mine) :], *mine]

    patch.setattr(Entry, "merge", merge)


class _NeverBusy(dict[object, Entry]):
    def __contains__(self, _: object) -> bool:
        return False


def sends_two_calls_for_a_user(patch: pytest.MonkeyPatch) -> None:
    """A user's next entry does not wait for the call in flight."""
    original = Window.__init__

    def init(self: Window, seconds: float, memory: Memory, *, search_yields: bool) -> None:
        original(self, seconds, memory, search_yields=search_yields)
        patch.setattr(self, "_busy", _NeverBusy())

    patch.setattr(Window, "__init__", init)


def takes_a_failure_for_a_success(patch: pytest.MonkeyPatch) -> None:
    """5xx, time-outs and broken connections count as delivered."""
    _rejudge(patch, Verdict.RETRY, Verdict.DELIVERED)


def dead_letters_an_outage(patch: pytest.MonkeyPatch) -> None:
    """5xx, time-outs and broken connections make dead letters."""
    _rejudge(patch, Verdict.RETRY, Verdict.UNEXPECTED)


def dead_letters_when_unauthorized(patch: pytest.MonkeyPatch) -> None:
    """401 and 403 make dead letters."""
    _rejudge(patch, Verdict.UNAUTHORIZED, Verdict.UNEXPECTED)


def _rejudge(patch: pytest.MonkeyPatch, meant: Verdict, instead: Verdict) -> None:

    def verdict_on(reply: Reply, *, ever_delivered: bool) -> Verdict:
        judged = verdict.verdict_on(reply, ever_delivered=ever_delivered)
        return instead if judged is meant else judged

    patch.setattr("worker.core.delivery.judge.verdict_on", verdict_on)


def ignores_retry_after(patch: pytest.MonkeyPatch) -> None:
    """Retry-After is ignored."""
    patch.setattr(Gate, "retry_after", lambda *_: None)


def retries_an_outage_with_every_sender(patch: pytest.MonkeyPatch) -> None:
    """A closed gate lets all calls through."""
    patch.setattr(Gate, "passage", lambda *_: Passage.FREE)


def takes_the_whole_rate(patch: pytest.MonkeyPatch) -> None:
    """Each replica sends as if it were the only one."""
    original = Rate.share
    patch.setattr(Rate, "share", lambda self, fraction, now: original(self, float(fraction > 0), now))


def forgets_the_value_before_a_refused_one(patch: pytest.MonkeyPatch) -> None:
    """When a value is refused, the older values are dropped with it."""
    patch.setattr(Entry, "step_back", lambda self, name: self.done([name]))


def takes_true_for_one(patch: pytest.MonkeyPatch) -> None:
    """True, 1 and 1.0 count as the same value."""

    def absorb(self: Entry, change: Change, *, plentiful: bool = False) -> int:
        newest = self.newest()
        same = {name for name, value in change.fold().items() if name in newest and newest[name][0] == value}
        return original(self, change.without(same), plentiful=plentiful)

    original = Entry.absorb
    patch.setattr(Entry, "absorb", absorb)


def dead_letters_the_whole_call(patch: pytest.MonkeyPatch) -> None:
    """A 400 dead-letters the good attributes with the bad one."""
    _rejudge(patch, Verdict.REFUSED, Verdict.UNEXPECTED)


def lets_records_pass_one_that_waits_for_its_schema(patch: pytest.MonkeyPatch) -> None:
    """Only the record itself waits; later records of its partition overtake it."""
    original = Intake.receive

    def receive(self: Intake, ledgers: Mapping[Partition, Ledger], records: Sequence[Record], now: Now) -> None:
        for record in records:
            ledger = ledgers.get(record.partition)
            waiting = None if ledger is None else self._stalled.pop(ledger, None)
            original(self, ledgers, [record], now)
            if ledger is not None and waiting is not None:
                waiting.extend(self._stalled.get(ledger, ()))
                self._stalled[ledger] = waiting

    patch.setattr(Intake, "receive", receive)


def forgets_the_lease(patch: pytest.MonkeyPatch) -> None:
    """A worker that was frozen past its lease goes on as if nothing had happened."""
    patch.setattr(Lease, "renew", lambda _: 0.0)
    patch.setattr(Lease, "holds", lambda _: True)


def trusts_in_a_silent_coordinator(patch: pytest.MonkeyPatch) -> None:
    """A worker that is cut off from the brokers keeps its partitions for ever."""
    patch.setattr(Lease, "heard", lambda *_: True)


def settles_late_replies_of_another_assignment(patch: pytest.MonkeyPatch) -> None:
    """A new assignment of a partition reuses the old one's ledger, so late replies settle in it."""
    original = Engine.assigned

    def assigned(self: Engine, partitions: Iterable[Partition]) -> None:
        partitions = list(partitions)
        original(self, partitions)
        for partition in partitions:
            self._ledgers[partition] = _old_ledgers.setdefault((id(self), partition), self._ledgers[partition])

    _old_ledgers: dict[tuple[int, Partition], Ledger] = {}
    patch.setattr(Engine, "assigned", assigned)
    patch.setattr(Ledger, "drop", lambda _: None)


def writes_over_notes_that_it_has_not_read(patch: pytest.MonkeyPatch) -> None:
    """A commit overwrites the previous owner's note before it is read: the letters that owner spent are forgotten."""
    patch.setattr(Offsets, "gained", lambda *_: None)


def drains_while_nothing_can_end(patch: pytest.MonkeyPatch) -> None:
    """A drain waits for what cannot end, such as withheld letters that only a good record could release."""
    patch.setattr(Drain, "_is_hopeless", lambda *_: False)


def calls_a_drain_done_whose_partitions_were_lost(patch: pytest.MonkeyPatch) -> None:
    """Partitions lost during a drain count as drained."""
    patch.setattr(Drain, "lose", lambda *_: None)


def lets_a_drain_wait_out_a_backoff(patch: pytest.MonkeyPatch) -> None:
    """A drain does not make retries due at once."""
    patch.setattr(Window, "end_backoff", lambda *_: None)


def blames_no_user(patch: pytest.MonkeyPatch) -> None:
    """A user who always fails is never given up."""
    patch.setattr(trouble, "BITS", float("inf"))


def blames_no_user_for_a_halt(patch: pytest.MonkeyPatch) -> None:
    """One user's 403 halts everybody, again and again."""
    patch.setattr(attribution, "ODD_SECONDS", 1e9)


def blames_the_user_at_a_first_404(patch: pytest.MonkeyPatch) -> None:
    """A 404 is a dead letter at once, though a proxy may be missing the path for everybody."""
    original = Attribution.blame

    def blame(
        self: Attribution, entry: Entry, of: Verdict, reply: Reply, now: float, *, alone: bool = True
    ) -> tuple[Blame, Trouble]:
        blamed, row = original(self, entry, of, reply, now, alone=alone)
        return (Blame.USER if of in {Verdict.NOT_FOUND, Verdict.UNEXPECTED} else blamed), row

    patch.setattr(Attribution, "blame", blame)


def blames_the_user_without_the_others_successes(patch: pytest.MonkeyPatch) -> None:
    """Every further failure counts as confirmed, also in an outage."""
    original = Evidence.add

    def add(self: Evidence, _: float, *, others_started_at: float, now: float) -> None:
        del others_started_at
        original(self, 5.0, others_started_at=float("inf"), now=now)

    patch.setattr(Evidence, "add", add)
    patch.setattr(Attribution, "_is_poison", _is_poison_whoever_else_fails)


def _is_poison_whoever_else_fails(self: Attribution, _: Entry, evidence: Evidence, __: Reply, now: float) -> bool:
    return evidence.beyond_chance(self._server_error_seconds, now)


def takes_every_failure_for_rare(patch: pytest.MonkeyPatch) -> None:
    """While half of all calls fail at random, a user that is merely unlucky is given up."""
    patch.setattr(Share, "bits", 5.0)


def closes_at_each_failure(patch: pytest.MonkeyPatch) -> None:
    """A call that fails at random counts as an outage."""
    patch.setattr(attribution, "FAILURES_IN_A_ROW", 1)


def takes_each_429_for_everybodys(patch: pytest.MonkeyPatch) -> None:
    """A few users that are always answered 429 slow the rate for all."""
    patch.setattr(Attribution, "heed", lambda *_, **__: Heed(Slowing.LOWER, everybody_pauses=True))


def puts_failed_entries_first(patch: pytest.MonkeyPatch) -> None:
    """An entry that failed is tried again before others have their first call."""
    original = Window.take

    def take(
        self: Window, now: float, *, hurry: bool = False, failed_first: bool = False, failed: bool = True, newest: bool
    ) -> Entry | None:
        del failed_first, failed
        return original(self, now, hurry=hurry, failed_first=True, newest=newest)

    patch.setattr(Window, "take", take)


def takes_a_web_page_for_a_success(patch: pytest.MonkeyPatch) -> None:
    """A 200 is a 200, whoever sends it."""

    def verdict_on(reply: Reply, *, ever_delivered: bool) -> Verdict:
        return verdict.verdict_on(replace(reply, web_page=False), ever_delivered=ever_delivered)

    patch.setattr("worker.core.delivery.judge.verdict_on", verdict_on)


def trusts_its_client(patch: pytest.MonkeyPatch) -> None:
    """It does not notice that the client holds partitions that it has dropped."""
    patch.setattr(Agreement, "compare", lambda *_: None)


ALL: Sequence[Mutation] = (
    *sparing_mutations.ALL,
    commits_past_an_open_entry,
    folds_in_reverse,
    settles_on_send,
    settles_before_the_letter_is_acknowledged,
    writes_letters_of_a_lost_partition,
    keeps_entries_of_a_lost_partition,
    retries_over_newer_changes,
    sends_two_calls_for_a_user,
    takes_a_failure_for_a_success,
    dead_letters_an_outage,
    dead_letters_when_unauthorized,
    ignores_retry_after,
    retries_an_outage_with_every_sender,
    takes_the_whole_rate,
    forgets_the_value_before_a_refused_one,
    takes_true_for_one,
    dead_letters_the_whole_call,
    lets_records_pass_one_that_waits_for_its_schema,
    forgets_the_lease,
    trusts_in_a_silent_coordinator,
    settles_late_replies_of_another_assignment,
    writes_over_notes_that_it_has_not_read,
    drains_while_nothing_can_end,
    calls_a_drain_done_whose_partitions_were_lost,
    lets_a_drain_wait_out_a_backoff,
    blames_no_user,
    blames_no_user_for_a_halt,
    blames_the_user_at_a_first_404,
    blames_the_user_without_the_others_successes,
    takes_every_failure_for_rare,
    closes_at_each_failure,
    takes_each_429_for_everybodys,
    puts_failed_entries_first,
    takes_a_web_page_for_a_success,
    trusts_its_client,
)
