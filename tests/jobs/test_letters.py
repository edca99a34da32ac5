"""The letters of a topic, each once: in parts where ids would take too much memory, and not to a wrong end."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import count
from typing import Self, cast

import pytest
from fastavro import parse_schema

from worker.core.letters.codec import encode
from worker.core.letters.folding import DISMISSED, HELD_BYTES, OPEN, resolution_of
from worker.core.model import Letter, LostAttribute, Partition, Reason, Record, WorkerIdentity
from worker.jobs.letters import LetterBook, LetterDecoder, LettersUnread, open_letters
from worker.kafka.range import Range, Span
from worker.registry.bundled import bundled

PLACE = Partition("dead", 0)
SCHEMA = cast("Mapping[str, object]", parse_schema(bundled("dead_letter")))
WHO = WorkerIdentity("1", "test", "group")


class Log:
    """Stands in for a `Range` of one partition: three records a poll. If `stuck`, nothing ever comes."""

    def __init__(self, records: Sequence[Record], *, stuck: bool = False) -> None:
        self._records = records
        self._stuck = stuck
        self.positions = {PLACE: 0}
        self.problem = "a broker is away"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    @property
    def unread(self) -> bool:
        return self.positions[PLACE] < len(self._records)

    def poll(self, _: float) -> Sequence[Record]:
        at = self.positions[PLACE]
        self.positions[PLACE] = at if self._stuck else min(at + 3, len(self._records))
        return self._records[at : self.positions[PLACE]]


def letter(letter_id: str, *attributes: LostAttribute) -> Letter:
    return Letter(Reason.REJECTED, "refused", 5, 1, (), None, attributes, record_key=b"key", id=letter_id)


def record(offset: int, of: Letter | None) -> Record:
    if of is None:
        return Record(PLACE, offset, 0, b"key", b"garbage")
    key, value, _ = encode(of, worker=WHO, schema=SCHEMA, schema_id=None, max_bytes=10_000)
    return Record(PLACE, offset, 0, key, value)


def book(written: Sequence[Letter | None], max_bytes: int = 1_000_000, *, stuck: bool = False) -> LetterBook:
    records = [record(offset, each) for offset, each in enumerate(written)]
    clock: Iterator[int] = count(step=20)
    return LetterBook(
        {PLACE: Span(0, len(records))},
        lambda _: cast("Range", Log(records, stuck=stuck)),
        LetterDecoder(bundled("dead_letter"), lambda _: None),
        max_bytes,
        lambda: float(next(clock)),
    )


WRITTEN = [letter(f"{number}") for number in range(20)]
TOPIC = [*WRITTEN, None, WRITTEN[3], *(resolution_of(each, DISMISSED, 9) for each in WRITTEN[:5]), WRITTEN[4]]


@pytest.mark.parametrize("parts", [1, 2, 7])
def test_parts_change_nothing_but_the_order(parts: int) -> None:
    read = book(TOPIC, -(-len(TOPIC) * HELD_BYTES // parts))
    assert read.parts == parts
    found = [(each.letter.id, each.state) for each in read.letters(lambda: False)]
    assert sorted(found) == sorted((str(number), DISMISSED if number < 5 else OPEN) for number in range(20))
    assert sum(read.odd.counts.values()) == 1, "the odd record is counted once"
    assert next(iter(read.odd.first.values())).offset == 20


def test_only_ids_that_were_asked_for_are_given() -> None:
    found = [each.letter.id for each in book(TOPIC).letters(lambda: False, lambda each: each.startswith("1"))]
    assert found == ["1", *(str(number) for number in range(10, 20))]


def test_a_stop_while_it_folds_gives_no_letter_a_wrong_state() -> None:
    asked = count()
    assert list(book(TOPIC).letters(lambda: next(asked) > 3)) == []


def test_a_topic_that_cannot_be_read_to_its_end_is_an_error() -> None:
    with pytest.raises(LettersUnread, match="a broker is away"):
        list(book(TOPIC, stuck=True).letters(lambda: False))


def test_values_are_found_in_open_letters_and_in_no_others() -> None:
    source = Partition("profile-changes", 2)
    still_open, dismissed = (letter(name, LostAttribute(name, 1, 5, source, 70)) for name in ("tier", "vip"))
    wanted = {(source, 70, "tier"), (source, 70, "vip"), (source, 71, "tier")}
    read = book([still_open, dismissed, still_open, resolution_of(dismissed, DISMISSED, 9)])
    assert open_letters(read, wanted, lambda: False) == 1
    assert open_letters(read, {(source, 71, "tier")}, lambda: False) == 0
