"""docs/bad-day.md has one form and names only what is there; docs/operations.md sizes memory as the worker counts."""

from __future__ import annotations

import re

import pytest

from tests.core.drive import Driver
from tests.rules.promql import ALERTS, ROOT, served
from worker.settings.table import settings_table

PAGE = (ROOT / "docs/bad-day.md").read_text(encoding="utf-8")
OPERATIONS = (ROOT / "docs/operations.md").read_text(encoding="utf-8")
EVENTS = (ROOT / "docs/logs.md").read_text(encoding="utf-8")
DAYS = dict(section.split("\n", 1) for section in PAGE.split("\n## ")[1:])
PARTS = ["By itself.", "Look at.", "Do.", "Don't."]
MENDING = [day for day, section in DAYS.items() if "**You see.**" in section]
MENDING_PARTS = ["You see.", "First.", "It says.", "Then."]


def test_the_page_lists_its_days() -> None:
    assert re.findall(r"^\d+\. \[(.+?)\]", PAGE, re.MULTILINE) == list(DAYS)


@pytest.mark.parametrize("day", DAYS)
def test_a_day_says_what_the_worker_does_and_what_a_person_does_and_does_not_do(day: str) -> None:
    parts = MENDING_PARTS if day in MENDING else PARTS
    assert re.findall(r"^\*\*(.+?)\*\*", DAYS[day], re.MULTILINE) == parts


@pytest.mark.parametrize("page", [PAGE, OPERATIONS], ids=["bad-day", "operations"])
def test_a_page_names_settings_metrics_and_alerts_that_exist(page: str) -> None:
    settings = set(re.findall(r"`(WORKER_[A-Z]+__\w+?)[=`]", page))
    assert {each for each in settings if f"`{each}`" not in settings_table()} == set()
    metrics = set(re.findall(r"`(attribute_worker_\w+)`", page))
    assert metrics <= served().keys()
    alerts = set(re.findall(r"`(AttributeWorker\w+)`", page))
    assert alerts <= ALERTS.keys()
    assert settings
    assert metrics


def test_the_page_names_events_and_halts_that_are_logged() -> None:
    for event in ("progress", "partition_stuck", "records_deleted_unread"):
        assert f"`{event}`" in PAGE
        assert f"`{event}`" in EVENTS


def test_memory_is_sized_as_it_is_counted() -> None:
    stated = re.search(r"takes about ([\d.]+) kB, and each further change of all five ([\d.]+) kB", OPERATIONS)
    assert stated is not None
    driver, users, held = Driver(window_seconds=3_600.0, max_bytes=1_000_000_000), 200, [0]
    for turn in range(2):
        for user in range(users):
            driver.change(user, {f"attribute_{number}": f"value {turn} of it" for number in range(5)})
        held.append(driver.status.held_bytes - sum(held))
    assert [each / users / 1000 for each in held[1:]] == pytest.approx(list(map(float, stated.groups())), rel=0.1)
