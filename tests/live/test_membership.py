"""The membership in virtual time: drains, commits, and the notes committed with offsets."""

from __future__ import annotations

from itertools import count

import pytest

from tests.core.drive import OK, P0, P1, SCHEMA, encode, phone
from tests.live.rig import COMMIT_SECONDS, GARBAGE, Rig, record
from tests.support.avro import framed
from worker.core.facts import AssignmentDiffers, DeletedUnread, DrainEnded, DrainOutcome
from worker.core.model import Call, Reply
from worker.live import slices


def unanswered(_: Call) -> Reply | None:
    return None


@pytest.fixture
def rig() -> Rig:
    rig = Rig()
    rig.hold()
    return rig


def outcomes(rig: Rig) -> list[DrainOutcome]:
    return [fact.outcome for fact in rig.facts if isinstance(fact, DrainEnded)]


# -- drains ----------------------------------------------------------------------------------------------------------


def test_a_stop_delivers_what_waits_then_commits_then_leaves_the_group() -> None:
    rig = Rig(window_seconds=600.0)
    rig.hold()
    rig.turn(record(P0, 0, encode(1, {"a": 1})))
    assert rig.finish(rig.membership.begin_stop()) < 0.2
    assert [call.properties for call in rig.destination.calls] == [{"a": 1}]
    assert rig.brokers.commits[-1] == ({P0: 1}, "letters-spent 0 0")
    assert rig.brokers.closed
    assert outcomes(rig) == [DrainOutcome.DONE]


def test_a_revoke_during_a_stop_keeps_the_deadline_of_the_stop(rig: Rig) -> None:
    rig.destination.answer = unanswered
    rig.turn(record(P0, 0, encode(0, {"a": 1})), record(P1, 0, encode(1, {"a": 1})))
    stop = rig.membership.begin_stop()
    assert rig.finish(stop, seconds=15.0) == pytest.approx(15.0, abs=0.1)
    revoke = rig.membership.begin_revoke([P0])
    assert revoke is not None
    assert rig.finish(revoke) == pytest.approx(5.0, abs=0.1)
    assert rig.finish(stop) == pytest.approx(0.0, abs=0.1)


def test_a_stop_is_cut_if_a_revoke_during_it_was_cut(rig: Rig) -> None:
    rig.destination.answer = lambda call: None if call.user.phone == "+13110000000" else OK
    rig.turn(record(P0, 0, encode(0, {"a": 1})), record(P1, 0, encode(1, {"a": 1})))
    stop = rig.membership.begin_stop()
    revoke = rig.membership.begin_revoke([P0])
    assert revoke is not None
    rig.finish(revoke)
    rig.finish(stop)
    assert (stop.outcome, stop.left) == (DrainOutcome.CUT, 1)


def test_a_stop_whose_partitions_are_lost_is_not_done(rig: Rig) -> None:
    rig.destination.answer = unanswered
    rig.turn(record(P0, 0, encode(0, {"a": 1})))
    stop = rig.membership.begin_stop()
    rig.finish(stop, seconds=1.0)
    rig.membership.lost([P0, P1])
    rig.finish(stop)
    assert (stop.outcome, stop.left) == (DrainOutcome.GONE, 1)
    assert rig.brokers.acknowledged == {P0: 0}


def test_a_stop_during_which_the_lease_runs_out_is_not_done() -> None:
    rig = Rig(lease_seconds=5.0)
    rig.hold()
    rig.destination.answer = unanswered
    rig.turn(record(P0, 0, encode(0, {"a": 1})))
    stop = rig.membership.begin_stop()
    rig.finish(stop, seconds=1.0)
    rig.advance(6.0)  # the process was frozen
    rig.finish(stop)
    assert (stop.outcome, stop.left) == (DrainOutcome.GONE, 1)
    assert rig.brokers.acknowledged == {P0: 0}


def test_a_revoke_during_which_the_lease_runs_out_commits_nothing_and_the_next_turn_rejoins() -> None:
    rig = Rig(lease_seconds=5.0)
    rig.hold()
    rig.destination.answer = unanswered
    rig.turn(record(P0, 0, encode(0, {"a": 1})), record(P1, 0, None))
    commits = len(rig.brokers.commits)
    revoke = rig.membership.begin_revoke([P0])
    assert revoke is not None
    rig.advance(6.0)
    rig.finish(revoke)
    assert revoke.outcome is DrainOutcome.GONE
    assert len(rig.brokers.commits) == commits
    rig.turn()
    assert rig.brokers.rejoined == 1
    assert rig.membership.begin_revoke([P1]) is None, "P1 must be dropped with the lease"


