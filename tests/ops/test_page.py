"""The page for people."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry

from tests.ops.outline import Outline
from tests.ops.scenes import NOW, RUNNING, SCENES, SINCE, STARTING, Scene, Staged, full_of, halted, past
from tests.rules.promql import ALERTS, ROOT
from worker.core.delivery.gate import HaltReason
from worker.ops.answers import Answers
from worker.ops.board import Board
from worker.ops.page.document import render
from worker.ops.page.headline import headline
from worker.ops.page.words import duration, per_second, size
from worker.ops.status import Halt, Problem, Rate, State, Status

PAST = past(RUNNING)
every_scene = pytest.mark.parametrize("scene", SCENES.values(), ids=SCENES)


def outline(status: Status, *, stall: str | None = None, refresh: bool = True) -> Outline:
    return Outline(render(status, SINCE, *PAST, now=NOW, stall=stall, refresh=refresh))


@every_scene
def test_the_state_is_one_sentence_with_why_since_when_and_what_to_do(scene: Scene) -> None:
    page, first = outline(scene.status, stall=scene.stall), headline(scene.status, SINCE, NOW, scene.stall)
    assert first.sentence.count(".") == 1
    assert page.words.index(first.sentence) < page.words.index("Now")
    assert ("section", {"class": f"state {first.tone}", "aria-labelledby": "state"}) in page.tags
    assert all(line in page.text for line in first.why)
    assert "What to do" in page.text
    assert "for 2 h 30 min" in page.text or "for 12 min" in page.text
    if first.tone != "good":
        assert first.why
        assert f"docs/runbook/{first.page}.md" in page.links


def test_a_link_to_the_runbook_is_that_of_an_alert_and_its_page_is_served() -> None:
    answers = Answers(Board(STARTING), CollectorRegistry(), stalled_after_seconds=60)
    runbook = {rule["annotations"]["runbook_url"] for rule in ALERTS.values()}
    found = {link for scene in SCENES.values() for link in outline(scene.status, stall=scene.stall).links}
    pages = {link for link in found if "runbook" in link}
    assert pages <= runbook
    assert len(pages) == 8
    for link in found:
        path, _, query = f"/{link}".partition("?")
        assert answers.answer(path, query, "").status in {200, 503}, link
    for page in runbook:
        answer = answers.answer(f"/{page}", "", "")
        assert (answer.status, answer.body.decode().strip()) == (200, (ROOT / page).read_text("utf-8").strip())
    assert answers.answer("/docs/runbook/", "", "").body == answers.answer("/docs/runbook/README.md", "", "").body


def test_whatever_the_runbook_links_to_in_docs_is_served_and_nothing_outside() -> None:
    answers = Answers(Board(STARTING), CollectorRegistry(), stalled_after_seconds=60)
    for page in (ROOT / "docs/runbook").glob("*.md"):
        for link in re.findall(r"\]\(([^)#:]+\.md)", page.read_text("utf-8")):
            target = (page.parent / link).resolve().relative_to(ROOT)
            assert answers.answer(f"/{target}", "", "").status == 200, (page.name, link)
    for path in ("/docs/runbook/../logs.md", "/docs/../README.md", "/README.md", "/docs", "/docs/"):
        assert answers.answer(path, "", "").status == 404, path


@pytest.mark.parametrize("reason", HaltReason)
def test_each_halt_says_what_it_is_what_was_met_and_how_to_mend_it(reason: HaltReason) -> None:
    status = halted(reason)
    first = headline(status, SINCE, NOW, None)
    assert status.halt is not None
    others = [headline(halted(other), SINCE, NOW, None) for other in HaltReason if other != reason]
    assert first.sentence not in {other.sentence for other in others}
    assert (first.since, first.why[0], first.to_do) == (status.halt.since, status.halt.met, status.halt.mend)
    assert ("asked again in 8 s" in outline(status).text) == (status.halt.next_probe is not None)


def test_an_unknown_halt_without_advice_is_told_all_the_same() -> None:
    page = outline(replace(RUNNING, state=State.HALTED, halt=Halt("odd", SINCE, "the token file: empty"), problem="p"))
    assert "Halted: calls or dead letters are held back." in page.text
    assert "the token file: empty" in page.text
    assert "Mend that." in page.text


def test_what_else_is_in_the_way_is_told_in_every_state() -> None:
    for state in State:
        halt = Halt("unauthorized", SINCE, "status 401") if state is State.HALTED else None
        page = outline(replace(RUNNING, state=state, halt=halt, problem="no broker answers"))
        assert "no broker answers" in page.text
    refused = halted(HaltReason.UNAUTHORIZED)
    assert "Its calls are halted (unauthorized)" in outline(replace(refused, state=State.DRAINING)).text
    assert "not a member" in outline(replace(refused, joined=False)).text


@pytest.mark.parametrize("problem", Problem)
@pytest.mark.parametrize("status", [STARTING, RUNNING], ids=lambda status: str(status.state))
def test_each_problem_has_its_own_advice(problem: Problem, status: Status) -> None:
    def advice(kind: Problem) -> str:
        return headline(replace(status, problem="it waits", problems=(kind,)), SINCE, NOW, None).to_do

    assert advice(problem) not in {advice(other) for other in Problem if other != problem}


def test_a_drain_says_how_long_it_takes_at_most() -> None:
    assert "Nothing: it ends by itself within 20 s." in outline(SCENES["draining"].status).text


def test_a_stall_began_when_the_loop_turned_last() -> None:
    """Whenever the state was reached that the board still shows."""
    answers = Answers(Staged(SCENES["stalled"]), CollectorRegistry(), stalled_after_seconds=60)
    assert ", for 1 min 30 s" in Outline(answers.answer("/", "", "").body.decode()).words


def test_a_window_that_is_longer_than_an_alert_waits_makes_no_change_late() -> None:
    late = SCENES["running-late"].status
    assert headline(late, SINCE, NOW, None).tone == "warn"
    patient = replace(late, settings={"window.seconds": 10_000.0})
    assert headline(patient, SINCE, NOW, None).tone == "good"


def test_many_dead_letters_are_told_and_a_few_or_old_ones_are_not() -> None:
    """The scene's ten letters are of the last eight minutes; those of `RUNNING` lie seven minutes apart."""
    many = SCENES["running-with-many-letters"].status
    first = headline(many, SINCE, NOW, None)
    assert (first.tone, first.page) == ("warn", "AttributeWorkerDeadLetters")
    assert first.why == ("The latest 10 dead letters are from the last 15 min: rejected, undecodable.",)
    assert headline(RUNNING, SINCE, NOW, None).tone == "good"
    few = replace(many, latest_dead_letters=many.latest_dead_letters[:9])
    assert headline(few, SINCE, NOW, None).tone == "good"


