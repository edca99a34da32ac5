"""docs/metrics.md asks only what the worker serves, in expressions that Prometheus takes."""

from __future__ import annotations

import re
from pathlib import Path

from tests.rules.promql import ROOT, Promtool, unknown_names

QUESTIONS = re.findall(r"^\| .*\? \| `(.+)` \|$", (ROOT / "docs/metrics.md").read_text(encoding="utf-8"), re.MULTILINE)


def test_the_questions_can_be_asked(promtool: Promtool, tmp_path: Path) -> None:
    assert QUESTIONS
    assert promtool.parse(QUESTIONS, tmp_path) == ""


def test_the_questions_name_metrics_that_are_served() -> None:
    assert set().union(*map(unknown_names, QUESTIONS)) == set()