def test_partitions_that_only_the_client_holds_are_told_and_the_worker_rejoins() -> None:
    """Nobody would read them: the group counts them as this worker's."""
    rig = Rig(lease_seconds=10 * COMMIT_SECONDS)
    rig.hold()
    rig.membership.lost([P1])
    rig.turn()
    assert not rig.problem, "for a while that is normal"
    rig.advance(COMMIT_SECONDS)
    rig.turn()
    assert "changes[1]" in rig.problem
    assert rig.brokers.rejoined == 1
    [differs] = [fact for fact in rig.facts if isinstance(fact, AssignmentDiffers)]
    assert (differs.unread, differs.not_held) == (1, 0)
    rig.membership.assigned([P1])
    rig.advance(COMMIT_SECONDS)
    rig.turn()
    assert not rig.problem
    assert rig.brokers.rejoined == 1


@pytest.mark.parametrize("ending", ["stop", "revoke"])
def test_a_drain_sends_entries_that_back_off(rig: Rig, ending: str) -> None:
    """The destination answered 503 and is well again. The entry's backoff outlasts the drain; the drain cuts it."""
    attempts = count()
    rig.destination.answer = lambda _: Reply(503) if next(attempts) < 5 else OK
    rig.turn(record(P0, 0, encode(0, {"a": 1})))
    for _ in range(4):
        rig.advance(16.0)
        rig.turn()
    assert len(rig.destination.calls) == 5, "the sixth call is due in 16 s"
    drain = rig.membership.begin_stop() if ending == "stop" else rig.membership.begin_revoke([P0])
    assert drain is not None
    assert rig.finish(drain) < 1.0
    assert drain.outcome is DrainOutcome.DONE
    assert rig.brokers.acknowledged == {P0: 1}


def test_calls_that_fail_during_a_drain_are_tried_again_within_it(rig: Rig) -> None:
    attempts = count()
    rig.destination.answer = lambda _: Reply(503) if next(attempts) < 8 else OK
    rig.turn(record(P0, 0, encode(0, {"a": 1})))
    drain = rig.membership.begin_stop()
    assert rig.finish(drain) < 20.0
    assert drain.outcome is DrainOutcome.DONE


@pytest.mark.parametrize("ending", ["stop", "revoke"])
def test_a_drain_does_not_wait_for_withheld_letters_that_only_a_good_record_could_release(ending: str) -> None:
    rig = Rig(storm_letters_max=2)
    rig.hold()
    rig.turn(*(record(P0, offset, GARBAGE) for offset in range(10)))
    assert len(rig.topic.letters) == 2
    drain = rig.membership.begin_stop() if ending == "stop" else rig.membership.begin_revoke([P0])
    assert drain is not None
    assert rig.finish(drain) == 0.0
    assert (drain.outcome, drain.left) == (DrainOutcome.CUT, 8)
    assert rig.brokers.acknowledged == {P0: 2}


@pytest.mark.parametrize("ending", ["stop", "revoke"])
@pytest.mark.parametrize("status", [429, 503])
def test_a_drain_does_not_wait_if_the_destination_wants_no_call_before_its_deadline(ending: str, status: int) -> None:
    rig = Rig(retry_after_max_seconds=600.0)
    rig.hold()
    rig.destination.answer = lambda _: Reply(status, retry_after_seconds=120.0)
    rig.turn(record(P0, 0, encode(0, {"a": 1})))
    drain = rig.membership.begin_stop() if ending == "stop" else rig.membership.begin_revoke([P0])
    assert drain is not None
    assert rig.finish(drain) == 0.0
    assert (drain.outcome, drain.left) == (DrainOutcome.CUT, 1)
    assert len(rig.destination.calls) == 1


@pytest.mark.parametrize("ending", ["stop", "revoke"])
def test_a_drain_delivers_the_others_and_does_not_wait_for_users_who_always_fail(ending: str) -> None:
    rig = Rig(window_seconds=0.0)
    rig.hold()
    rig.destination.answer = lambda call: Reply(500) if call.user.phone == phone(0) else OK
    rig.turn(record(P0, 0, encode(0, {"a": 1})))
    for user in range(1, 30):
        rig.advance(1.0)
        rig.turn(record(P0, user, encode(user, {"a": 1})))
    rig.turn(record(P0, 30, encode(30, {"a": 1})), record(P0, 31, encode(31, {"a": 1})))
    drain = rig.membership.begin_stop() if ending == "stop" else rig.membership.begin_revoke([P0])
    assert drain is not None
    assert rig.finish(drain) < 2.0
    assert (drain.outcome, drain.left) == (DrainOutcome.CUT, 1)


def test_a_drain_sends_open_entries_even_if_withheld_letters_remain() -> None:
    rig = Rig(storm_letters_max=2, window_seconds=600.0)
    rig.hold()
    rig.turn(record(P0, 0, encode(0, {"a": 1})), *(record(P0, offset, GARBAGE) for offset in range(1, 10)))
    drain = rig.membership.begin_stop()
    assert rig.finish(drain) < 1.0
    assert len(rig.destination.calls) == 1
    assert drain.outcome is DrainOutcome.CUT


