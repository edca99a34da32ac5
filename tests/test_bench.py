"""The bench runs, with loads too small to measure anything, and its report is complete."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from bench import transports
from bench.figures import Figure
from bench.report import Spread, rows, table

ROOT = Path(__file__).parent.parent
NAMES = ["decode alone", "decode + preflight", "worker 1:1", "worker 100:1", "destination alone"]


def reported(module: str, *options: str) -> dict[str, Any]:
    """What a bench prints, with one repetition on the embedded mock."""
    done = subprocess.run(
        [sys.executable, "-m", module, "--mock", "--json", "--repetitions", "1", *options],
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
    report = reported("bench.throughput", "--one-to-one", "40", "--hundred-to-one", "2000")
    assert report["broker"] == "librdkafka's embedded mock"
    assert {"worker", "cores", "python", "load_average", "repetitions"} < report.keys()
    measured = {row["name"]: row for row in report["rows"]}
    assert list(measured) == NAMES
    assert [measured[name]["events"] for name in NAMES[:4]] == [2040, 2040, 40, 2000]
    assert all(row["events_per_second"]["median"] > 0 for row in measured.values())
    assert measured["worker 1:1"]["events_per_call"]["median"] == 1
    assert measured["worker 100:1"]["events_per_call"]["median"] > 50
    assert measured["worker 1:1"]["cpu_to_decode_alone"]["median"] > 1


@pytest.mark.slow
def test_a_replays_reading_is_measured_beside_decoding() -> None:
    rows = reported("bench.reading", "--events", "2000")["rows"]
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
