"""The alerts: valid, on metrics that the worker serves, each with tests of its own that can fail.

The tests themselves are promtool's, beside this file: promtool test rules tests/rules/*.yaml
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.rules.promql import ALERTS, ROOT, RULES, Promtool, unknown_names

TESTS = sorted(Path(__file__).parent.glob("*.yaml"))
NEVER, ALWAYS = "vector(0) > 1", "vector(1)"


def test_the_file_is_valid(promtool: Promtool) -> None:
    assert promtool.check(RULES) == ""


@pytest.mark.parametrize("alert", ALERTS)
def test_an_alert_looks_at_metrics_that_the_worker_serves(alert: str) -> None:
    assert unknown_names(ALERTS[alert]["expr"]) == set()


@pytest.mark.parametrize(
    ("expression", "unknown"),
    [
        ("max by (reason) (attribute_worker_halt)", {"attribute_worker_halt", "reason"}),
        ('attribute_worker_drains_total{result="done"}', {"done"}),
        ('attribute_worker_ready{reason!="x"}', {"reason"}),
        ("sum by (pod, outcome) (attribute_worker_calls_total)", {"outcome"}),
        ("sum by (le) (rate(attribute_worker_call_duration_seconds_bucket[5m]))", set()),
    ],
)
def test_an_expression_on_what_is_not_there_is_found(expression: str, unknown: set[str]) -> None:
    assert unknown_names(expression) == unknown


@pytest.mark.parametrize("alert", ALERTS)
def test_an_alert_says_what_happened_and_where_to_read_on(alert: str) -> None:
    rule = ALERTS[alert]
    assert rule["annotations"].keys() == {"summary", "description", "runbook_url"}
    assert rule["annotations"]["runbook_url"] == f"docs/runbook/{alert}.md"
    assert rule["labels"].keys() == {"severity"}
    assert rule["labels"]["severity"] in {"critical", "warning", "info"}


def test_every_alert_has_tests() -> None:
    assert {path.stem for path in TESTS} == ALERTS.keys()


@pytest.mark.parametrize("path", TESTS, ids=lambda path: path.stem)
def test_an_alert_fires_when_it_should_and_not_before(path: Path, promtool: Promtool) -> None:
    assert promtool.test(path) == ""


@pytest.mark.parametrize("path", TESTS, ids=lambda path: path.stem)
def test_a_file_tests_its_alert_firing_waiting_and_silent(path: Path) -> None:
    checks = [case["alert_rule_test"] for case in yaml.safe_load(path.read_text())["tests"]]
    assert {check["alertname"] for case in checks for check in case} == {path.stem}
    fires = [[bool(check["exp_alerts"]) for check in case] for case in checks]
    assert any(case[0] is False and True in case for case in fires), "no case is silent first, and then fires"
    assert any(not any(case) for case in fires), "no case is steady"


@pytest.mark.slow
@pytest.mark.parametrize("alert", ALERTS)
def test_the_tests_of_an_alert_can_fail(alert: str, promtool: Promtool, tmp_path: Path) -> None:
    changes: list[dict[str, Any]] = [{"expr": NEVER}, {"expr": ALWAYS}, {"annotations": {"summary": ""}}]
    if "for" in ALERTS[alert]:
        changes.append({"for": "0s"})
    tests = (Path(__file__).parent / f"{alert}.yaml").read_text()
    (tmp_path / "tests.yaml").write_text(tests.replace(f"../../{RULES.relative_to(ROOT)}", "rules.yaml"))
    for change in changes:
        changed = [{**rule, **change} if rule["alert"] == alert else rule for rule in ALERTS.values()]
        (tmp_path / "rules.yaml").write_text(yaml.safe_dump({"groups": [{"name": "changed", "rules": changed}]}))
        assert "FAILED" in promtool.test(tmp_path / "tests.yaml"), change
