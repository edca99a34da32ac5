"""The letters of the dead-letter topic, each once, with how it stands."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Final, TypeAlias

from worker.core.avro.schema import Undecodable
from worker.core.letters.codec import LetterReader, NotALetter
from worker.core.letters.folding import HELD_BYTES, OPEN, Folding, Place
from worker.core.model import Letter, Partition, Record
from worker.jobs.framed import Framed, SchemaOf
from worker.jobs.ticker import Ticker
from worker.jobs.unfinished import Unfinished
from worker.kafka.range import Range, Span

STUCK_SECONDS: Final = 60.0
_POLL_SECONDS: Final = 0.1
_ODD_KINDS_MAX: Final = 20

Value: TypeAlias = tuple[Partition, int, str]
"""A value in a source topic: its record's partition and offset, and the attribute's name."""


class LettersUnread(Unfinished):
    """The topic could not be read to its end. The message says why."""


@dataclass(frozen=True, slots=True)
class Found:
    """A letter.

    Attributes:
        state: `open`, or how it ended.
        doubtful: it is open, and a redrive may have made a call for it.
    """

    letter: Letter
    state: str
    doubtful: bool = False


class LetterDecoder:
    """Reads records of the dead-letter topic, whatever schema of letters they have; arguments as of `Framed`."""

    def __init__(self, own: object | None, schema_of: SchemaOf) -> None:
        self._framed = Framed(LetterReader, own, schema_of)

    def letter(self, record: Record) -> Letter:
        """The letter in a record.

        Raises:
            NotALetter: It is none.
            Unfinished: Nobody says what its schema is.
        """
        if record.value is None:
            raise NotALetter("it has no value")
        try:
            reader, start = self._framed.reader(record.value)
        except Undecodable as problem:
            raise NotALetter(str(problem)) from None
        return reader.read(record, start)


class Odd:
    """The records of the topic that are no letters, counted by why. The first one of each kind is named."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self.first: dict[str, Record] = {}

    def take(self, record: Record, why: str) -> None:
        """Counts a record."""
        kind = why if why in self.first or len(self.first) < _ODD_KINDS_MAX else "other reasons"
        self.counts[kind] += 1
        self.first.setdefault(kind, record)


class LetterBook:
    """Reads the dead-letter topic from its beginning to the end that it had at the start.

    Memory: the letters themselves are not held. A first pass over the topic folds their ids, a second one gives the
    letters. If the ids might take more than `max_bytes`, they are divided by their hash, and each part has its two
    passes.

    Args:
        spans: the topic's partitions, each to its end.
        open_range: opens a reader of them.
        decoder: reads a record.
        max_bytes: for what is held of the ids.

    Attributes:
        odd: what is passed over since it is no letter.

    Example:
        >>> for found in book.letters(lambda: stop.requested):
        ...     if found.state == OPEN: ...
    """

    def __init__(
        self,
        spans: Mapping[Partition, Span],
        open_range: Callable[[Mapping[Partition, Span]], Range],
        decoder: LetterDecoder,
        max_bytes: int,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._spans = spans
        self._open_range = open_range
        self._decoder = decoder
        self._clock = clock
        self._total = sum((span.stop or 0) - span.start for span in spans.values())
        self.parts = max(1, -(-self._total * HELD_BYTES // max_bytes))
        self.odd = Odd()

    def letters(self, stopped: Callable[[], bool], has_id: Callable[[str], bool] = lambda _: True) -> Iterator[Found]:
        """Each letter once. Ends early once `stopped`. `has_id` chooses letters by their ids.

        Letters of one partition come in its order, unless there are several parts.

        Raises:
            LettersUnread: The topic could not be read to its end.
            RangeFailed: As `Range.poll`.
        """
        self.odd = Odd()
        for part in range(self.parts):
            words = f", part {part + 1} of {self.parts}" if self.parts > 1 else ""
            folding = Folding(self.parts, part)
            ticker = Ticker(f"folding dead letters{words}")
            for place, letter in self._read(ticker, self.odd if part == 0 else Odd(), stopped):
                if has_id(letter.id):
                    folding.take(letter, place)
            ticker.end()
            if stopped():
                return
            ticker = Ticker(f"reading dead letters{words}")
            for place, letter in self._read(ticker, Odd(), stopped):
                if folding.stands(letter, place):
                    ticker.end()  # the letter may be printed on the same terminal
                    yield Found(letter, folding.state(letter.id), folding.is_doubtful(letter.id))
            ticker.end()

    def _read(self, ticker: Ticker, odd: Odd, stopped: Callable[[], bool]) -> Iterator[tuple[Place, Letter]]:
        moved_at, seen = self._clock(), 0
        with self._open_range(self._spans) as reader:
            while reader.unread and not stopped():
                for record in reader.poll(_POLL_SECONDS):
                    try:
                        letter = self._decoder.letter(record)
                    except NotALetter as why:
                        odd.take(record, str(why))
                        continue
                    yield Place(record.partition.number, record.offset), letter
                done = sum(position - self._spans[each].start for each, position in reader.positions.items())
                now = self._clock()
                if done != seen:
                    moved_at, seen = now, done
                elif now - moved_at > STUCK_SECONDS:
                    raise LettersUnread(f"reading stands still: {reader.problem or 'no record comes'}")
                ticker.show(done, self._total, reader.problem or "")


def open_letters(book: LetterBook, values: Collection[Value], stopped: Callable[[], bool]) -> int:
    """How many of these values lie in an open letter. Fewer once `stopped`; errors as `LetterBook.letters`."""
    lying = {
        value
        for found in book.letters(stopped)
        if found.state == OPEN
        for attribute in found.letter.attributes
        if (value := (attribute.partition, attribute.offset, attribute.name)) in values
    }
    return len(lying)
