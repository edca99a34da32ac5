"""An alert with one small mistake (a label less in `by` or `on`, a threshold a little off) fails promtool's tests."""

from __future__ import annotations

import copy
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from tests.rules.promql import ALERTS, Promtool

pytestmark = pytest.mark.slow

GROUP = re.compile(r"\b(?P<how>by|on) \((?P<labels>[^)]+)\)")
THRESHOLD = re.compile(r"(?<=[<>] )[0-9.]+")


def mutants(expression: str) -> Iterator[str]:
    for group in GROUP.finditer(expression):
        labels = group["labels"].split(", ")
        for label in labels:
            left = ", ".join(each for each in labels if each != label)
            yield f"{expression[: group.start()]}{group['how']} ({left}){expression[group.end() :]}"
    for threshold in THRESHOLD.finditer(expression):
        for value in neighbours(float(threshold[0])):
            yield f"{expression[: threshold.start()]}{value:g}{expression[threshold.end() :]}"


def neighbours(value: float) -> list[float]:
    """The nearest values that mean something else: of a count the next whole number, of a share a tenth of it."""
    if value == 0:
        return [1]
    step = max(1.0, value / 10) if value > 1 else value / 10
    return [value - step, value + step]


@pytest.mark.parametrize("alert", ALERTS)
def test_a_small_mistake_in_an_alert_is_found(alert: str, promtool: Promtool, tmp_path: Path) -> None:
    rule = ALERTS[alert]
    made = {f"Mutant{number}": expression for number, expression in enumerate(mutants(rule["expr"]))}
    assert made
    rules = [{**rule, "alert": name, "expr": expression} for name, expression in made.items()]
    (tmp_path / "rules.yaml").write_text(yaml.safe_dump({"groups": [{"name": "mutants", "rules": rules}]}))
    tests = yaml.safe_load((Path(__file__).parent / f"{alert}.yaml").read_text())
    tests["rule_files"] = ["rules.yaml"]
    for case in tests["tests"]:
        case["alert_rule_test"] = [
            {**copy.deepcopy(check), "alertname": name} for name in made for check in case["alert_rule_test"]
        ]
    (tmp_path / "tests.yaml").write_text(yaml.safe_dump(tests))
    found = set(re.findall(r"alertname: ?(Mutant\d+)", promtool.test(tmp_path / "tests.yaml")))
    assert [made[name] for name in sorted(made.keys() - found)] == []
