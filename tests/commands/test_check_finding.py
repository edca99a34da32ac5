from __future__ import annotations

import pytest

from worker.commands.check.finding import period


@pytest.mark.parametrize(
    ("milliseconds", "words"),
    [
        (500, "0.5 s"),
        (45_000, "45 s"),
        (90_000, "90 s"),
        (120_000, "2 minutes"),
        (3_600_000, "60 minutes"),
        (7_200_000, "2 hours"),
        (86_400_000, "24 hours"),
        (604_800_000, "7 days"),
        (604_800_001, "604800 s"),
    ],
)
def test_a_time_in_words_is_a_multiple_of_its_unit(milliseconds: int, words: str) -> None:
    assert period(milliseconds) == words
