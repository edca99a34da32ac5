"""A report of pip-audit that looked nothing up must not count as a clean one."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.image.audit import CLEAN, NOT_REACHED, VULNERABLE, judge

FINE = {"name": "fine", "version": "1", "vulns": []}
SKIPPED = {"name": "unknown", "skip_reason": "not found"}
BAD = {"name": "bad", "version": "1", "vulns": [{"id": "CVE-1"}, {"id": "CVE-2"}]}


@pytest.mark.parametrize(
    ("packages", "expected"),
    [
        ([FINE], CLEAN),
        ([FINE, SKIPPED], NOT_REACHED),
        ([], NOT_REACHED),
        ([FINE, BAD], VULNERABLE),
        ([SKIPPED, BAD], VULNERABLE),
    ],
)
def test_a_report_is_clean_only_if_all_were_looked_up(
    tmp_path: Path, packages: list[object], expected: int, capsys: pytest.CaptureFixture[str]
) -> None:
    report = tmp_path / "audit.json"
    report.write_text(json.dumps({"dependencies": packages}))
    assert judge(report) == expected
    assert ("bad 1: CVE-1, CVE-2" in capsys.readouterr().out) == (expected == VULNERABLE)


def test_no_report_at_all_means_that_nothing_was_reached(tmp_path: Path) -> None:
    assert judge(tmp_path / "absent.json") == NOT_REACHED
