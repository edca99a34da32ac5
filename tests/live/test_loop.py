"""The loop, with the real clock."""

from __future__ import annotations

from collections.abc import Iterable

import pytest

from tests.core.drive import P0, P1, encode
from tests.live.rig import Rig, record
from worker.core.facts import DrainOutcome
from worker.core.model import Call, Now, Record
from worker.live import loop
from worker.live.loop import Loop


def test_a_turn_that_raises_leaves_the_group_before_the_process_ends() -> None:
    """Otherwise its partitions would have no owner until the session time-out, after each crash of a crash loop."""
    rig = Rig()
    rig.brokers.raises = RuntimeError("a bug")
    with pytest.raises(RuntimeError, match="a bug"):
        Loop(rig.membership, rig.exchange, rig.brokers).run(lambda: False, lambda: None)
    assert rig.brokers.closed
    assert rig.brokers.commits == []


def test_the_error_of_a_turn_is_raised_even_if_leaving_the_group_fails_too() -> None:
    rig = Rig()
    rig.brokers.raises = RuntimeError("a fatal error")
    rig.brokers.close_raises = OSError("cannot leave")
    with pytest.raises(RuntimeError, match="a fatal error"):
        Loop(rig.membership, rig.exchange, rig.brokers).run(lambda: False, lambda: None)


def test_a_signal_drains_and_leaves_the_group() -> None:
    rig = Rig()
    said = []
    drain = Loop(rig.membership, rig.exchange, rig.brokers).run(lambda: True, lambda: said.append("stopping"))
    assert drain.outcome is DrainOutcome.DONE
    assert said == ["stopping"]
    assert rig.brokers.closed


def test_an_error_leaves_the_group_even_if_dropping_the_partitions_fails_too(monkeypatch: pytest.MonkeyPatch) -> None:
    """A bug that spoilt the engine spoils the drop as well."""
    rig = Rig()
    rig.brokers.raises = RuntimeError("a bug")

    def abort(_: Iterable[Call]) -> None:
        raise KeyError("spoilt")

    monkeypatch.setattr(rig.destination, "abort", abort)
    with pytest.raises(RuntimeError, match="a bug"):
        Loop(rig.membership, rig.exchange, rig.brokers).run(lambda: False, lambda: None)
    assert rig.brokers.closed
    assert not rig.lease.holds(), "what was not aborted must not be written either"


def test_a_revoke_that_raises_lets_no_call_be_written_after_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """librdkafka gives the partitions away as soon as the callback returns, and the poll raises later."""
    rig = Rig()
    rig.hold()
    rig.destination.answer = lambda _: None
    rig.turn(record(P0, 0, encode(0, {"a": 1})))

    def replies(_: float) -> list[object]:
        raise RuntimeError("a bug")

    monkeypatch.setattr(rig.destination, "replies", replies)
    monkeypatch.setattr(loop, "clock", lambda: rig.now)
    assert rig.lease.holds()
    with pytest.raises(RuntimeError, match="a bug"):
        Loop(rig.membership, rig.exchange, rig.brokers).revoked([P0])
    assert not rig.lease.holds()


def rested(
    monkeypatch: pytest.MonkeyPatch, rig: Rig, records: int, *, gather_seconds: float = 0.02, later: float = 0.0
) -> list[float]:
    """How long a loop rests after a turn with so many records, each of another user, which takes until `later`."""
    rig.brokers.records = [record(P0, offset, encode(offset, {"a": 1})) for offset in range(records)]
    rig.brokers.raises = RuntimeError("the second poll")
    monkeypatch.setattr(loop, "clock", lambda: rig.now)
    monkeypatch.setattr(rig, "report", lambda *_: rig.advance(later))
    with pytest.raises(RuntimeError, match="the second poll"):
        Loop(rig.membership, rig.exchange, rig.brokers, gather_seconds=gather_seconds).run(lambda: False, lambda: None)
    return rig.destination.rested


def test_after_a_poll_with_few_records_more_may_gather(monkeypatch: pytest.MonkeyPatch) -> None:
    """Else each record costs a turn, and a turn costs as much as many records."""
    assert rested(monkeypatch, Rig(window_seconds=5.0), 1) == [0.02]


def test_records_that_wait_already_are_taken_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    assert rested(monkeypatch, Rig(window_seconds=5.0), loop.FEW_RECORDS) == []


def test_large_records_of_which_a_poll_takes_few_do_not_wait_either(monkeypatch: pytest.MonkeyPatch) -> None:
    rig = Rig(window_seconds=5.0)
    rig.brokers.more_waits = True
    assert rested(monkeypatch, rig, 2) == []


def test_a_loop_that_is_not_told_to_gather_does_not(monkeypatch: pytest.MonkeyPatch) -> None:
    assert rested(monkeypatch, Rig(window_seconds=0.0), 1, gather_seconds=0.0) == []


def test_nothing_gathers_while_calls_wait_for_a_sender(monkeypatch: pytest.MonkeyPatch) -> None:
    """The next reply frees one: to rest would cost calls."""
    rig = Rig(window_seconds=0.0)
    rig.destination.concurrency = 0
    assert rested(monkeypatch, rig, 1, later=0.2) == []


def test_while_calls_wait_for_the_rate_others_gather_until_rate_would_be_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    rig = Rig(window_seconds=0.0, requests_per_second=100.0)
    rig.destination.answer = lambda _: None
    [seconds] = rested(monkeypatch, rig, 20, later=0.095)
    assert len(rig.destination.calls) == 1, "no rate is saved up yet"
    assert seconds == pytest.approx(0.005), "0.1 s of rate may be saved up, and most of that is over"


def test_a_signal_during_a_revoke_bounds_both_drains_by_one_deadline(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever stopped the process kills it a little after that deadline, before the last commit."""
    rig = Rig(drain_seconds=20.0)
    rig.destination.answer = lambda _: None
    signalled: list[float] = []
    polls, begun = 0, rig.now.mono

    def tick() -> Now:
        rig.advance(0.05)
        if polls == 2 and not signalled and rig.now.mono - begun >= 5.0:
            signalled.append(rig.now.mono)
        return rig.now

    def poll(_: float, __: int | None = None) -> list[Record]:
        nonlocal polls, begun
        polls, begun = polls + 1, rig.now.mono
        if polls == 1:
            return [record(P0, 0, encode(0, {"a": 1})), record(P1, 0, encode(1, {"a": 1}))]
        if polls == 2:
            driven.revoked([P0])
        return []

    monkeypatch.setattr(loop, "clock", tick)
    monkeypatch.setattr(rig.brokers, "poll", poll)
    driven = Loop(rig.membership, rig.exchange, rig.brokers)
    drain = driven.run(lambda: bool(signalled), lambda: None)
    assert drain.outcome is DrainOutcome.CUT
    assert rig.now.mono - signalled[0] == pytest.approx(20.0, abs=0.5)
