"""The memory budget against its definition, however it grows and shrinks."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from worker.core.facts import Facts, MemoryFreed, MemoryFull
from worker.core.waiting.memory import Memory

BUDGET = 100
AROUND_THE_MARKS = st.sampled_from([1, 2, 24, 25, 26, 55, 74, 75, 79, 80, 81, 99, 100, 101, 250])


@given(st.lists(st.tuples(AROUND_THE_MARKS, st.booleans())))
def test_it_is_plentiful_below_a_quarter_and_short_from_the_budget_until_a_fifth_is_free(
    steps: list[tuple[int, bool]],
) -> None:
    facts = Facts()
    memory, held, short = Memory(BUDGET, facts), 0, False
    for size, freed in steps:
        held = max(0, held - size) if freed else held + size
        before, short = short, held > (80 if short else 100)
        memory.add(held - memory.held_bytes)
        assert (memory.held_bytes, memory.plentiful, memory.short) == (held, held < 25, short)
        told = {(False, True): [MemoryFull(held)], (True, False): [MemoryFreed(held)]}
        assert facts.take() == told.get((before, short), [])
