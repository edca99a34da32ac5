"""Dead letters as records of their topic, both ways: Avro by `dead_letter.avsc`, cut to fit, framed like the input."""

from __future__ import annotations

import io
from collections.abc import Mapping
from dataclasses import replace

import fastavro

from worker.core.avro import framing
from worker.core.avro.read import Reader
from worker.core.avro.schema import AvroType, Undecodable
from worker.core.letters.cuts import CUTS, LAST_CUTS, Datum
from worker.core.letters.datum import datum_of, letter_of
from worker.core.letters.letter import headers_of_letter, headers_of_record
from worker.core.model import Letter, Record, WorkerIdentity

Headers = list[tuple[str, str | bytes | None]]
Encoded = tuple[bytes | None, bytes, Headers]
"""Kafka key, value and headers."""

MESSAGE_KEY = "message.key"
"""Stands in `cut` if even the Kafka key of the letter was left out."""

_NAME_BYTES = 4  # of a text in an array, and the array's own count, in Avro


def encode(
    letter: Letter,
    *,
    worker: WorkerIdentity,
    schema: Mapping[str, object],
    schema_id: int | None,
    max_bytes: int,
) -> Encoded:
    """Encodes a letter.

    Args:
        letter: what to write.
        worker: who writes it.
        schema: `dead_letter.avsc`, parsed by fastavro.
        schema_id: for Confluent framing (a zero byte and the id in 4 bytes); None gives bare Avro.
        max_bytes: bound of key and value together. A larger letter is cut as `worker.core.letters.cuts` says, and its
            `cut` names the fields. If the letter is still larger with all cuts (6 KB at most), it stays that large.
    """
    key = letter.record_key
    datum = datum_of(letter, worker)
    cut: list[str] = []
    datum["cut"] = cut
    value = _framed(datum, schema, schema_id)

    def excess() -> int:
        return len(value) + len(key or b"") - max_bytes

    def cut_again(field: str) -> bytes:
        cut.append(field)
        return _framed(datum, schema, schema_id)

    for phase in (CUTS, LAST_CUTS):
        for field, shorten in phase:
            # What is cut must make room for its name, too.
            if excess() > 0 and shorten(datum, excess() + len(field) + _NAME_BYTES):
                value = cut_again(field)
        if key is not None and 0 < excess() <= len(key):
            key = None
            value = cut_again(MESSAGE_KEY)
    return key, value, _headers(letter)


def _framed(datum: Datum, schema: Mapping[str, object], schema_id: int | None) -> bytes:
    buffer = io.BytesIO()
    if schema_id is not None:
        buffer.write(framing.header(schema_id))
    fastavro.schemaless_writer(buffer, dict(schema), datum)
    return buffer.getvalue()


def _headers(letter: Letter) -> Headers:
    headers: Headers = [("reason", letter.reason.value.encode())]
    if letter.sources:
        first = letter.sources[0]
        headers += [
            ("source.topic", first.partition.topic.encode()),
            ("source.partition", str(first.partition.number).encode()),
            ("source.offset", str(first.offset).encode()),
        ]
    # `encode` bounds only key and value. The headers that a letter may have are bounded.
    return headers + list(headers_of_letter(letter.headers))


class NotALetter(Exception):
    """A record of the dead-letter topic is not a dead letter. The message says why, without any of its values."""


class LetterReader:
    """Reads letters of one writer's schema back.

    Args:
        schema: as `json.loads` gives it. A registry may have had another version of `dead_letter.avsc`.

    Raises:
        InvalidSchema: It is not an Avro schema.
    """

    def __init__(self, schema: object) -> None:
        self._reader = Reader(AvroType(schema))

    def read(self, record: Record, start: int) -> Letter:
        """The letter in a record of the dead-letter topic. Its Avro bytes begin at `start`, behind the framing.

        The bytes may be anybody's: they are read strictly and within bounds.

        Raises:
            NotALetter: It is none.
        """
        value = record.value or b""
        try:
            letter = letter_of(self._reader.read(value, start))
        except Undecodable as problem:
            raise NotALetter(str(problem)) from None
        except (KeyError, TypeError, ValueError, ArithmeticError) as problem:
            raise NotALetter(f"it does not fit the schema of dead letters ({type(problem).__name__})") from None
        key = record.key if letter.record_key is None else letter.record_key  # it may have been cut
        return replace(letter, record_key=key, headers=headers_of_record(record.headers))
