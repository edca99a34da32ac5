"""A range read through its schemas: nothing overtakes a record whose schema is not there yet."""

from __future__ import annotations

from collections import deque
from typing import cast

from tests.core.drive import P0, P1
from worker.core.events.decode import Decoder, SchemaMissing
from worker.core.events.reading import PassedOver
from worker.core.model import Event, Partition, Record, User
from worker.jobs.reading import Reading
from worker.kafka.range import Range
from worker.live.ports import Schemas


class FakeRange:
    """Hands out batches."""

    problem = None

    def __init__(self, *batches: list[Record]) -> None:
        self._batches = deque(batches)
        self.positions: dict[Partition, int] = {P0: 0, P1: 0}

    @property
    def unread(self) -> set[Partition]:
        return {P0} if self._batches else set()

    def poll(self, _: float) -> list[Record]:
        records = self._batches.popleft() if self._batches else []
        self.positions |= {record.partition: record.offset + 1 for record in records}
        return records


class FakeDecoder:
    """A record's value is its schema's id."""

    def __init__(self) -> None:
        self.known: set[int] = set()

    def is_tombstone(self, record: Record) -> bool:
        return record.value is None

    def decode_on(self, record: Record) -> Event:
        schema_id = int(record.value or b"0")
        if schema_id not in self.known:
            raise SchemaMissing(schema_id)
        return Event(User(), {"tier": record.offset})

    def add(self, schema_id: int, _: object) -> None:
        self.known.add(schema_id)


class FakeSchemas:
    """Answers what the test has it answer."""

    def __init__(self) -> None:
        self.asked: list[int] = []
        self.ready: list[tuple[int, object]] = []

    def request(self, schema_id: int) -> None:
        self.asked.append(schema_id)

    def answers(self) -> list[tuple[int, object]]:
        ready, self.ready = self.ready, []
        return ready

    def waiting(self) -> str:
        return "the registry does not answer"


def record(partition: Partition, offset: int, value: bytes | None) -> Record:
    return Record(partition, offset, 0, b"key", value)


def test_a_record_without_its_schema_holds_up_all_behind_it_until_the_answer() -> None:
    first, second = record(P0, 0, b"1"), record(P1, 0, b"2")
    third, fourth = record(P0, 1, b"1"), record(P0, 2, None)
    schemas, decoder = FakeSchemas(), FakeDecoder()
    decoder.add(1, None)
    reading = Reading(
        cast("Range", FakeRange([first, second, third], [fourth])), cast("Decoder", decoder), cast("Schemas", schemas)
    )
    assert [each for each, _ in reading.poll(0.0)] == [first]
    assert schemas.asked == [2]
    assert reading.positions == {P0: 1, P1: 0}, "the third record was fetched, and not returned"
    assert reading.problem == "the registry does not answer"
    assert reading.poll(0.0) == []
    schemas.ready = [(2, {})]
    assert [each for each, _ in reading.poll(0.0)] == [second, third]
    assert reading.positions == {P0: 2, P1: 1}
    assert reading.unread
    assert not reading.problem
    assert reading.poll(0.0) == [(fourth, PassedOver(tombstone=True))]
    assert not reading.unread
