"""The parts of the demo without any process: its comparisons, its traffic and its live view."""

from __future__ import annotations

import io
from collections import Counter
from datetime import date
from decimal import Decimal
from typing import Any

import pytest
from fastavro import parse_schema, schemaless_reader
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from worker.commands.demo import EVENTS_MAX, EVENTS_MIN, proof
from worker.commands.demo.figures import Figures, look
from worker.commands.demo.traffic import REFUSED_TIER, TIER, TIERS, Person, fold, plan
from worker.commands.demo.view import LiveView
from worker.core.model import Letter, LostAttribute, Partition, Reason
from worker.registry.bundled import bundled

ANNA = Person("phone", "+13115550042")
BERT = Person("email", "bert@example.com")
STATE: dict[Person, dict[str, object]] = {
    ANNA: {"vip": True, "loyalty_points": 1, "last_order_total": 12.25},
    BERT: {"favourite_store": "North"},
}
LETTER = Letter(
    reason=Reason.REJECTED,
    detail="",
    failed_at_ms=0,
    attempts=1,
    sources=(),
    user=None,
    attributes=(LostAttribute("tier", "gold", None, Partition("profile-changes", 2), 7),),
)


def test_states_are_equal_even_if_a_number_is_read_as_another_python_type() -> None:
    found = {**STATE, ANNA: {**STATE[ANNA], "last_order_total": Decimal("12.25")}}
    assert proof.users(STATE, found) == ("users", True, "all 2 have exactly the state that the topic says")


@pytest.mark.parametrize(
    "found",
    [
        {ANNA: STATE[ANNA]},
        {**STATE, BERT: {}},
        {**STATE, BERT: {"favourite_store": "South"}},
        {**STATE, BERT: {"favourite_store": "North", "vip": False}},
        {**STATE, ANNA: {**STATE[ANNA], "vip": 1}},
        {**STATE, ANNA: {**STATE[ANNA], "loyalty_points": True}},
        {**STATE, ANNA: {**STATE[ANNA], "loyalty_points": "1"}},
        {**STATE, Person("phone", "+13115550099"): {"vip": True}},
    ],
)
def test_a_difference_is_counted_and_its_user_masked(found: dict[Person, dict[str, object]]) -> None:
    finding = proof.users(STATE, found)
    assert not finding.ok
    assert finding.text.startswith("1 of 2 differ")
    for secret in ("3115550", "bert", "North", "South"):
        assert secret not in finding.text


def test_of_many_differences_only_some_are_named() -> None:
    expected: dict[Person, dict[str, object]] = {Person("phone", f"+1311555{n:04d}"): {"vip": True} for n in range(9)}
    finding = proof.users(expected, {})
    assert finding.text.startswith("9 of 9 differ")
    assert finding.text.endswith("and 4 more")


def test_dead_letters_are_compared_with_the_changes_that_provoked_them() -> None:
    assert proof.dead_letters(frozenset({("rejected", 2, 7)}), [LETTER]).ok
    # The same letter twice is one: a crash may write it again.
    assert proof.dead_letters(frozenset({("rejected", 2, 7)}), [LETTER, LETTER]).ok
    assert "1 are missing" in proof.dead_letters(frozenset({("rejected", 2, 7)}), []).text
    assert "1 unexpected" in proof.dead_letters(frozenset(), [LETTER]).text
    assert not proof.dead_letters(frozenset({("rejected", 2, 8)}), [LETTER]).ok
    assert not proof.dead_letters(frozenset({("not_found", 2, 7)}), [LETTER]).ok


def test_the_comparisons_of_offsets_order_and_stop_can_fail() -> None:
    assert proof.offsets(3, 3).ok
    assert not proof.offsets(3, 2).ok
    assert proof.order(0).ok
    assert not proof.order(1).ok
    assert proof.stop(0).ok
    assert not proof.stop(1).ok
    assert not proof.stop(-9).ok


def test_the_users_of_the_sandbox_are_matched_by_their_identifier() -> None:
    lines = [
        {"user": {"phone": "+1"}, "attributes": {"a": 1}},
        {"user": {"externalIdentifiers": {"clientUserId": "c"}}, "attributes": {"b": 2}},
    ]
    assert proof.state_of(lines) == {Person("phone", "+1"): {"a": 1}, Person("clientUserId", "c"): {"b": 2}}


