"""The charts: what their shapes say, where they have gaps, and the same in words."""

from __future__ import annotations

import re
from collections.abc import Sequence

import pytest

from tests.ops.outline import Outline
from worker.ops.history import STEP_SECONDS, STEPS, Step
from worker.ops.outcomes import OUTCOMES
from worker.ops.page.charts import charts
from worker.ops.page.style import STYLE

EMPTY: tuple[None, ...] = (None,) * STEPS


def steps(*last: Step | None) -> Sequence[Step | None]:
    """A half hour that ends with these."""
    return (*EMPTY[len(last) :], *last)


def step(*, age: float | None = 0.0, held: int = 0, **calls: int) -> Step:
    return Step(0, calls, 0, age, held)


def drawn(found: Sequence[Step | None], held_max: int = 1_000) -> list[str]:
    """The figures: calls, age, memory."""
    figures = charts(found, held_max).split("</figure>")[:-1]
    assert len(figures) == 3
    return figures


def path_of(figure: str, mark: str) -> str:
    """What the path with this attribute draws."""
    return "".join(re.findall(rf'<path {re.escape(mark)} d="([^"]*)"', figure))


def test_calls_stand_on_each_other_by_outcome() -> None:
    """The step under way is drawn as far as it has come, and not told yet."""
    (figure, *_) = drawn(steps(step(delivered=150, retry=75), step(delivered=300)))
    delivered, retry = (path_of(figure, f'style="fill: var(--{name})"') for name in ("delivered", "retry"))
    # The upper edge is 20 calls a second; the axis is at 96, and 80 high.
    assert delivered == "M354,56.0h2.4v40.0h-2.4zM357,16.0h2.4v80.0h-2.4z"
    assert retry == "M354,36.0h2.4v20.0h-2.4z"
    assert "Now 15/s. At most 15/s, 15 s ago." in figure
    assert "delivered 450" in figure
    assert "refused" not in figure


def test_a_gap_is_grey_and_no_curve_crosses_it() -> None:
    _, age, _ = drawn(steps(step(age=5.0), None, None, step(age=10.0), step(age=0.0)))
    assert path_of(age, 'class="gap"') == "M0,16h345v80h-345zM348,16h6v80h-6z"
    assert path_of(age, 'class="curve"') == "M346.5,56.0L346.5,56.0M355.5,16.0L358.5,96.0"
    assert f"No data for {(STEPS - 3) * STEP_SECONDS // 60} min 15 s." in age
    assert "Now 0 s. At most 10 s, 15 s ago." in age


def test_zero_is_no_gap() -> None:
    full = [step()] * STEPS
    for figure in drawn(full):
        assert path_of(figure, 'class="gap"') == ""
        assert "Always 0" in figure
        assert "No data" not in figure


def test_without_any_data_there_is_only_a_gap() -> None:
    for figure in drawn(EMPTY, 0):
        assert path_of(figure, 'class="gap"') == "M0,16h360v80h-360z"
        assert "No data yet." in figure
        assert "curve" not in figure


def test_memory_is_drawn_against_its_budget() -> None:
    *_, held = drawn(steps(step(held=256)), 1_024)
    assert path_of(held, 'class="limit"') == "M0,16.0H360"
    assert path_of(held, 'class="curve"') == "M358.5,76.0L358.5,76.0"
    assert "The budget is 1.0 KiB: the broken line." in held
    *_, over = drawn(steps(step(held=2_048)), 1_024)
    assert path_of(over, 'class="limit"') == "M0,56.0H360"
    assert path_of(over, 'class="curve"') == "M358.5,16.0L358.5,16.0"


@pytest.mark.parametrize(("age", "top"), [(9, "10 s"), (61, "5 min"), (86_400, "1 d"), (200_000, "3 d")])
def test_the_upper_edge_of_an_age_is_a_round_duration(age: float, top: str) -> None:
    _, figure, _ = drawn(steps(step(age=age)))
    assert f'<text x="0" y="11">{top}</text>' in figure


def test_a_picture_says_in_words_what_it_shows() -> None:
    outline = Outline(charts(steps(step(delivered=3)), 1_000))
    pictures = [attributes for tag, attributes in outline.tags if tag == "svg"]
    assert [attributes["role"] for attributes in pictures] == ["img"] * 3
    named = [(attributes["aria-labelledby"], attributes["aria-describedby"]) for attributes in pictures]
    assert named == [(f"{name}-title", f"{name}-text") for name in ("calls", "oldest", "held")]


def test_every_outcome_has_a_colour_in_light_and_in_dark() -> None:
    for name in OUTCOMES.values():
        assert STYLE.count(f"--{name}: #") == 2
