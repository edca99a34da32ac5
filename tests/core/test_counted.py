"""A count with its noun."""

from __future__ import annotations

from worker.core.counted import counted


def test_one_is_no_plural() -> None:
    assert [counted(number, "call") for number in (0, 1, 2, 1200)] == ["0 calls", "1 call", "2 calls", "1,200 calls"]