def test_the_page_shows_totals_partitions_and_dead_letters() -> None:
    page = outline(RUNNING)
    for shown in ("87.8%", "9,200", "paused", "rejected 12", "undecodable 3", "31.0 MiB", "of 256.0 MiB"):
        assert shown in page.words
    assert "rejected profile-changes-0@9000 loyalty_tier, store 1 min ago" in page.words
    assert "undecodable profile-changes-1@9001 – 8 min ago" in page.words  # noqa: RUF001 - the sign for no value


def test_the_page_shows_the_destination_and_the_settings() -> None:
    page = outline(halted(HaltReason.WRONG_URL))
    assert "Calls go to https://api.attentivemobile.com" in page.words
    assert "In the last minute 40.7/s 2,442 calls ended, 2,384 delivered" in page.words
    assert "Last error status 302, which points to login.example.com/sign-in/… 2 s ago" in page.words
    assert "Next probe in 8 s 2026-05-04T12:00:08Z" in page.words
    settings = {"window.seconds": "5", "window.max_bytes": "256.0 MiB", "kafka.topics": "profile-changes"}
    for name, value in settings.items():
        assert f"{name} {value}" in page.words


def test_the_page_shows_the_rate_of_now() -> None:
    rates = {
        "142.5 calls a second, of 150 for the token": (halted(HaltReason.UNAUTHORIZED), 142.5),
        "0.0 of 142.5 calls a second, of 150 for the token: a halt lets only single probes go": (
            halted(HaltReason.UNAUTHORIZED),
            0.0,
        ),
        "0.0 of 142.5 calls a second, of 150 for the token: a pause that it asked for": (RUNNING, 0.0),
        "71.2 of 142.5 calls a second, of 150 for the token": (RUNNING, 71.25),
    }
    for text, (status, current) in rates.items():
        assert text in outline(replace(status, rate=Rate(150.0, 142.5, current))).text


