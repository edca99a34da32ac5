"""The dashboard: what the code makes, on metrics that the worker serves."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from helm.dashboard import PATH, document
from tests.rules.promql import DASHBOARD, PANELS, TARGETS, Promtool, by_grafana, unknown_names

every_target = pytest.mark.parametrize("target", TARGETS.values(), ids=TARGETS)


def test_the_file_is_what_the_code_makes() -> None:
    assert PATH.read_text(encoding="utf-8") == document(), "it is old: run scripts/generate-chart"


def test_it_asks_from_top_to_bottom() -> None:
    rows = [panel["title"] for panel in DASHBOARD["panels"] if panel["type"] == "row"]
    assert rows == ["Is it delivering?", "What holds it back?", "Who is refused?", "What does it cost?"]


def test_panels_lie_side_by_side() -> None:
    taken = Counter(
        (x, y)
        for place in (panel["gridPos"] for panel in DASHBOARD["panels"])
        for x in range(place["x"], place["x"] + place["w"])
        for y in range(place["y"], place["y"] + place["h"])
    )
    assert max(taken.values()) == 1
    assert max(x for x, _ in taken) < 24


def test_a_panel_says_what_it_shows() -> None:
    assert [panel["title"] for panel in PANELS if not panel.get("description") or not panel["targets"]] == []


@every_target
def test_a_panel_looks_at_metrics_that_the_worker_serves(target: dict[str, Any]) -> None:
    assert unknown_names(target["expr"]) == set()


@every_target
def test_a_panel_looks_at_the_chosen_workers_alone(target: dict[str, Any]) -> None:
    metrics = re.findall(r"(?:attribute_worker|process)_\w+", target["expr"])
    assert target["expr"].count('{namespace=~"$namespace", job=~"$job"}') == len(metrics) > 0
    assert "HERE" not in target["expr"]
    assert "[RATE]" not in target["expr"]


@every_target
def test_a_legend_names_labels_that_the_expression_keeps(target: dict[str, Any]) -> None:
    named = re.findall(r"\{\{(\w+)\}\}", target["legendFormat"])
    kept = re.findall(r"\bby \((\w+)\)", target["expr"])
    assert "process_" in target["expr"] or set(named) <= set(kept)


def test_every_expression_is_one(promtool: Promtool, tmp_path: Path) -> None:
    assert promtool.parse([by_grafana(target["expr"]) for target in TARGETS.values()], tmp_path) == ""


def test_what_is_no_expression_is_found(promtool: Promtool, tmp_path: Path) -> None:
    assert "FAILED" in promtool.parse(["sum by (topic (attribute_worker_ready)"], tmp_path)


def test_the_workers_and_the_source_are_chosen_by_the_reader() -> None:
    assert [variable["name"] for variable in DASHBOARD["templating"]["list"]] == ["datasource", "namespace", "job"]
    assert {panel["datasource"]["uid"] for panel in PANELS} == {"${datasource}"}
