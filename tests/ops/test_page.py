"""The page for people."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime
from html.parser import HTMLParser

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.core.totals import Totals
from worker.ops.page import duration, render, size
from worker.ops.status import Halt, PartitionStatus, Rate, State, Status

NOW = datetime(2026, 5, 4, 12, 0, 0, tzinfo=UTC)
SINCE = datetime(2026, 5, 4, 9, 30, 0, tzinfo=UTC)
VOID = {"meta", "br"}
STATUS = replace(
    Status.starting(version="1.2.3", instance="worker-0", group_id="group", rate_limit=150.0),
    state=State.RUNNING,
    joined=True,
    rate=Rate(150.0, 75.0),
    partitions=(PartitionStatus("profile-changes", 7, 90, 80, 1100, paused=True, oldest_undelivered_seconds=3700.0),),
    totals=Totals(records=1000, calls=100, calls_saved=900, dead_letters=Counter({"rejected": 12, "undecodable": 0})),
)


class Outline(HTMLParser):
    """A page's elements and visible text. Also checks that the elements nest properly."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self._open: list[str] = []
        self.feed(page)
        self.close()
        assert self._open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self._open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        if "style" not in self._open:
            self.text += data


def outline(status: Status, *, stall: str | None = None, refresh: bool = True) -> Outline:
    return Outline(render(status, SINCE, now=NOW, stall=stall, refresh=refresh))


def test_the_page_shows_state_totals_partitions_and_dead_letters() -> None:
    text = " ".join(outline(STATUS).text.split())
    assert "running for 2 h 30 min, since 2026-05-04T09:30:00Z" in text
    assert "Calls saved90.0%" in text
    for shown in ("1,020", "1 h 1 min", "paused", "rejected", "12"):
        assert shown in text
    assert "undecodable" not in text


def test_a_halt_stands_out_with_its_reason_and_its_start() -> None:
    halt = Halt("unauthorized", datetime(2026, 5, 4, 11, 59, 0, tzinfo=UTC), "401; mend the token file")
    page = outline(replace(STATUS, state=State.HALTED, halt=halt))
    assert "halted: unauthorized for 1 min 0 s, since 2026-05-04T11:59:00Z" in " ".join(page.text.split())
    assert "401; mend the token file" in page.text
    assert ("section", {"class": "state bad", "aria-label": "State"}) in page.tags


def test_a_stall_is_shown_instead_of_the_old_state() -> None:
    page = outline(STATUS, stall="The main loop has not turned for 90 s.")
    assert "stalled" in page.text
    assert "has not turned for 90 s" in page.text
    assert "Delivering" not in page.text


def test_the_page_says_what_is_wrong_with_kafka() -> None:
    page = outline(replace(STATUS, joined=False, problem="no broker answers"))
    assert "no broker answers" in page.text
    assert "Not a member of the consumer group" in page.text
    assert ("section", {"class": "state warn", "aria-label": "State"}) in page.tags


def test_the_page_is_self_contained_and_accessible() -> None:
    page = outline(STATUS)
    names = [tag for tag, _ in page.tags]
    assert not {"script", "link", "img", "iframe", "form"} & set(names)
    assert all("src" not in attributes and "onclick" not in attributes for _, attributes in page.tags)
    assert ("html", {"lang": "en"}) in page.tags
    assert names.count("h1") == names.count("main") == 1
    assert all("scope" in attributes for tag, attributes in page.tags if tag == "th")
    ids = {attributes["id"] for _, attributes in page.tags if "id" in attributes}
    assert all(attributes.get("aria-labelledby", "now") in ids for _, attributes in page.tags)


def test_the_reader_can_stop_the_refresh() -> None:
    assert ("meta", {"http-equiv": "refresh", "content": "5"}) in outline(STATUS).tags
    still = outline(STATUS, refresh=False)
    assert all(attributes.get("http-equiv") != "refresh" for _, attributes in still.tags)


@given(st.text(alphabet="<>&\"'/ax=", min_size=1))
def test_no_text_becomes_markup(text: str) -> None:
    hostile = replace(
        STATUS,
        state=State.HALTED,
        version=text,
        instance=text,
        group_id=text,
        problem=text,
        halt=Halt(text, SINCE, text),
        partitions=(replace(STATUS.partitions[0], topic=text),),
        totals=Totals(dead_letters=Counter({text: 1}), replies=Counter({text: 1})),
    )
    plain = replace(
        hostile,
        version="x",
        instance="x",
        group_id="x",
        problem="x",
        halt=Halt("x", SINCE, "x"),
        partitions=(replace(STATUS.partitions[0], topic="x"),),
        totals=Totals(dead_letters=Counter({"x": 1}), replies=Counter({"x": 1})),
    )
    shown = outline(hostile)
    assert shown.tags == outline(plain).tags
    assert shown.text.count(text) >= 8


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(-1, "0 s"), (0.4, "0 s"), (59.9, "59 s"), (60, "1 min 0 s"), (3_599, "59 min 59 s"), (90_000, "1 d 1 h")],
)
def test_a_duration_is_shown_in_its_two_largest_units(seconds: float, words: str) -> None:
    assert duration(seconds) == words


@pytest.mark.parametrize(
    ("count", "words"),
    [(0, "0 B"), (1023, "1,023 B"), (1536, "1.5 KiB"), (1 << 28, "256.0 MiB"), (1 << 41, "2048.0 GiB")],
)
def test_a_size_is_shown_in_binary_units(count: int, words: str) -> None:
    assert size(count) == words