@given(seed=st.integers(0, 10_000))
def test_a_refused_value_is_its_users_last_and_is_not_the_first(seed: int) -> None:
    """Otherwise a later change might supersede it before it is sent, and the number of dead letters would vary."""
    planned = plan(seed, EVENTS_MIN)
    assert plan(seed, EVENTS_MIN) == planned
    state = fold(planned)
    tiers: dict[Person, list[object]] = {}
    for event in planned:
        if event.person is not None and TIER in event.attributes:
            tiers.setdefault(event.person, []).append(event.attributes[TIER])
    refused = [person for person, values in tiers.items() if REFUSED_TIER in values]
    assert refused
    for person in refused:
        assert tiers[person].index(REFUSED_TIER) == len(tiers[person]) - 1 > 0
        assert state[person][TIER] == tiers[person][-2]
        assert state[person][TIER] in TIERS


def test_every_kind_of_dead_letter_is_provoked_and_every_event_can_be_read() -> None:
    planned = plan(1, EVENTS_MIN)
    assert len(planned) == EVENTS_MIN
    kinds = Counter(event.provokes for event in planned if event.provokes is not None)
    assert kinds.keys() == {Reason.REJECTED, Reason.INVALID_IDENTITY, Reason.SENSITIVE_DATA}
    assert not any(isinstance(value, date) for attributes in fold(planned).values() for value in attributes.values())
    schema = parse_schema(bundled("profile_changed"))
    for event in planned:
        framed = event.encode()
        assert framed[:5] == b"\0\0\0\0\1"
        read: Any = schemaless_reader(io.BytesIO(framed[5:]), schema, None)
        assert read["attributes"] == event.attributes


def test_the_largest_number_of_events_fits_into_the_embedded_kafka() -> None:
    bytes_by_key: Counter[bytes] = Counter()
    for event in plan(1, EVENTS_MAX):
        bytes_by_key[event.key] += len(event.encode()) + len(event.key) + 64
    assert bytes_by_key.total() < 5 * 2**20


def test_the_figures_come_from_the_workers_status_and_the_sandboxes_statistics() -> None:
    status = {
        "state": "halted",
        "halt": {"reason": "unavailable", "detail": "status 500"},
        "rate": {"limit": 150, "share": 150, "current": 99.5},
        "open_entries": 4,
        "partitions": [
            {"committed": 10, "lag": 2},
            {"committed": None, "lag": None},
        ],
        "totals": {"records": 12, "calls_saved": 6, "dead_letters": {"rejected": 1, "not_found": 0}},
    }
    stats = {"requests": 3, "by_status": {"200": 1, "429": 2}, "per_second": [[100, 2, 0], [102, 1, 0]]}
    figures = look(1.0, 12, 12, status, stats, 104.5)
    assert (figures.calls, figures.calls_saved, figures.lag, figures.committed) == (3, 6, 2, 10)
    assert figures.halt == "unavailable: status 500"
    assert figures.dead_letters == {"rejected": 1}
    assert figures.calls_by_second == [2, 0, 1, 0]
    assert figures.answered_429 == 2
    assert figures.saved_ratio == pytest.approx(2 / 3)
    assert not figures.settled
    assert look(1.0, 12, 0, None, {**stats, "requests": 0, "per_second": []}, 104.5).state == "starting"


@pytest.mark.parametrize("width", [24, 40, 76, 200])
def test_the_live_view_keeps_its_height_at_any_width(width: int) -> None:
    console = Console(file=io.StringIO(), width=width, height=30, force_terminal=True, color_system=None)
    view = LiveView(console)
    heights = set()
    with view:
        for count in (0, 3, 30):
            for number in range(count):
                view.note(number, "something happened that takes more than one narrow line to tell " * 2)
            view.figures(Figures(seconds=1.0, events_planned=10, events_produced=count % 10, halt="x" * 300))
            heights.add(len(console.render_lines(view.render())))
    assert len(heights) == 1
