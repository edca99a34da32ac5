"""Follows one record: reads it, then everything that may say what became of it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from worker.core.avro.schema import Undecodable
from worker.core.events.decode import Decoder
from worker.core.events.reading import Content, NeedsSchema, read
from worker.core.model import Checked, Event, Partition, Record, UserKey
from worker.core.receipts.codec import NotAReceipt, ReceiptReader, Written
from worker.core.rules.preflight import Preflight
from worker.jobs.framed import Framed, SchemaOf
from worker.jobs.letters import Found
from worker.jobs.spans import ASK_SECONDS, chosen
from worker.jobs.ticker import Ticker
from worker.jobs.trail import Later, Traces
from worker.jobs.unfinished import Unfinished
from worker.jobs.when import Unreadable
from worker.kafka import bounds
from worker.kafka.range import Range, RangeFailed, Span
from worker.kafka.topics import Admin, TopicRefused, partition_counts

STUCK_SECONDS: Final = 60.0
_POLL_SECONDS: Final = 0.2
_SLACK_MS: Final = 3_600_000  # producers' clocks may be ahead of the worker's by so much


class NotThere(Unfinished):
    """There is no record at the place: it is deleted. The message says so."""


class Stopped(Unfinished):
    """A stop was asked for before the end."""


@dataclass(frozen=True, slots=True)
class Books:
    """Where a record's traces are.

    Attributes:
        subscribed: the topics that the worker reads.
        letters: reads the dead letters that were written since a time, in milliseconds since the epoch.
        receipts: their topic. None: none are written.
        framed: reads receipts.
        schema_of: where the schemas of the records come from.
        open_range: opens a reader.
        committed: asks for the group's committed offset.
        stopped: whether a stop was asked for.
    """

    admin: Admin
    subscribed: tuple[str, ...]
    letters: Callable[[int], Iterable[Found]]
    receipts: str | None
    framed: Framed[ReceiptReader]
    schema_of: SchemaOf
    decoder: Decoder
    preflight: Preflight
    open_range: Callable[[Mapping[Partition, Span]], Range]
    committed: Callable[[Partition], int | None]
    stopped: Callable[[], bool]


def place(text: str) -> tuple[Partition, int]:
    """TOPIC:PARTITION:OFFSET.

    Raises:
        Unreadable: It is none.
    """
    parts = text.strip().rsplit(":", 2)
    if len(parts) != 3 or not parts[0] or not all(each.isascii() and each.isdigit() for each in parts[1:]):  # noqa: PLR2004 - topic, partition, offset
        raise Unreadable(f"{text!r} is no record's place: write TOPIC:PARTITION:OFFSET, as in profile-changes:0:1500")
    return Partition(parts[0], int(parts[1])), int(parts[2])


def follow(books: Books, partition: Partition, offset: int) -> Traces:
    """Everything that is known of the record.

    Raises:
        Unreadable: The topic is none of the worker's, or the place lies behind its end.
        NotThere: The record is deleted.
        Stopped: A stop was asked for.
        RangeFailed, TopicsUnavailable: Something cannot be read.
    """
    chosen(books.admin, books.subscribed, [partition.topic], [partition.number])
    first = bounds.starts(books.admin, [partition], ASK_SECONDS)[partition]
    end = bounds.ends(books.admin, [partition], ASK_SECONDS)[partition]
    where = f"{partition.topic}:{partition.number}:{offset}"
    if offset >= end:
        raise Unreadable(f"{where} lies behind the log's end, which is {end}")
    if offset < first:
        raise NotThere(f"{where} is deleted: the log begins at {first}")
    record = next(_records(books, "record", {partition: Span(offset, offset + 1)}), None)
    if record is None:
        raise NotThere(f"{where} holds no record: compaction deleted it, or it is a transaction's marker")
    content, checked = _look(books, record)
    # First the commit, then the letters: a letter is there before the commit that passes its record.
    committed = books.committed(partition)
    since_ms = record.timestamp_ms - _SLACK_MS
    return Traces(
        partition,
        offset,
        content,
        checked,
        committed,
        _letters(books, partition, offset, since_ms),
        _receipts(books, partition, offset, since_ms),
        _later(books, checked, partition, Span(offset + 1, end)),
    )


def _look(books: Books, record: Record) -> tuple[Content, Checked | None]:
    content = read(record, books.decoder)
    while isinstance(content, NeedsSchema):
        books.decoder.add(content.schema_id, books.schema_of(content.schema_id))
        content = read(record, books.decoder)
    return content, books.preflight.check(content) if isinstance(content, Event) else None


def _later(books: Books, checked: Checked | None, partition: Partition, span: Span) -> dict[str, list[Later]]:
    """By attribute, the later changes of the record's user."""
    found: dict[str, list[Later]] = {}
    if checked is None or checked.key is None or not checked.accepted:
        return found
    key: UserKey = checked.key
    for record in _records(books, "later records", {partition: span}):
        _, other = _look(books, record)
        if other is not None and other.key == key:
            for name in other.accepted.keys() & checked.accepted.keys():
                found.setdefault(name, []).append(Later(record.offset, other.accepted[name]))
    return found


def _letters(books: Books, partition: Partition, offset: int, since_ms: int) -> list[Found]:
    """The letters about the record and those behind it."""
    found = [
        each
        for each in books.letters(since_ms)
        if any(one.partition == partition and one.offset >= offset for one in each.letter.sources)
    ]
    if books.stopped():
        raise Stopped("stopped while reading dead letters")
    return found


def _receipts(books: Books, partition: Partition, offset: int, since_ms: int) -> list[Written] | None:
    """The calls that carried something of the record, the latest last."""
    if books.receipts is None:
        return None
    found = []
    for record in _records(books, "receipts", _since(books, books.receipts, since_ms)):
        value = record.value or b""
        try:
            reader, start = books.framed.reader(value)
            written = reader.read(value, start)
        except (NotAReceipt, Undecodable):
            continue
        if any(
            one.partition == partition and any(at == offset for _, at in one.attributes)
            for one in written.receipt.positions
        ):
            found.append(written)
    return sorted(found, key=lambda each: each.receipt.ended_ms)


def _since(books: Books, topic: str, since_ms: int) -> dict[Partition, Span]:
    """What a topic holds from a time on. Nothing if it does not exist."""
    try:
        count = partition_counts(books.admin, [topic], ASK_SECONDS)[topic]
    except TopicRefused:
        return {}
    partitions = [Partition(topic, number) for number in range(count)]
    begins = bounds.at(books.admin, partitions, max(0, since_ms), ASK_SECONDS)
    ends = bounds.ends(books.admin, partitions, ASK_SECONDS)
    return {each: Span(begin, ends[each]) for each, begin in begins.items() if begin is not None}


def _records(books: Books, stage: str, spans: Mapping[Partition, Span]) -> Iterator[Record]:
    """All records of the spans."""
    ticker, moved_at, seen = Ticker(f"reading {stage}"), time.monotonic(), 0
    total = sum((span.stop or 0) - span.start for span in spans.values())
    if not total:
        return
    with books.open_range(spans) as reader:
        while reader.unread:
            if books.stopped():
                raise Stopped(f"stopped while reading {stage}")
            yield from reader.poll(_POLL_SECONDS)
            done = sum(position - spans[each].start for each, position in reader.positions.items())
            if done > seen:
                moved_at, seen = time.monotonic(), done
            elif time.monotonic() - moved_at > STUCK_SECONDS:
                raise RangeFailed(f"{stage}: nothing comes: {reader.problem or 'the brokers do not say why'}")
            ticker.show(done, total)
    ticker.end()
