"""What a job says of its progress."""

from __future__ import annotations

import io

import pytest

from worker.jobs.ticker import Ticker


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_without_a_terminal_a_line_comes_every_ten_seconds_with_an_estimate() -> None:
    now, stream = [0.0], io.StringIO()
    ticker = Ticker("reading", stream, lambda: now[0])
    for second in range(25):
        now[0] = float(second)
        ticker.show(second * 40, 1_000, "2 partitions", "offsets")
    ticker.end()
    assert stream.getvalue().splitlines() == [
        "reading: 40%, 400 of 1,000 offsets, 2 partitions, about 15 s left",
        "reading: 80%, 800 of 1,000 offsets, 2 partitions, about 5 s left",
    ]


def test_on_a_terminal_one_line_is_redrawn_and_cleared(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    now, stream = [0.0], Terminal()
    ticker = Ticker("sending", stream, lambda: now[0])
    ticker.show(1, 4)
    ticker.show(2, 4)
    now[0] = 7_200.0
    ticker.show(2, 4)
    ticker.end()
    assert stream.getvalue().split("\r\x1b[K") == [
        "",
        "[######..................] sending: 25%, 1 of 4",
        "[############............] sending: 50%, 2 of 4, about 2 h 0 min left",
        "",
    ]


def test_a_job_with_nothing_to_do_is_done() -> None:
    now, stream = [0.0], io.StringIO()
    ticker = Ticker("reading", stream, lambda: now[0])
    now[0] = 10.0
    ticker.show(0, 0)
    assert stream.getvalue() == "reading: 100%, 0 of 0\n"
