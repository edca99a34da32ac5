"""The runbook: a page for each alert, in one form, that names only what is there."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import CollectorRegistry

from tests.rules.promql import ALERTS, ROOT, Promtool, served, unknown_names
from worker.ops.answers import Answers
from worker.ops.board import Board
from worker.ops.status import Halt, LastError, PartitionStatus, Status
from worker.settings.table import settings_table

PAGES = {path.stem: path.read_text(encoding="utf-8") for path in sorted((ROOT / "docs/runbook").glob("[!R]*.md"))}
INDEX = (ROOT / "docs/runbook/README.md").read_text(encoding="utf-8")
EVENTS = (ROOT / "docs/logs.md").read_text(encoding="utf-8")
SECTIONS = ["Symptom", "Meaning", "Look here first", "Mend", "Don't do this"]
every_page = pytest.mark.parametrize("page", PAGES)


def quoted(page: str, kind: str) -> list[str]:
    """The words in backticks in the line of this kind under "Look here first"."""
    (line,) = re.findall(rf"^- {kind}:((?:.|\n  )*)", PAGES[page], re.MULTILINE)
    return re.findall(r"`([^`]+)`", line)


def has(document: Any, path: list[str]) -> bool:  # noqa: ANN401 - JSON
    """Whether a path leads to something in a JSON document; through a list, by its first item."""
    if not path:
        return True
    inner = document[0] if isinstance(document, list) else document
    return isinstance(inner, dict) and path[0] in inner and has(inner[path[0]], path[1:])


def status() -> dict[str, Any]:
    """`/status` of a worker that has something in every field."""
    moment = datetime(2026, 5, 4, tzinfo=UTC)
    full = replace(
        Status.starting(version="1", instance="pod", group_id="group", rate_limit=150.0),
        halt=Halt("wrong_url", moment, "a redirect"),
        last_error=LastError(moment, "status 500"),
        partitions=(PartitionStatus("changes", 0, 1, 1, 2, paused=False, oldest_undelivered_seconds=1.0),),
    )
    answer = Answers(Board(full), CollectorRegistry(), stalled_after_seconds=60).answer("/status", "", "")
    document: dict[str, Any] = json.loads(answer.body)
    return document


def test_every_alert_has_a_page_and_every_page_an_alert() -> None:
    assert PAGES.keys() == ALERTS.keys()


def test_the_index_lists_every_alert_with_its_severity_in_order() -> None:
    listed = re.findall(r"^\| \[(\w+)\]\(\1\.md\) \| (\w+) \|", INDEX, re.MULTILINE)
    assert listed == [(alert, rule["labels"]["severity"]) for alert, rule in ALERTS.items()]


@every_page
def test_a_page_has_the_sections_in_order_and_is_short(page: str) -> None:
    assert PAGES[page].startswith(f"# {page}\n")
    assert re.findall(r"^## (.*)$", PAGES[page], re.MULTILINE) == SECTIONS
    assert PAGES[page].count("\n") < 60


@every_page
def test_a_page_names_metrics_that_are_served(page: str, promtool: Promtool, tmp_path: Path) -> None:
    expressions = [each for each in re.findall(r"`([^`]+)`", PAGES[page]) if "attribute_worker_" in each]
    histograms = {name.removesuffix("_sum") for name in served() if name.endswith("_sum")}
    assert [each for each in expressions if each not in histograms and unknown_names(each)] == []
    assert promtool.parse(expressions, tmp_path) == ""


@every_page
def test_a_page_names_fields_of_the_status(page: str) -> None:
    assert [path for path in quoted(page, "Status") if not has(status(), path.split("."))] == []


@every_page
def test_a_page_names_events_that_are_logged_and_their_fields(page: str) -> None:
    unknown = [word for word in quoted(page, "Log") if re.fullmatch(r"[a-z_]+", word) and f"`{word}`" not in EVENTS]
    assert unknown == []


@every_page
def test_a_page_names_settings_that_exist(page: str) -> None:
    settings = set(re.findall(r"`(WORKER_\w+[A-Z])`", PAGES[page]))
    assert {each for each in settings if f"`{each}`" not in settings_table()} == set()
