"""When a schema id is asked for again, and when the answer that it does not exist is believed."""

from __future__ import annotations

from worker.core.model import SchemaId
from worker.registry.fetching import FORGET_SECONDS, Fetching


class Registry:
    """What it holds, and what it was asked for: the ids, with the time of each."""

    def __init__(self) -> None:
        self.holds: dict[SchemaId, object] = {}
        self.down: set[SchemaId] = set()
        self.asked: list[tuple[SchemaId, float]] = []
        self.answers: list[tuple[SchemaId, object | None]] = []
        self.now = 100.0
        self.fetching = Fetching(self.fetch, "http://registry", unknown_id_seconds=30)

    def fetch(self, schema_id: SchemaId) -> object | None:
        self.asked.append((schema_id, self.now))
        if schema_id in self.down:
            raise OSError
        return self.holds.get(schema_id)

    def go_on(self, seconds: float, *wanted: int) -> list[tuple[SchemaId, object | None]]:
        """Steps for so long. The ids are wanted all the time."""
        end = self.now + seconds
        self.answers.clear()
        while self.now < end:
            for schema_id in wanted:
                self.fetching.want(schema_id, self.now)
            pause = self.fetching.step(self.answers.append, self.now)
            answered = {schema_id for schema_id, _ in self.answers}
            wanted = tuple(schema_id for schema_id in wanted if schema_id not in answered)
            self.now = min(end, self.now + max(0.001, 1.0 if pause is None else min(pause, 1.0)))
        return list(self.answers)


def test_an_unknown_id_is_asked_for_again_for_30_seconds_before_it_does_not_exist() -> None:
    registry = Registry()
    assert registry.go_on(29.9, 9) == []
    assert "schema 9 does not exist at http://registry" in (registry.fetching.problem or "")
    assert registry.go_on(1, 9) == [(9, None)]
    assert registry.fetching.problem is None
    assert 5 <= len(registry.asked) <= 9
    assert registry.asked[-1][1] - registry.asked[0][1] >= 30


def test_an_id_that_appears_after_six_seconds_is_answered_soon_after() -> None:
    registry = Registry()
    assert registry.go_on(6, 9) == []
    registry.holds[9] = "schema"
    assert registry.go_on(5, 9) == [(9, "schema")]


def test_an_id_known_not_to_exist_needs_no_second_pause_but_later_a_new_one() -> None:
    registry = Registry()
    registry.go_on(31, 9)
    registry.go_on(60)
    assert registry.go_on(1, 9) == [(9, None)]
    registry.go_on(1_000)
    assert registry.go_on(29, 9) == []
    assert registry.go_on(2, 9) == [(9, None)]


def test_ids_that_fail_or_do_not_exist_do_not_delay_others() -> None:
    registry = Registry()
    registry.down = {1, 2, 3}
    registry.go_on(20, 1, 2, 3, 4)
    registry.holds[5] = "schema"
    assert registry.go_on(1.2, 1, 2, 3, 4, 5) == [(5, "schema")]


def test_a_new_id_is_asked_for_before_those_that_failed() -> None:
    """Each of them may take the length of a time-out again."""
    registry = Registry()
    registry.down = set(range(100))
    registry.go_on(120, *range(100))
    registry.now += 20  # all of them are due
    registry.holds[500] = "schema"
    assert registry.go_on(0.001, *range(100), 500) == [(500, "schema")]


def test_a_failing_registry_is_asked_about_once_a_second_at_most() -> None:
    registry = Registry()
    registry.down = set(range(1_000))
    registry.go_on(30, *range(1_000))
    registry.asked.clear()
    registry.go_on(60, *range(1_000))
    assert len(registry.asked) <= 70


def test_an_id_that_nobody_wants_any_more_is_given_up_with_its_problem() -> None:
    registry = Registry()
    registry.down = {7}
    registry.go_on(5, 7)
    assert "cannot fetch schema 7" in (registry.fetching.problem or "")
    registry.go_on(FORGET_SECONDS + 1)
    assert registry.fetching.problem is None
    registry.asked.clear()
    registry.go_on(60)
    assert registry.asked == []
