"""Deliberate faults, one in each: what the core would be if it broke one promise in one place."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TypeAlias

import pytest

from worker.core.delivery import verdict
from worker.core.delivery.gate import Gate, Passage
from worker.core.delivery.rate import Rate
from worker.core.delivery.schedule import Schedule
from worker.core.delivery.verdict import Verdict
from worker.core.engine import Engine
from worker.core.intake import Intake
from worker.core.letters.outbox import Outbox
from worker.core.model import Call, Letter, Now, Partition, Record, Reply, Scalar
from worker.core.waiting.entry import Attribute, Change, Entry
from worker.core.waiting.ledger import Ledger
from worker.core.waiting.memory import Memory
from worker.core.waiting.window import Window
from worker.live.drain import Drain
from worker.live.lease import Lease
from worker.live.offsets import Offsets

Mutation: TypeAlias = Callable[[pytest.MonkeyPatch], None]


def commits_past_an_open_entry(patch: pytest.MonkeyPatch) -> None:
    """The position is committed, whatever is held."""
    patch.setattr(Ledger, "committable", property(lambda ledger: ledger.position))


def folds_in_reverse(patch: pytest.MonkeyPatch) -> None:
    """The first value of an attribute wins."""
    patch.setattr(Attribute, "supersede", lambda *_: 0)


def settles_on_send(patch: pytest.MonkeyPatch) -> None:
    """What was sent is taken for delivered."""
    original = Schedule._start

    def call(self: Schedule, entry: Entry, names: tuple[str, ...], *, probe: bool, now: Now) -> Call:
        made = original(self, entry, names, probe=probe, now=now)
        for ledger, offset in entry.holds.items():
            ledger.settle(offset)
        entry.holds = {}
        return made

    patch.setattr(Schedule, "_start", call)


def settles_before_the_letter_is_acknowledged(patch: pytest.MonkeyPatch) -> None:
    """A letter counts as written once it is handed to the producer."""
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
    """A letter that waits is written though its partition is another's."""
    patch.setattr(Outbox, "_is_wanted", lambda *_: True)


def keeps_entries_of_a_lost_partition(patch: pytest.MonkeyPatch) -> None:
    """What came by a partition is sent after the partition is another's."""
    patch.setattr(Entry, "forget", lambda *_: None)


def retries_over_newer_changes(patch: pytest.MonkeyPatch) -> None:
    """A call that is made again brings its own values, not those that came meanwhile."""
    original = Entry.merge

    def merge(self: Entry, newer: Entry) -> None:
        mine = {name: (attribute.value, attribute.change) for name, attribute in self.attributes.items()}
        original(self, newer)
        for name, (value, change) in mine.items():
            self.attributes[name].supersede(value, change)

    patch.setattr(Entry, "merge", merge)


class _NeverBusy(dict[object, Entry]):
    def __contains__(self, _: object) -> bool:
        return False


def sends_two_calls_for_a_user(patch: pytest.MonkeyPatch) -> None:
    """A user's next entry does not wait for the one in flight."""
    original = Window.__init__

    def init(self: Window, seconds: float, memory: Memory) -> None:
        original(self, seconds, memory)
        patch.setattr(self, "_busy", _NeverBusy())

    patch.setattr(Window, "__init__", init)


def takes_a_failure_for_a_success(patch: pytest.MonkeyPatch) -> None:
    """5xx, time-outs and broken connections settle."""
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
    """The destination's wish to be left alone is not heard."""
    patch.setattr(Gate, "retry_after", lambda *_: None)


def retries_an_outage_with_every_sender(patch: pytest.MonkeyPatch) -> None:
    """The gate never closes."""
    patch.setattr(Gate, "passage", lambda *_: Passage.FREE)


def takes_the_whole_rate(patch: pytest.MonkeyPatch) -> None:
    """Each replica thinks that it is the only one."""
    original = Rate.share
    patch.setattr(Rate, "share", lambda self, fraction, now: original(self, float(fraction > 0), now))


def forgets_the_value_before_a_refused_one(patch: pytest.MonkeyPatch) -> None:
    """A refused value takes the older, good ones with it."""
    patch.setattr(Attribute, "step_back", lambda _: False)


def takes_true_for_one(patch: pytest.MonkeyPatch) -> None:
    """Equal values of two types count as one."""

    def supersede(self: Attribute, value: Scalar, change: Change) -> int:
        if value == self.value:
            self.change = change
            return 0
        return original(self, value, change)

    original = Attribute.supersede
    patch.setattr(Attribute, "supersede", supersede)


def dead_letters_the_whole_call(patch: pytest.MonkeyPatch) -> None:
    """A 400 takes the good attributes with the bad one."""
    _rejudge(patch, Verdict.REFUSED, Verdict.UNEXPECTED)


def lets_records_pass_one_that_waits_for_its_schema(patch: pytest.MonkeyPatch) -> None:
    """Only the record itself waits; the later ones of its partition go on."""
    original = Intake.receive

    def receive(self: Intake, ledger: Ledger, record: Record, now: Now) -> None:
        waiting = self._stalled.pop(ledger, None)
        original(self, ledger, record, now)
        if waiting is not None:
            waiting.extend(self._stalled.get(ledger, ()))
            self._stalled[ledger] = waiting

    patch.setattr(Intake, "receive", receive)


def forgets_the_lease(patch: pytest.MonkeyPatch) -> None:
    """A worker that slept goes on as if nothing had been."""
    patch.setattr(Lease, "renew", lambda _: 0.0)
    patch.setattr(Lease, "holds", lambda _: True)


def trusts_in_a_silent_coordinator(patch: pytest.MonkeyPatch) -> None:
    """A worker that is cut off from the brokers goes on as if its partitions were still its own."""
    patch.setattr(Lease, "heard", lambda *_: True)


def settles_late_replies_of_another_assignment(patch: pytest.MonkeyPatch) -> None:
    """A new assignment of a partition goes on with the ledger of the old one."""
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
    """What the previous owner of a partition had spent is forgotten."""
    patch.setattr(Offsets, "gained", lambda *_: None)


def drains_while_nothing_can_end(patch: pytest.MonkeyPatch) -> None:
    """A drain waits for dead letters that only a good record could release."""
    patch.setattr(Engine, "awaits_good_records", lambda *_: False)


def calls_a_drain_done_whose_partitions_were_lost(patch: pytest.MonkeyPatch) -> None:
    """What went away amid a drain counts as drained."""
    patch.setattr(Drain, "lose", lambda *_: None)


def lets_a_drain_wait_out_a_backoff(patch: pytest.MonkeyPatch) -> None:
    """What is to be tried again is not made due."""
    patch.setattr(Window, "end_backoff", lambda *_: None)


ALL: Sequence[Mutation] = (
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
)