def test_before_the_first_report_the_page_says_so() -> None:
    history = Board(STARTING).history
    page = Outline(render(STARTING, SINCE, history.steps(), history.last_minute(), now=NOW, stall=None, refresh=True))
    assert page.words.count("No data yet.") == 2 * 3  # each for the eye and as the picture's text
    assert "None assigned." in page.text


@every_scene
def test_the_page_is_self_contained_and_accessible(scene: Scene) -> None:
    page = outline(scene.status, stall=scene.stall)
    names = [tag for tag, _ in page.tags]
    assert not {"script", "link", "img", "iframe", "form"} & set(names)
    assert all("src" not in attributes and "onclick" not in attributes for _, attributes in page.tags)
    assert ("html", {"lang": "en"}) in page.tags
    assert names.count("h1") == names.count("main") == 1
    assert all("scope" in attributes for tag, attributes in page.tags if tag == "th")
    ids = [attributes["id"] for _, attributes in page.tags if "id" in attributes]
    assert len(ids) == len(set(ids))
    for relation in ("aria-labelledby", "aria-describedby"):
        assert {attributes[relation] for _, attributes in page.tags if relation in attributes} <= set(ids)
    assert names.count("svg") == names.count("desc") == names.count("figcaption") == 3


def test_the_reader_can_stop_the_refresh() -> None:
    assert ("meta", {"http-equiv": "refresh", "content": "5"}) in outline(RUNNING).tags
    still = outline(RUNNING, refresh=False)
    assert all(attributes.get("http-equiv") != "refresh" for _, attributes in still.tags)


@given(st.text(alphabet="<>&\"'/ax=", min_size=1, max_size=20))
def test_no_text_becomes_markup(text: str) -> None:
    shown = outline(full_of(text))
    assert shown.tags == outline(full_of("x" * len(text))).tags
    assert shown.text.count(text) >= 16


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        *((-1, "0 s"), (0.4, "0 s"), (59.9, "59 s"), (60, "1 min"), (61, "1 min 1 s"), (3_599, "59 min 59 s")),
        *((3_605, "1 h"), (90_000, "1 d 1 h"), (86_460, "1 d")),
    ],
)
def test_a_duration_is_shown_in_its_two_largest_units(seconds: float, words: str) -> None:
    assert duration(seconds) == words


@pytest.mark.parametrize(
    ("count", "words"),
    [(0, "0 B"), (1023, "1,023 B"), (1536, "1.5 KiB"), (1 << 28, "256.0 MiB"), (1 << 41, "2048.0 GiB")],
)
def test_a_size_is_shown_in_binary_units(count: int, words: str) -> None:
    assert size(count) == words


@pytest.mark.parametrize(("rate", "words"), [(0, "0/s"), (0.0625, "0.0625/s"), (47.26, "47.3/s"), (1234.5, "1,234/s")])
def test_a_rate_is_shown_in_three_digits(rate: float, words: str) -> None:
    assert per_second(rate) == words
