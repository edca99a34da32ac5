"""Times and offsets as people type them."""

from __future__ import annotations

import pytest

from worker.core.model import Partition
from worker.jobs.when import Edge, Unreadable, When, in_order, offsets, when

NOW_MS = 1_772_366_400_000  # 2026-03-01T12:00:00Z
HOUR_MS = 3_600_000


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("earliest", Edge.EARLIEST),
        (" Latest ", Edge.LATEST),
        ("2026-03-01T12:00:00Z", NOW_MS),
        ("2026-03-01T12:00", NOW_MS),
        ("2026-03-01 13:00+01:00", NOW_MS),
        ("2026-03-01", NOW_MS - 12 * HOUR_MS),
        ("-2h", NOW_MS - 2 * HOUR_MS),
        ("-45m", NOW_MS - 45 * 60_000),
        ("-7d", NOW_MS - 7 * 24 * HOUR_MS),
        ("-1.5H", NOW_MS - HOUR_MS * 3 // 2),
        ("-30s", NOW_MS - 30_000),
        ("-2w", NOW_MS - 14 * 24 * HOUR_MS),
        ("-999999999d", 0),
        ("0001-01-01", 0),
    ],
)
def test_a_time(text: str, found: When) -> None:
    assert when(text, NOW_MS) == found


@pytest.mark.parametrize(
    "text", ["", "2h", "-2", "-h", "yesterday", "2026-13-01", "12:00", "-99999999999w", "-2y", "1e9"]
)
def test_what_is_no_time_is_refused_with_examples(text: str) -> None:
    with pytest.raises(Unreadable, match=r"write one as 2026-03-01T12:00, a duration back as -2h"):
        when(text, NOW_MS)


def test_an_empty_range_is_refused() -> None:
    for begin, end in ((0, 1), (1, None), (Edge.EARLIEST, 1), (2, Edge.LATEST)):
        in_order(begin, end)
    for begin in (1, 2):
        with pytest.raises(Unreadable, match="--from is not before --to"):
            in_order(begin, 1)
    for first, second in ((Edge.LATEST, None), (Edge.LATEST, Edge.LATEST), ({Partition("t", 0): 7}, Edge.EARLIEST)):
        with pytest.raises(Unreadable, match="nothing lies in that range"):
            in_order(first, second)


def test_offsets_of_one_topic_and_of_several() -> None:
    assert offsets("0:1500, 1:980", ["a"]) == {Partition("a", 0): 1500, Partition("a", 1): 980}
    found = offsets("a/0:1,b.c/10:2,", ["a", "b.c"])
    assert found == {Partition("a", 0): 1, Partition("b.c", 10): 2}
    assert offsets("a/0:1", ["a"]) == {Partition("a", 0): 1}


@pytest.mark.parametrize(
    ("text", "topics", "why"),
    [
        ("", ["a"], "no offset is named"),
        ("0", ["a"], "no offset: write PARTITION:OFFSET"),
        ("0:-1", ["a"], "no offset: write PARTITION:OFFSET"),
        ("x:1", ["a"], "no offset: write PARTITION:OFFSET"),
        ("0:1,0:2", ["a"], "named twice"),
        ("0:1", ["a", "b"], "there are several topics, so write TOPIC/PARTITION:OFFSET"),
        ("c/0:1", ["a", "b"], r"c is not among the topics \(a, b\)"),
        ("0:٣", ["a"], "no offset"),
    ],
)
def test_what_is_no_offset_is_refused(text: str, topics: list[str], why: str) -> None:
    with pytest.raises(Unreadable, match=why):
        offsets(text, topics)


def test_offsets_may_be_the_same_but_do_not_go_backwards() -> None:
    p0, p1 = Partition("t", 0), Partition("t", 1)
    in_order({p0: 7, p1: 9}, {p0: 7})
    in_order({p0: 7}, None)
    with pytest.raises(Unreadable, match="t/0: --from-offsets has 7, which is behind the 4 of --to-offsets"):
        in_order({p0: 7}, {p0: 4})


def test_other_options_have_their_own_names() -> None:
    with pytest.raises(Unreadable, match="--since is not before --until"):
        in_order(2, 1, ("--since", "--until"))
