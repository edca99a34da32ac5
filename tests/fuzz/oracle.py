"""What must be true for any bytes: they become an event, nothing or a dead letter, in bounded time and memory.

No message about them may quote them.
"""

from __future__ import annotations

import io
import re
import time
import tracemalloc

import fastavro

from tests.fuzz.cases import prepared
from tests.fuzz.mutate import CANARY
from tests.support.avro import record
from worker.core.avro.schema import Undecodable
from worker.core.letters.codec import encode
from worker.core.letters.letter import letter_of_record, letter_of_refusal
from worker.core.model import Event, Letter, Now, WorkerIdentity
from worker.core.rules.identity import IdentityRules
from worker.core.rules.policy import AttributeRules
from worker.core.rules.preflight import Preflight
from worker.registry.bundled import bundled

DETAIL_CHARACTERS_MAX = 600
# CPU time. Generous, since other programs share the machine: a real fault takes minutes, or never ends.
SECONDS_MAX = 1.0
SECONDS_PER_BYTE_MAX = 50e-6
MEMORY_PER_BYTE_MAX = 400
MEMORY_SPARE = 256 * 1024
LETTER_SMALLEST_MAX = 6_144

_NOW = Now(0.0, 1_700_000_000_000)
_PREFLIGHTS = (
    Preflight(IdentityRules(), AttributeRules()),
    Preflight(IdentityRules(send="all"), AttributeRules(nulls="reject", deny=("@forbidden", "*a*b*"))),
)
_WORKER = WorkerIdentity("1", "host", "group")
_LETTER = fastavro.parse_schema(bundled("dead_letter"))
_LONG_DIGITS = re.compile(r"\d{6,}")
_BOUND = "262144"  # the bound on objects, the one long number that a message may hold


def check(name: str, data: bytes, *, memory: bool = False) -> str | None:
    """Decode bytes by a case of `CASES`, and check everything that comes of them.

    Args:
        name: The name of the case.
        data: Bare Avro, or any bytes.
        memory: Whether to trace memory too; several times slower.

    Returns:
        Why the bytes cannot be decoded, or None if they can.

    Raises:
        AssertionError: A promise is broken.
    """
    case = prepared(name)[0]
    started = time.thread_time()
    if memory:
        tracemalloc.start()
    try:
        detail = _outcome(name, data)
        peak = tracemalloc.get_traced_memory()[1] if memory else 0
    finally:
        tracemalloc.stop()
    spent = time.thread_time() - started
    slack = 10 if memory else 1
    assert spent <= slack * (SECONDS_MAX + SECONDS_PER_BYTE_MAX * len(data)), f"{spent:.1f} s for {len(data)} bytes"
    assert peak <= MEMORY_SPARE + case.spare_bytes + MEMORY_PER_BYTE_MAX * len(data), f"{peak} for {len(data)} bytes"
    return detail


def _outcome(name: str, data: bytes) -> str | None:
    _, decoder, _, _ = prepared(name)
    source = record(data)
    try:
        event = decoder.decode(source)
    except Undecodable as problem:
        detail = str(problem)
        judge_detail(detail, names=False)
        judge_letter(letter_of_record(source, detail, _NOW))
        return detail
    _judge_value(name, data)
    if event is not None:
        judge_event(event, data)
    return None


def _judge_value(name: str, data: bytes) -> None:
    """Checks a decoded value: fastavro reads the same, and what fastavro writes of it reads as the same again.

    Other encodings of the same value, such as numbers with needless bytes, are longer than what fastavro writes. So if
    the lengths are equal, the bytes must be too; else the reader took one value for another. (An exception are blocks
    of empty items, which can be as short.)
    """
    case, _, avro, reader = prepared(name)
    value = reader.read(data, 0)
    assert repr(fastavro.schemaless_reader(io.BytesIO(data), avro.parsed, None)) == repr(value)
    again = io.BytesIO()
    fastavro.schemaless_writer(again, avro.parsed, value)
    written = again.getvalue()
    assert repr(reader.read(written, 0)) == repr(value)
    assert len(written) <= len(data)
    # There are many encodings of NaN, and only one is written.
    if len(written) == len(data) and not case.spare_bytes and "nan" not in repr(value):
        assert {pair for pair in zip(data, written, strict=True) if pair[0] != pair[1]} <= case.alike


def judge_event(event: Event, data: bytes) -> None:
    assert isinstance(event, Event)
    for preflight in _PREFLIGHTS:
        checked = preflight.check(event)
        assert checked.key is not None or checked.refusals
        for refusal in checked.refusals:
            judge_detail(refusal.detail, names=True)
            judge_letter(letter_of_refusal(record(data), event, refusal, _NOW))


def judge_detail(detail: str, *, names: bool) -> None:
    """A detail must be short, printable and one line. Without `names` it may hold nothing of the record at all."""
    assert 0 < len(detail) <= DETAIL_CHARACTERS_MAX, detail
    assert detail.isprintable(), detail
    if not names:
        assert CANARY not in detail, detail
        assert not set(_LONG_DIGITS.findall(detail)) - {_BOUND}, detail


def judge_letter(letter: Letter) -> None:
    for max_bytes in (LETTER_SMALLEST_MAX, 1_000_000):
        key, value, _ = encode(letter, worker=_WORKER, schema=_LETTER, schema_id=None, max_bytes=max_bytes)  # type: ignore[arg-type]  # the parsed schema of a record is a dict
        assert len(key or b"") + len(value) <= max_bytes, len(value)
        read = fastavro.schemaless_reader(io.BytesIO(value), _LETTER, None)
        assert isinstance(read, dict)
        assert read["reason"] == letter.reason
