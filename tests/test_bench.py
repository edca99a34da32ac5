"""The bench runs, with loads too small to measure anything, and its report is complete."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx
import pytest

from bench import comparison, destination, reach, transports
from bench.compiled import NotBuilt
from bench.destination import Destination
from bench.figures import Figure
from bench.report import Spread, machine, rows, table
from bench.results import Key, Results
from bench.stage import EVENTS_PER_SECOND, Measure, Repetitions, Row, Sample, Stage, ratios, workers_to_its

ROOT = Path(__file__).parent.parent
NAMES = ["decode alone", "decode + preflight", "worker 1:1", "worker 100:1", "destination alone"]


def reported(module: str, *options: str) -> dict[str, Any]:
    """What a bench prints, with one repetition."""
    done = subprocess.run(
        [sys.executable, "-m", module, "--json", "--repetitions", "1", *options],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    assert str(ROOT) not in done.stdout
    return dict(json.loads(done.stdout))


@pytest.mark.slow
def test_it_runs_and_reports_every_row() -> None:
    report = reported("bench.throughput", "--mock", "--one-to-one", "40", "--hundred-to-one", "2000")
    assert report["broker"] == "librdkafka's embedded mock"
    assert {"worker", "cpu", "cores", "python", "load_average", "repetitions"} < report.keys()
    measured = {row["name"]: row for row in report["rows"]}
    assert list(measured) == NAMES
    assert [measured[name]["events"] for name in NAMES[:4]] == [2040, 2040, 40, 2000]
    assert all(row["events_per_second"]["median"] > 0 for row in measured.values())
    assert measured["worker 1:1"]["events_per_call"]["median"] == 1
    assert measured["worker 100:1"]["events_per_call"]["median"] > 50
    assert measured["worker 1:1"]["cpu_to_decode_alone"]["median"] > 1


@pytest.mark.slow
def test_a_replays_reading_is_measured_beside_decoding() -> None:
    rows = reported("bench.reading", "--mock", "--events", "2000")["rows"]
    names = ["consume + decode", "consume + fastavro", "replay reads"]
    assert [(row["load"], row["name"]) for row in rows] == [(load, name) for load in ("1:1", "100:1") for name in names]
    assert all(row["events_per_second"]["median"] > 0 for row in rows)
    assert all(row["speed_to_decode"]["median"] == row["cpu_to_decode"]["median"] == 1 for row in rows[::3])


@pytest.mark.slow
def test_the_transports_are_measured_side_by_side(capsys: pytest.CaptureFixture[str]) -> None:
    assert transports.main(["--repetitions", "1", "--calls", "160", "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert [row["name"] for row in report["rows"]] == [
        "httpx.AsyncClient",
        "httpx.AsyncHTTPTransport",
        "the worker's transport",
    ]
    assert all(row["cpu_ms_per_call"]["median"] > 0 for row in report["rows"])
    assert report["rows"][-1]["cpu_to_the_workers"] == {"median": 1, "low": 1, "high": 1}


def test_a_ratio_compares_rows_of_the_same_repetition() -> None:
    """If the machine is twice as slow in one repetition, the ratios stay the same."""
    quiet = {"decode alone": Figure(1000, 1.0, 1.0), "worker 1:1": Figure(100, 1.0, 0.8, calls=100)}
    busy = {"decode alone": Figure(1000, 2.0, 2.0), "worker 1:1": Figure(100, 2.0, 1.6, calls=100)}
    [base, worker] = rows([quiet, busy])
    assert base.events_per_second == Spread(750, 500, 1000)
    assert worker.cpu_to_decode_alone == Spread(8, 8, 8)
    assert worker.time_to_decode_alone == Spread(10, 10, 10)
    head, first, second = table([base, worker]).splitlines()
    assert "CPU s per 1,000 events" in head
    assert "750 (500-1,000)" in first
    assert second.split() == [
        "worker",
        "1:1",
        "100",
        "1.0",
        "75",
        "(50-100)",
        "12.0000",
        "(8.0000-16.0000)",
        "8.0",
        "10.0",
    ]


MACHINE = {"cpu": "model 1", "cores": 2, "system": "Linux", "python": "3.11", "pinned": True, "broker": "a process"}


def results(*repetitions: dict[str, float], **facts: object) -> Results:
    """Of a row in which each of these makes so many events a second, on one machine."""
    samples = [[Sample(who, EVENTS_PER_SECOND, value) for who, value in each.items()] for each in repetitions]
    return Results.of({"1:1": [[*each, *ratios(each)] for each in samples]}, {**MACHINE, **facts})


def test_the_workers_ratio_to_a_peer_is_of_the_same_repetition() -> None:
    """The machine is twice as slow in the second one."""
    measured = results({"worker": 100, "peer": 400}, {"worker": 50, "peer": 200})
    assert measured.spread(Key("1:1", "peer", workers_to_its(EVENTS_PER_SECOND))) == Spread(0.25, 0.25, 0.25)
    assert measured.spread(Key("1:1", "worker", EVENTS_PER_SECOND)) == Spread(75, 50, 100)


def test_results_are_read_as_they_were_kept() -> None:
    measured = results({"worker": 100, "peer": 400}, date="2026-01-01")
    assert Results.read(json.loads(json.dumps(measured.as_json()))) == measured


def test_what_got_worse_by_more_than_the_noise_is_named() -> None:
    before = results({"worker": 100}, {"worker": 104}, {"worker": 108})
    [change] = comparison.changes(before, results({"worker": 90}, {"worker": 92}, {"worker": 94}))
    assert change.worse
    assert change.text() == "worse: 1:1, worker, events/s: 104 (100-108) -> 92.0 (90.0-94.0)"
    [better] = comparison.changes(before, results({"worker": 120}))
    assert not better.worse
    assert not comparison.changes(before, results({"worker": 97}))  # within the spread before
    assert not comparison.changes(before, results({"worker": 80}, {"worker": 90}, {"worker": 110}))  # its own spread


def test_lower_is_worse_only_where_higher_is_better() -> None:
    key = Key("backlog", "worker", Measure("answered 429", higher_is_better=False))
    [change] = comparison.changes(Results(MACHINE, {key: [0.0]}), Results(MACHINE, {key: [1.0]}))
    assert change.worse


@pytest.mark.parametrize(
    "other", [{"cores": 64}, {"cpu": "model 2"}, {"broker": "a container"}, {"pinned": False}, {"cpu": None}]
)
def test_between_two_machines_only_ratios_are_compared(other: dict[str, object]) -> None:
    before = results({"worker": 100, "peer": 100}, **other)
    assert comparison.unlike(before, results({"worker": 10, "peer": 20})) == list(other)
    [change] = comparison.changes(before, results({"worker": 10, "peer": 20}))
    assert change.key == Key("1:1", "peer", workers_to_its(EVENTS_PER_SECOND))
    assert change.worse


def test_results_that_tell_neither_cpu_nor_broker_are_of_another_machine() -> None:
    """So are those of before these were told, and those of a system that tells no CPU, even beside their like."""
    facts = {name: value for name, value in MACHINE.items() if name not in {"cpu", "broker"}}
    before = Results.read(Results(facts, results({"worker": 100}).values).as_json())
    now = Results({**MACHINE, "cpu": None}, results({"worker": 10}).values)
    assert comparison.unlike(before, now) == ["cpu", "broker"]
    assert not comparison.changes(before, now)
    assert comparison.unlike(now, now) == ["cpu"]


def test_the_machine_is_told_with_its_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    processor = "processor\t: 0\ncpu family\t: 6\nmodel\t\t: 207\nmodel name\t: Some CPU\nflags\t\t: fpu vme\n"
    monkeypatch.setattr(Path, "read_text", lambda _: f"{processor}\n{processor.replace('Some', 'Another')}")
    assert machine()["cpu"] == "model name Some CPU, cpu family 6, model 207"


def test_a_system_that_tells_no_cpu_is_none_the_worse(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(_: Path) -> str:
        raise FileNotFoundError

    monkeypatch.setattr(Path, "read_text", missing)
    assert machine()["cpu"] is None


def test_it_says_what_was_reached() -> None:
    goals = [reach.Goal(Key("1:1", who, EVENTS_PER_SECOND), 50) for who in ("worker", "peer", "nobody")]
    _, _, first, second = reach.table(results({"worker": 49, "peer": 50}), goals).splitlines()
    assert [each.strip() for each in first.split("|")[1:-1]] == [
        "1:1",
        "events/s",
        "49.0",
        "at least 50",
        "NOT REACHED",
    ]
    assert [each.strip() for each in second.split("|")[1:-1]] == [
        "1:1",
        "peer: events/s",
        "50.0",
        "at least 50",
        "reached",
    ]


def test_a_row_ends_what_it_has_started(tmp_path: Path) -> None:
    ended = []

    def repeat() -> Repetitions:
        try:
            while True:
                yield [Sample("worker", EVENTS_PER_SECOND, 1.0)]
        finally:
            ended.append(True)

    made = repeat()  # held here, so that nobody but the row ends it
    row = Row("row", "a row", lambda _: made, repetitions_max=2)
    stage = Stage(None, tmp_path, quick=True)  # type: ignore[arg-type]  # this row needs no broker
    assert len(list(row.repeated(stage, 5))) == 2
    assert ended


@pytest.fixture(scope="module")
def scratch(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("destination")


def compiled(scratch: Path, *options: str) -> Destination:
    """The destination in Go. Options make sure that it is that one."""
    try:
        return Destination(scratch, *(options or ("-delay", "0s")))
    except NotBuilt as problem:
        if os.environ.get("REQUIRE_GO"):
            raise
        pytest.skip(str(problem))


def call(to: Destination, body: str = "{}") -> httpx.Response:
    return httpx.post(f"{to.base_url}/attributes/custom", content=body)


@pytest.mark.slow
def test_the_compiled_destination_counts_and_tells_delays(scratch: Path) -> None:
    """Slow only where nothing of Go was built before."""
    running = compiled(scratch)
    try:
        assert running.counted() == (0, 0, 0, 0.0, 0.0)
        assert call(running, '{"properties":{"sent_us":1000,"a":1}}').status_code == 200
        assert call(running).json() == {}
        counted = running.counted()
        assert counted.calls == 2
        assert 0 < counted.first < counted.last
        [delay] = running.delays()
        assert delay == pytest.approx(counted.first * 1e6 - 1000, abs=10)
        assert running.delays() == []
        assert running.alone(100).events == 100
        assert running.counted().calls == 102
    finally:
        running.stop()


@pytest.mark.slow
def test_the_compiled_destination_limits_as_the_api_does(scratch: Path) -> None:
    running = compiled(scratch, "-limit", "2")
    try:
        answers = [call(running) for _ in range(20)]
        over = [answer for answer in answers if answer.status_code == 429]
        assert {answer.headers["x-ratelimit-limit"] for answer in answers} == {"2"}
        assert {answer.headers["x-ratelimit-remaining"] for answer in over} == {"0"}
        assert answers[0].headers["x-ratelimit-remaining"] == "1"
        assert running.counted().limited == len(over) > 0
        assert running.counted().calls == 20 - len(over) >= 2
    finally:
        running.stop()


@pytest.mark.slow
def test_the_compiled_destination_is_down_at_first_and_slow(scratch: Path) -> None:
    running = compiled(scratch, "-down", "50ms", "-delay", "60ms")
    try:
        first, second = call(running), call(running)
        assert (first.status_code, second.status_code) == (503, 200)
        assert second.elapsed.total_seconds() >= 0.06
        assert running.counted()[:3] == (1, 0, 1)
    finally:
        running.stop()


@pytest.mark.slow
@pytest.mark.kafka
def test_the_whole_bench_measures_a_row_and_says_what_was_reached() -> None:
    """A row without peers: these would be installed first."""
    report = reported("bench.suite", "--quick", "--only", "start")
    assert {"date", "commit", "pinned", "cores", "cpu", "broker"} < report.keys()
    assert {figure["measure"] for figure in report["figures"]} == {
        "s from exec to the first call",
        "s for --help",
        "MiB resident at rest",
    }
    assert all(figure["median"] > 0 for figure in report["figures"])


@pytest.mark.slow
def test_without_go_a_destination_in_python_takes_its_place_aloud(
    scratch: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def no_go(_: Path) -> Path:
        raise NotBuilt("there is no Go: install it")

    monkeypatch.setattr(destination, "program", no_go)
    destination.command.cache_clear()
    try:
        plain = Destination(scratch)
        try:
            assert call(plain).json() == {}
            counted = plain.counted()
        finally:
            plain.stop()
        with pytest.raises(NotBuilt, match="install"):
            Destination(scratch, "-limit", "2")
    finally:
        destination.command.cache_clear()
    assert counted[:3] == (1, 0, 0)
    assert 0 < counted.first == counted.last
    assert "there is no Go: install it" in capsys.readouterr().err
