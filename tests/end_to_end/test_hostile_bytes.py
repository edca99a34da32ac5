"""Hostile records among good ones, on a real Kafka: each becomes a letter, and all good ones are soon delivered."""

from __future__ import annotations

import json
import random
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.end_to_end.conftest import Lab, assert_equivalent
from tests.support import odd_records
from tests.support.avro import fields, framed, varint
from tests.support.odd_records import Odd
from tests.support.processes import until
from tests.support.producers import ordered_producer
from tests.support.profiles import SCHEMA_ID, Change, changes, encode, phone

pytestmark = [pytest.mark.kafka, pytest.mark.slow]

SEED = 23
TREE_ID, EMPTIES_ID, MISSING_ID = 41, 42, 43
TREE = fields(("id", "string"), ("child", ["null", "Row"]))
EMPTIES = fields(("id", "string"), ("none", {"type": "array", "items": "null"}))
LARGEST_BYTES = 900_000  # below the default limits of the broker and the producer
RESIDENT_BYTES_MAX = 400 * 2**20

_GOOD = encode(Change(phone(1), {"city": "Lyon"}, 1))[5:]
_HEAD = varint(1) + b"e" + varint(1) + varint(12) + b"+13110000001" + varint(0) * 3


def _attribute(value: bytes) -> bytes:
    """A record of the default schema with one attribute of those bytes."""
    return framed(SCHEMA_ID, _HEAD + varint(1) + varint(1) + b"a" + value + varint(0) + varint(1) + varint(0))


HOSTILE: dict[str, bytes] = {
    "empty": b"",
    "json": b'{"event_id": "e1"}',
    "wrong magic": b"\1" + framed(SCHEMA_ID, _GOOD)[1:],
    "three bytes": b"\0\0\0",
    "unknown schema": framed(MISSING_ID, _GOOD),
    "truncated": framed(SCHEMA_ID, _GOOD[: len(_GOOD) // 2]),
    "length of 2^60": framed(SCHEMA_ID, varint(2**60) + b"secret"),
    "negative length": framed(SCHEMA_ID, varint(-(2**40)) + b"secret"),
    "map of 2^60": framed(SCHEMA_ID, _HEAD + varint(2**60)),
    "number without end": framed(SCHEMA_ID, b"\xff" * LARGEST_BYTES),
    "number of 65 bits": _attribute(varint(2) + varint(2**64)),
    "negative branch": _attribute(varint(-2) + varint(1) + b"x"),
    "invalid UTF-8": _attribute(varint(4) + varint(2) + b"\xff\xfe"),
    "lone surrogate": _attribute(varint(4) + varint(3) + b"\xed\xa0\x80"),
    "noise": framed(SCHEMA_ID, random.Random(SEED).randbytes(LARGEST_BYTES)),
    "nested without end": framed(TREE_ID, (varint(0) + varint(1)) * (LARGEST_BYTES // 2)),
    "2^60 nulls": framed(EMPTIES_ID, varint(0) + varint(2**60)),
    "more after the end": framed(SCHEMA_ID, _GOOD + b"\0" * LARGEST_BYTES),
}
"""Name -> the record's value; each is one letter `undecodable`."""

REFUSED: dict[str, tuple[bytes, str]] = {
    "NaN": (_attribute(varint(3) + b"\0\0\0\0\0\0\xf8\x7f"), "unsupported_value"),
    "a day of no calendar": (_attribute(varint(5) + varint(2**31 - 1)), "unsupported_value"),
    "a name of a megabyte": (
        encode(Change(phone(1), {"n" * LARGEST_BYTES: 1}, 1)),
        "invalid_attribute_name",
    ),
    "40,000 NaN": (
        encode(Change(phone(1), {f"score{number}": float("nan") for number in range(40_000)}, 1)),
        "unsupported_value",
    ),
}
"""Name -> the record's value and the reason of its letter."""

HEADERS: tuple[tuple[tuple[bytes, bytes], ...], ...] = (
    ((b"\xff\xfe", b"x"),),
    ((b"traceparent", b"00-ab-cd-01"), (b"\xed\xa0\x80", b"x")),
    ((b"", b""), (b"n" * 100_000, b"x" * 100_000)),
    ((b"traceparent", b"\xff" * (LARGEST_BYTES // 2)),),
    ((b"h", b"x"),) * 20_000,
)
"""Headers that spoil no record."""


def test_each_hostile_record_becomes_one_letter_and_good_changes_are_delivered(lab: Lab, tmp_path: Path) -> None:
    """Good changes stand between them, so that no storm of letters halts the worker."""
    schemas = tmp_path / "schemas"
    (schemas / f"{TREE_ID}.avsc").write_text(json.dumps(TREE))
    (schemas / f"{EMPTIES_ID}.avsc").write_text(json.dumps(EMPTIES))
    lab.broker.create_topic(lab.topic, 3)
    sandbox = lab.sandbox()
    made = list(changes(SEED, events=1_200, users=150))
    produced = time.monotonic()
    _produce_mixed(lab, iter(made))
    # The default session time-out, not SHORT_SESSION: with little CPU the largest record may take a few seconds. If the
    # session ended meanwhile, the next owner would write the letters again.
    worker = lab.worker(sandbox.base_url, {"WORKER_SCHEMAS__UNKNOWN_ID_SECONDS": "0"})
    until(lambda: worker.status()["totals"]["records"] == len(made) + len(HOSTILE) + len(REFUSED), 60, "all is read")

    lab.until_committed(60)
    took = time.monotonic() - produced
    expected = {str(name.encode()): "undecodable" for name in HOSTILE}
    expected |= {str(name.encode()): reason for name, (_, reason) in REFUSED.items()}
    until(lambda: len(lab.dead_letters()) >= len(expected), 20, "every letter", pause=0.5)
    found = lab.dead_letters()
    assert {letter["record_key"]: letter["reason"] for letter in found} == expected
    assert len(found) == len(expected)
    for letter in found:
        assert len(str(letter["detail"])) < 700
        assert "secret" not in str(letter["detail"])
    assert_equivalent(sandbox, made)
    resident = _resident_bytes_max(worker.process.pid)
    assert resident < RESIDENT_BYTES_MAX, f"{resident / 2**20:.0f} MiB"
    assert took < 60
    assert "secret" not in worker.log.read_text()
    assert worker.stop() == 0


def _produce_mixed(lab: Lab, made: Iterator[Change]) -> None:
    """Produces good changes with odd headers, then the bad records, dealt to the partitions in turn.

    Before each bad one stand 20 good changes.
    """
    odd = [(next(made), headers) for headers in HEADERS * 10]
    records = [Odd(encode(change), change.phone.encode(), headers) for change, headers in odd]
    odd_records.produce(lab.broker.bootstrap_servers, lab.topic, records)
    producer = ordered_producer(lab.broker.bootstrap_servers)
    bad = [*HOSTILE.items(), *((name, value) for name, (value, _) in REFUSED.items())]
    for number, (name, value) in enumerate(bad):
        for _ in range(20):
            change = next(made)
            producer.produce(lab.topic, encode(change), change.phone.encode())
        producer.produce(lab.topic, value, name.encode(), number % 3)
    for change in made:
        producer.produce(lab.topic, encode(change), change.phone.encode())
    assert producer.flush(30) == 0


def _resident_bytes_max(pid: int) -> int:
    """The most that the process ever held in memory (Linux)."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmHWM"):
            return int(line.split()[1]) * 1024
    raise AssertionError("the process has no VmHWM")
