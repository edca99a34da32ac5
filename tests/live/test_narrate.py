"""Facts as log lines: the events and fields that people, alerts and other tests rely on."""

from __future__ import annotations

from pathlib import Path

import pytest
from structlog.testing import CapturingLogger

from worker.attentive.token import Token
from worker.core import facts
from worker.core.delivery.gate import HaltReason
from worker.core.delivery.verdict import Verdict
from worker.core.model import Partition, Reason
from worker.live.advice import MENDS, Advice
from worker.live.narrate import Narrator

QUIET = (
    facts.CallMade(3, probe=False),
    facts.CallEnded(Verdict.DELIVERED, 200, None, 0.1),
    facts.Delivered(2, 1, 0.5),
    facts.Refused(stepped_back=True),
    facts.LetterWritten(Reason.REJECTED, ("tier",), 2, 1_000, Partition("changes", 0), 7),
    facts.LetterFailed(Reason.REJECTED, "down"),
    facts.CommitEnded(0.1, ok=True),
    facts.DrainEnded(facts.DrainOutcome.DONE, 0.1, 0),
    facts.DrainEnded(facts.DrainOutcome.GONE, 0.1, 3),
)


def lines(fact: facts.Fact) -> list[tuple[str, str, dict[str, object]]]:
    log = CapturingLogger()
    Narrator(log, Advice(Token.given("t"))).observe(fact)
    return [(call.method_name, call.args[0], call.kwargs) for call in log.calls]


@pytest.mark.parametrize(
    ("fact", "level", "event", "fields"),
    [
        (
            facts.Halted(HaltReason.WRONG_URL, "status 302"),
            "warning",
            "halted",
            {"reason": "wrong_url", "detail": f"status 302; {MENDS[HaltReason.WRONG_URL]}"},
        ),
        (
            facts.Resumed(HaltReason.WRONG_URL, 12.5),
            "info",
            "resumed",
            {"reason": "wrong_url", "halted_seconds": 12.5},
        ),
        (facts.UnusualSuccess(202), "warning", "unusual_success", {"status": 202}),
        (facts.SharedUser(), "info", "user_in_several_partitions", {}),
        (facts.MemoryFull(10), "debug", "memory_full", {"held_bytes": 10}),
        (facts.MemoryFreed(8), "debug", "memory_freed", {"held_bytes": 8}),
        (
            facts.Assigned((Partition("changes", 0), Partition("changes", 1)), 3),
            "info",
            "assigned",
            {"gained": 2, "held": 3},
        ),
        (
            facts.Revoked(1, 2, facts.DrainOutcome.CUT, 1.234),
            "info",
            "revoked",
            {"lost": 1, "held": 2, "drained": False, "seconds": 1.23},
        ),
        (facts.PartitionsLost(3, 0), "warning", "partitions_lost", {"lost": 3, "held": 0}),
        (
            facts.DrainEnded(facts.DrainOutcome.CUT, 2.0, 4),
            "warning",
            "drain_cut",
            {"left": 4, "seconds": 2.0},
        ),
        (
            facts.LeaseRanOut(facts.LeaseEnd.LOOP_STOOD_STILL, 50.04, 2),
            "warning",
            "woke_up_late",
            {"silent_seconds": 50.0, "dropped": 2},
        ),
        (
            facts.LeaseRanOut(facts.LeaseEnd.COORDINATOR_SILENT, 50.04, 2),
            "warning",
            "cut_off_from_group",
            {"silent_seconds": 50.0, "dropped": 2},
        ),
        (
            facts.AssignmentDiffers(2, 1, 15.04),
            "warning",
            "assignment_differs",
            {"unread": 2, "not_held": 1, "seconds": 15.0},
        ),
        (
            facts.DeletedUnread(Partition("changes", 2), 10, 30),
            "warning",
            "records_deleted_unread",
            {"topic": "changes", "partition": 2, "offset": 10, "offsets": 30},
        ),
    ],
    ids=lambda value: type(value).__name__,
)
def test_a_fact_that_people_should_know_is_one_log_line(
    fact: facts.Fact, level: str, event: str, fields: dict[str, object]
) -> None:
    assert lines(fact) == [(level, event, fields)]


@pytest.mark.parametrize("fact", QUIET, ids=lambda fact: type(fact).__name__)
def test_a_fact_of_everyday_work_is_not_logged(fact: facts.Fact) -> None:
    assert lines(fact) == []


def test_a_halt_that_comes_and_goes_is_told_once_a_minute() -> None:
    """Reminders say once a minute what the worker waits for: a halt for each bad user would fill the log."""
    log, instants = CapturingLogger(), iter((0.0, 5.0, 59.0, 61.0))
    narrator = Narrator(log, Advice(Token.given("t")), lambda: next(instants))
    for _ in range(4):
        narrator.observe(facts.Halted(HaltReason.UNAUTHORIZED, "status 403"))
        narrator.observe(facts.Resumed(HaltReason.UNAUTHORIZED, 0.1))
    assert [call.args[0] for call in log.calls] == ["halted", "resumed", "halted", "resumed"]


def test_whether_a_new_token_needs_a_restart_is_told(tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text("t")
    assert "needs a restart" in Advice(Token.given("t")).in_one(HaltReason.UNAUTHORIZED, "status 401")
    told = Advice(Token.from_file(file)).in_one(HaltReason.UNAUTHORIZED, "status 401")
    assert "reads the token's file again by itself" in told
    assert "restart" not in told