def test_a_stop_whose_last_commit_is_never_acknowledged_is_not_done(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    """The next start sends everything again, so exit status 0 would say too much."""

    def unanswered_commit(_: object, *, note: str = "", wait: bool = False) -> None:
        del note, wait

    monkeypatch.setattr(rig.brokers, "commit", unanswered_commit)
    rig.turn(record(P0, 0, encode(0, {"a": 1})))
    stop = rig.membership.begin_stop()
    rig.finish(stop)
    assert stop.outcome is not DrainOutcome.DONE


# -- commits and notes -----------------------------------------------------------------------------------------------


def test_a_new_note_of_spent_letters_is_committed_for_the_partitions_that_stay_too(rig: Rig) -> None:
    rig.turn(record(P0, 0, None), record(P1, 0, None))
    assert rig.brokers.commits.pop() == ({P0: 1, P1: 1}, "letters-spent 0 0")
    rig.turn(record(P0, 1, GARBAGE), record(P0, 2, None))
    revoke = rig.membership.begin_revoke([P0])
    assert revoke is not None
    rig.finish(revoke)
    assert rig.brokers.commits.pop() == ({P0: 3}, "letters-spent 1 0")
    rig.finish(rig.membership.begin_stop())
    assert rig.brokers.commits.pop() == ({P1: 1}, "letters-spent 1 0")


def test_a_note_that_could_not_be_read_is_read_again_before_a_commit_overwrites_it(rig: Rig) -> None:
    rig.brokers.noted = None
    rig.turn(record(P0, 0, None))
    assert rig.brokers.commits == []
    rig.brokers.noted = ["letters-spent 40 0"]
    rig.finish(rig.membership.begin_stop())
    assert rig.brokers.commits == [({P0: 1}, "letters-spent 40 0")]


@pytest.mark.parametrize("ending", ["stop", "revoke"])
def test_a_partition_whose_note_was_never_read_is_given_up_without_a_commit(rig: Rig, ending: str) -> None:
    rig.brokers.noted = None
    rig.turn(record(P0, 0, None))
    drain = rig.membership.begin_stop() if ending == "stop" else rig.membership.begin_revoke([P0])
    assert drain is not None
    rig.finish(drain)
    assert rig.brokers.commits == []


# -- what is no record -----------------------------------------------------------------------------------------------


def test_the_end_of_a_transaction_is_committed_once_its_records_are_settled(rig: Rig) -> None:
    rig.destination.answer = unanswered
    rig.brokers.ends_reached = {P0: 3, P1: 9}
    rig.turn(record(P0, 0, encode(1, {"a": 1})))
    progress = rig.engine.progress()
    assert (progress[P0].position, progress[P0].committable) == (3, 0)
    assert (progress[P1].position, progress[P1].committable) == (9, 9)  # aborted records alone
    rig.destination.answer = lambda _: OK
    rig.turn()
    assert rig.engine.committable() == {P0: 3, P1: 9}


def test_records_that_were_deleted_unread_are_told_once(rig: Rig) -> None:
    told = DeletedUnread(P0, first=10, offsets=30)
    rig.brokers.deleted = [told]
    rig.turn()
    rig.turn()
    assert rig.facts.count(told) == 1


def test_the_end_of_a_partition_passes_no_record_that_waits_for_its_schema() -> None:
    rig = Rig(schema=None)
    rig.hold()
    rig.brokers.ends_reached = {P0: 2}
    rig.turn(record(P0, 0, framed(7, encode(1, {"a": 1}))))
    assert rig.engine.progress()[P0].committable is None
    rig.engine.schema(7, SCHEMA, rig.now)
    rig.turn()
    rig.turn()
    assert rig.engine.committable() == {P0: 2}


# -- how far it reads on ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("users", "answer", "concurrency", "most"),
    [(1_000, OK, 10, 10), (1_000, OK, 100, None), (1_000, None, 10, None), (5, OK, 10, None)],
    ids=["it is busy", "it is not busy", "the destination is", "users come again"],
)
def test_it_reads_on_unless_replies_wait_and_no_user_comes_again(
    users: int, answer: Reply | None, concurrency: int, most: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(slices, "_LATELY", 50)
    rig = Rig(window_seconds=0.0)
    rig.hold()
    rig.destination.answer, rig.destination.concurrency = lambda _: answer, concurrency
    for turn in range(20):
        offsets = range(turn * 20, turn * 20 + 20)
        rig.advance(0.05)
        rig.turn(*(record(P0, offset, encode(offset % users, {"a": 1})) for offset in offsets))
    assert rig.membership.records_max == most
