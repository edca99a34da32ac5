"""Records of which none has anything to send are told of: a rule with a typo loses all in silence."""

from __future__ import annotations

from worker.core.totals import Totals
from worker.live.effect import RECORDS, SKIPPED, Effect


def test_many_records_in_a_row_without_effect_are_a_problem_until_one_has_an_effect() -> None:
    effect = Effect()
    assert effect.problem(Totals(records=50, changes=50)) is None
    assert effect.problem(Totals(records=49 + RECORDS, ignored=RECORDS - 1, empty=RECORDS - 1)) is None
    problem = effect.problem(Totals(records=50 + RECORDS, ignored=RECORDS, empty=RECORDS))
    assert problem is not None
    assert problem.startswith(f"the latest {RECORDS} records held nothing to send")
    assert "WORKER_ATTRIBUTES__ALLOW" in problem
    assert effect.problem(Totals(records=51 + RECORDS, ignored=RECORDS, empty=RECORDS)) is None
    assert effect.problem(Totals(records=150 + RECORDS, ignored=RECORDS + 99, empty=RECORDS + 99)) is None


def test_what_the_mapping_leaves_out_as_a_whole_counts_only_if_it_is_all_since_the_start() -> None:
    """A topic may have many types, of which few are taken. With a typo in their names, none is."""
    effect = Effect()
    assert effect.problem(Totals(records=2_000, ignored=2_000, tombstones=2_000)) is None
    assert effect.problem(Totals(records=1_400, ignored=1_400, tombstones=401)) is None
    problem = effect.problem(Totals(records=1_400, ignored=1_400, tombstones=400))
    assert problem is not None
    assert problem.startswith(f"the mapping has left out all {SKIPPED:,} records since the start")
    assert "WORKER_MAPPING__TYPES" in problem
    assert effect.problem(Totals(records=1_401, ignored=1_400, tombstones=400)) is None
    assert effect.problem(Totals(records=99_999, ignored=99_998, tombstones=400)) is None
