"""The reporter: the status on the board, and the log line that repeats what the worker waits for."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, cast

import pytest
from structlog.testing import CapturingLogger

from tests.core.drive import P0, P1, Driver
from worker.attentive.token import Token
from worker.core.events.decode import Decoder
from worker.core.events.mapping import Mapping as FieldMapping
from worker.core.facts import LetterWritten
from worker.core.model import Partition, Reason, Record, Reply
from worker.core.watchdog import STUCK_SECONDS
from worker.live.advice import Advice
from worker.live.ports import Schemas as SchemaPort
from worker.live.report import OUTSIDE_SECONDS, REPORT_SECONDS, Reporter, Seen
from worker.live.silence import SILENT_SECONDS
from worker.logs import LINE_SECONDS
from worker.ops.board import Board
from worker.ops.letters import LatestLetters
from worker.ops.status import LastError, Problem, State, Status


@dataclass
class Standing:
    """The membership as the reporter sees it."""

    joined: bool = False
    problem: str | None = None
    draining: bool = False
    paused: frozenset[Partition] = frozenset()
    offsets: dict[Partition, int] = field(default_factory=dict)
    ends: dict[Partition, int] = field(default_factory=dict)

    def committed(self) -> dict[Partition, int]:
        return self.offsets

    def end_offsets(self) -> dict[Partition, int]:
        return self.ends


THROTTLE_EVENTS = ("throttled", "full_rate_again")
JOINED = Standing(joined=True, offsets={P0: 0}, ends={P0: 5})


@dataclass
class Schemas:
    """A schema source; `problem` is what it waits for, if anything."""

    problem: str | None = None

    def waiting(self) -> str | None:
        return self.problem


@dataclass
class Topics:
    """The subscribed topics; `problem` is what is wrong with them, if anything."""

    problem: str | None = None
    latest: int | None = None
    retention_seconds: dict[str, float] = field(default_factory=dict)


@dataclass
class Reported:
    """An engine, its reporter, and what that reporter says: the board and the log."""

    driver: Driver = field(default_factory=Driver)
    schemas: Schemas = field(default_factory=Schemas)
    topics: Topics = field(default_factory=Topics)
    calls_ended: dict[str, int] = field(default_factory=dict)
    letters: LatestLetters = field(default_factory=LatestLetters)
    receipts: Receipts | None = None
    log: CapturingLogger = field(default_factory=CapturingLogger)
    board: Board = field(
        default_factory=lambda: Board(Status.starting(version="1", instance="a", group_id="g", rate_limit=1.0))
    )

    def __post_init__(self) -> None:
        self.reporter = Reporter(
            self.driver.engine,
            advice=Advice(Token.given("t")),
            schemas=cast("SchemaPort", self.schemas),
            topics=self.topics,
            seen=Seen(self.calls_ended, self.letters, self.receipts),
            board=self.board,
            log=cast("Any", self.log),
        )

    def report(self, membership: Standing = JOINED, *, after: float = REPORT_SECONDS) -> Status:
        self.driver.advance(after)
        self.reporter.report(self.driver.now, membership)
        return self.board.status

    @property
    def reminders(self) -> list[str]:
        return [call.kwargs["reason"] for call in self.log.calls if call.args[0] == "waiting"]


def test_the_board_shows_what_the_engine_and_the_group_know() -> None:
    reported = Reported()
    reported.driver.change(1, {"a": 1})
    reported.driver.reply(reported.driver.call(), Reply(200))
    reported.driver.change(2, {"a": 1})
    status = reported.report()
    assert (status.state, status.joined, status.open_entries, status.totals.calls) == (State.RUNNING, True, 1, 1)
    assert status.rate.limit == 10_000.0
    (partition,) = status.partitions
    assert (partition.position, partition.committed, partition.end, partition.paused) == (2, 0, 5, False)
    assert partition.oldest_undelivered_seconds == 1.249  # the second record is 1 ms younger
    assert reported.reminders == []


@dataclass
class Receipts:
    """Receipts that cannot be written."""

    written: int = 3
    lost: int = 2
    problem: str | None = "receipts are lost"
    steps: int = 0

    def step(self) -> None:
        self.steps += 1


def test_receipts_are_counted_and_their_loss_is_a_problem_that_leaves_the_worker_ready() -> None:
    receipts = Receipts()
    reported = Reported(receipts=receipts)
    status = reported.report()
    assert (status.problems, status.ready, receipts.steps) == ((Problem.RECEIPTS,), True, 1)
    assert status.to_json()["receipts"] == {"written": 3, "lost": 2}
    assert Reported().report().to_json()["receipts"] is None


def test_the_board_is_updated_once_a_period_and_at_each_step_of_a_drain() -> None:
    reported = Reported()
    reported.report()
    reported.driver.change(1, {"a": 1})
    assert reported.report(after=REPORT_SECONDS / 2).open_entries == 0
    draining = Standing(joined=True, draining=True)
    assert reported.report(draining, after=0.0).state is State.DRAINING


def test_what_adds_up_with_time_is_added_up() -> None:
    """Halts that came and went between two scrapes count, and the use of the rate is known over any time."""
    reported = Reported(topics=Topics(latest=6, retention_seconds={"changes": 60.0}))
    reported.report()
    allowed = reported.report(after=1.0).calls_allowed
    assert allowed == pytest.approx(9_500, rel=0.01)  # the limit less the headroom, for a second
    reported.driver.change(1, {"a": 1})
    reported.driver.reply(reported.driver.call(), Reply(401))
    status = reported.report(after=2.0)
    assert status.halted_seconds == {"unauthorized": 2.0}
    assert (status.partitions_subscribed, status.retention_seconds) == (6, {"changes": 60.0})
    assert status.held_bytes_max > 0
    reported.report(after=1.0)
    assert status.halted_seconds == {"unauthorized": 2.0}  # a snapshot


def test_calls_by_outcome_and_the_latest_letters_are_on_the_board_as_they_were() -> None:
    reported = Reported(calls_ended={"delivered": 3})
    reported.letters.observe(LetterWritten(Reason.REJECTED, ("tier",), 1, 0, P0, 7))
    status = reported.report()
    reported.calls_ended["delivered"] += 1
    assert status.calls_ended == {"delivered": 3}
    assert [letter.offset for letter in status.latest_dead_letters] == [7]
    assert [call.kwargs["reason"] for call in reported.log.calls if call.args[0] == "dead_letters"] == ["rejected"]
    steps = [step for step in reported.board.history.steps() if step is not None]
    assert sum(step.calls["delivered"] for step in steps) == 3


def test_a_throttled_worker_says_so() -> None:
    reported = Reported()
    reported.driver.change(1, {"a": 1})
    reported.driver.reply(reported.driver.call(), Reply(429, retry_after_seconds=60.0))
    assert reported.report().state is State.THROTTLED


def test_429s_for_minutes_are_a_line_when_they_begin_and_one_when_they_are_over() -> None:
    reported = Reported(Driver(requests_per_second=100.0))
    reported.driver.change(1, {"a": 1})
    for number in range(240):
        for call in reported.driver.calls():
            reported.driver.reply(call, Reply(429 if number < 180 else 200))
        reported.driver.change(number, {"a": number})
        reported.report(after=1.0)
    for _ in range(60):
        reported.report(after=1.0)
    lines = [(call.method_name, call.kwargs) for call in reported.log.calls if call.args[0] in THROTTLE_EVENTS]
    assert [level for level, _ in lines] == ["warning", "info"]
    assert lines[0][1]["share"] == 100.0
    assert "WORKER_ATTENTIVE__REQUESTS_PER_SECOND" in lines[0][1]["detail"]
    assert lines[1][1]["rate"] == 95.0
    assert 180 <= lines[1][1]["throttled_seconds"] <= 240


def test_a_worker_that_is_slowed_again_and_again_says_so_once_a_minute() -> None:
    reported = Reported()
    for number in range(300):
        reported.driver.change(number, {"a": 1})
        for call in reported.driver.calls():
            reported.driver.reply(call, Reply(429 if number % 15 == 0 else 200))
        reported.report(after=1.0)
    lines = [call.args[0] for call in reported.log.calls if call.args[0] in THROTTLE_EVENTS]
    assert lines == [*THROTTLE_EVENTS] * 5


def test_during_a_halt_the_rate_is_that_of_probes_and_none_during_a_pause() -> None:
    halted, paused = Reported(), Reported()
    for reported, reply in ((halted, Reply(401)), (paused, Reply(429, retry_after_seconds=60.0))):
        assert reported.report().rate.current == 9_500.0
        reported.driver.change(1, {"a": 1})
        reported.driver.reply(reported.driver.call(), reply)
        assert reported.report().rate.current == 0.0
    halted.driver.advance(60.0)
    halted.driver.reply(halted.driver.call(), Reply(200))
    assert halted.report().rate.current == 9_500.0


def test_a_halt_is_on_the_board_with_advice_and_a_line_a_minute_after_it_was_told() -> None:
    """Its first line comes from the fact."""
    reported = Reported()
    reported.driver.change(1, {"a": 1})
    reported.driver.reply(reported.driver.call(), Reply(401))
    status = reported.report()
    assert status.state is State.HALTED
    assert status.halt is not None
    assert (status.halt.reason, "check that the token" in status.halt.detail) == ("unauthorized", True)
    assert status.halt.next_probe == status.halt.since + timedelta(seconds=1)
    assert status.last_error == LastError(status.halt.since, "status 401")
    assert (status.version, status.group_id) == ("1", "g")  # what the board had from the start
    for _ in range(8):
        reported.report(after=LINE_SECONDS / 4)
    assert reported.reminders == ["unauthorized"] * 2
    (first, second) = reported.log.calls
    assert first.kwargs["since"] == second.kwargs["since"]
    assert "check that the token" in first.kwargs["detail"]


def test_a_steady_worker_says_once_a_minute_what_it_did_in_that_minute() -> None:
    reported = Reported()
    reported.report()
    for minute in range(3):
        for number in range(minute + 1):
            reported.driver.change(number, {"a": minute})
            reported.driver.reply(reported.driver.call(), Reply(200))
        for _ in range(12):
            reported.report(after=LINE_SECONDS / 12)
    lines = [(call.method_name, call.args[0]) for call in reported.log.calls]
    assert lines == [("info", "progress")] * 3
    said = [call.kwargs for call in reported.log.calls]
    assert [(line["seconds"], line["records"], line["calls"], line["delivered_entries"]) for line in said] == [
        (60, 1, 1, 1),
        (60, 2, 2, 2),
        (60, 3, 3, 3),
    ]
    assert (said[0]["state"], said[0]["partitions"], said[0]["lag"], said[0]["dead_letters"]) == ("running", 1, 5, 0)


def test_a_minute_says_how_much_of_the_rate_was_used() -> None:
    reported = Reported(Driver(requests_per_second=2.0))
    reported.report()
    for second in range(60):
        reported.driver.change(second, {"a": 1})
        reported.driver.reply(reported.driver.call(), Reply(200))
        reported.report(after=1.0)
    (line,) = reported.log.calls
    assert line.kwargs["rate_used"] == 0.53  # 60 of 114: the limit less the headroom


def test_the_most_urgent_problem_is_logged_and_a_new_one_at_once() -> None:
    reported = Reported()
    reported.report(Standing(problem="no broker"))
    reported.schemas.problem = "the registry does not answer"
    reported.report(Standing(problem="no broker"))
    reported.driver.letters_fail = True
    reported.driver.record(b"\xff")
    reported.driver.post()
    status = reported.report()
    assert (status.problem, status.problems) == (
        "the topic is down",
        (Problem.DEAD_LETTER_TOPIC, Problem.SCHEMA_REGISTRY),
    )
    assert reported.reminders == ["kafka", "schema_registry", "dead_letter_topic"]


def test_a_stuck_partition_is_a_problem_and_a_line_a_minute() -> None:
    reported = Reported(Driver(P0, P1))
    for partition in (P0, P1):
        reported.driver.change(1, {"a": 1}, partition)
    reported.report()
    assert reported.report(after=STUCK_SECONDS - 1).problem is None
    problem = str(reported.report(after=1.0).problem)
    assert problem.startswith("profile-changes[0] offset 0 has not been settled for 60 s: its first call waits")
    assert problem.endswith("and 1 other partition")
    for _ in range(4 * int(LINE_SECONDS)):
        reported.report()
    lines = [call.kwargs for call in reported.log.calls if call.args[0] == "partition_stuck"]
    assert [(line["topic"], line["partition"], line["offset"], line["others"]) for line in lines] == [
        ("profile-changes", 0, 0, 1)
    ] * 2


def test_a_pause_that_the_destination_asked_for_is_told() -> None:
    reported = Reported(Driver(retry_after_max_seconds=300.0))
    reported.driver.change(1, {"a": 1})
    reported.driver.reply(reported.driver.call(), Reply(503, retry_after_seconds=300.0))
    status = reported.report()
    assert (status.problems, status.state) == ((Problem.RETRY_AFTER,), State.THROTTLED)
    assert "Retry-After" in str(status.problem)
    assert reported.reminders == ["retry_after"]


def test_records_that_do_not_come_are_told() -> None:
    """As behind a transaction that its producer never ended."""
    reported = Reported()
    reported.report()
    status = reported.report(after=SILENT_SECONDS)
    assert status.problems == (Problem.NO_RECORDS,)
    assert "transaction" in str(status.problem)


def test_records_of_which_none_has_anything_to_send_are_told() -> None:
    reported = Reported()
    reported.driver.engine.totals.records = reported.driver.engine.totals.ignored = 500
    reported.driver.engine.totals.empty = 500
    assert reported.report().problems == (Problem.NO_EFFECT,)


def test_a_group_that_lets_nobody_in_for_long_is_a_problem() -> None:
    """After a crash it waits for the session time-out of the member that is gone."""
    reported = Reported()
    assert reported.report(Standing()).problem is None
    status = reported.report(Standing(), after=OUTSIDE_SECONDS)
    assert (status.state, status.problems) == (State.STARTING, (Problem.KAFKA,))
    assert "session.timeout.ms" in str(status.problem)
    assert reported.report().problem is None
    assert reported.report(Standing()).problem is None, "it has just left"
    assert reported.report(Standing(problem="no broker answers"), after=OUTSIDE_SECONDS).problem == "no broker answers"


def test_a_partition_whose_first_record_waits_for_its_schema_has_a_lag() -> None:
    driver = Driver(decoder=Decoder(FieldMapping()))
    reported = Reported(driver)
    driver.engine.receive([Record(P0, 2, 0, b"k", b"\0\0\0\0\x63x")], driver.now)
    [shown] = reported.report(Standing(joined=True, ends={P0: 5})).partitions
    assert (shown.position, shown.lag) == (2, 3)


def test_a_pattern_that_matches_nothing_is_a_problem_and_logged_once_a_minute() -> None:
    reported = Reported(topics=Topics("the pattern ^crm matches no topic"))
    assert reported.report().problem == "the pattern ^crm matches no topic"
    reported.report()
    reported.report(after=LINE_SECONDS)
    assert reported.reminders == ["kafka"] * 2


def test_partitions_without_a_share_of_the_rate_are_a_problem_that_names_one() -> None:
    reported = Reported()
    reported.driver.engine.share(0.0, reported.driver.now)
    problem = str(reported.report().problem)
    assert problem.startswith(f"no share of the rate, so {P0.topic}/{P0.number} and others")
    reported.topics.problem = "no broker answers"
    assert "no broker answers" in str(reported.report().problem)
    reported.driver.engine.share(0.5, reported.driver.now)
    reported.topics.problem = None
    assert reported.report().problem is None
