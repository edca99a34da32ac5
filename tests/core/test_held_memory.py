"""What the engine holds is counted: `held_bytes` is compared with what Python really allocated, in each shape."""

from __future__ import annotations

import copy
import io
import os
import subprocess
import sys
from collections.abc import Callable, Iterable, Mapping
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from fastavro import parse_schema, schemaless_writer

from bench.figures import resident_mebibytes
from bench.growth import Bed
from tests.core.drive import P0, SCHEMA, STARTED, Answer, doubling, options, phone
from tests.support.allocations import traced
from tests.support.profiles import Change as ProfileChange
from tests.support.profiles import encode
from worker.core.engine import Engine
from worker.core.events.decode import Decoder
from worker.core.events.mapping import Mapping as FieldMapping
from worker.core.facts import Facts
from worker.core.model import Now, Record, Reply, UserKey
from worker.core.rules import identifiers
from worker.core.rules.identity import IdentityRules
from worker.core.rules.policy import AttributeRules
from worker.core.rules.preflight import Preflight
from worker.core.waiting.change import Change, Shape, Shapes
from worker.core.waiting.ledger import Ledger
from worker.core.waiting.memory import Memory
from worker.core.waiting.window import Window

pytestmark = pytest.mark.slow  # minutes or megabytes of virtual life each

MEBIBYTE = 1024 * 1024
ROOT = Path(__file__).parent.parent.parent


def _schema() -> Any:  # noqa: ANN401 - an Avro schema
    """The bundled schema, with an array of maps and a map of strings among the values."""
    schema = copy.deepcopy(SCHEMA)
    attributes = next(field for field in schema["fields"] if field["name"] == "attributes")
    attributes["type"]["values"] += [
        {"type": "array", "items": {"type": "map", "values": "long"}},
        {"type": "map", "values": ["string", {"type": "array", "items": "double"}]},
        "bytes",
        {"type": "bytes", "logicalType": "decimal", "precision": 4000, "scale": 2},
    ]
    return schema


WRITER = _schema()
_PARSED = parse_schema(copy.deepcopy(WRITER))


def value_of(
    number: int,
    attributes: Mapping[str, object],
    *,
    user: Mapping[str, object] | None = None,
    event_id: str = "event",
) -> bytes:
    """A record's value."""
    stream = io.BytesIO()
    whose = {"phone": phone(number), **(user or {})}
    event = {"event_id": event_id, "user": whose, "attributes": attributes, "occurred_at": STARTED.wall_ms}
    schemaless_writer(stream, _PARSED, event)
    return stream.getvalue()


def counted_and_real(
    values: Iterable[bytes],
    *,
    decoder: Decoder | None = None,
    answer: Answer | None = None,
    credit: int = 0,
    headers: int = 0,
) -> tuple[int, int]:
    """Feeds the records to an engine that may write `credit` letters. Returns `held_bytes`, and the real size."""
    engine = Engine(
        options(storm_letters_max=credit, window_seconds=0.0, requests_per_second=10_000.0),
        decoder=decoder or Decoder(FieldMapping(), writer_schema=WRITER),
        preflight=Preflight(IdentityRules(send="all"), AttributeRules(deny=("ssn",))),
        backoff=doubling,
        now=STARTED,
    )
    engine.share(1.0, STARTED)
    engine.assigned([P0])
    now = Now(STARTED.mono + 1, STARTED.wall_ms)
    for verdicts in (identifiers._e164, identifiers._may_be_email):  # else their tables may grow now, for other tests'
        verdicts.cache_clear()
    with traced() as allocated:
        for offset, value in enumerate(values):
            # Copies, as a consumer makes them: what the test itself holds must not hide what the engine holds.
            key, value_copy = bytes(bytearray(b"+13115552368")), bytes(bytearray(value))
            pairs = tuple((f"name {number}", b"%d" % number) for number in range(headers))
            record = Record(P0, offset, now.wall_ms, key, value_copy, pairs)
            engine.receive([record], now)
            del record, key, value_copy, pairs
            if answer is not None:
                for call in engine.calls(1, now):
                    engine.replied(call, answer(call), now)
        engine.facts()
        return engine.held_bytes, allocated()


def _many(value: Callable[[int], bytes], times: int) -> list[bytes]:
    return [value(number) for number in range(times)]


SHAPES: Mapping[str, Callable[[], list[bytes]]] = {
    "a phone of 300 kB": lambda: _many(lambda n: value_of(n, {"a": n}, user={"phone": f"{n}" + "5" * 300_000}), 20),
    "an e-mail of 100 kB beyond Latin-1": lambda: _many(
        lambda n: value_of(n, {"a": n}, user={"phone": None, "email": f"{n}" + "я" * 100_000}), 20
    ),
    "10,000 identifiers and a bad phone": lambda: _many(
        lambda n: value_of(n, {}, user=_identifiers(10_000) | {"phone": "5"}), 5
    ),
    "a name of 300 kB": lambda: _many(lambda n: value_of(n, {f"{n}" + "n" * 300_000: 1}), 20),
    "1,000 names of 1 kB": lambda: _many(lambda n: value_of(n, {f"{m}" + "n" * 1_000: 1 for m in range(1_000)}), 5),
    "an array of 1,500 small maps": lambda: _many(lambda n: value_of(n, {"a": [{"k": 700 + n}] * 1_500}), 40),
    "nested values, and an unnamed user": lambda: _many(
        lambda n: value_of(n, {"a": {str(m): [0.5 + m] * 9 for m in range(300)}}, user={"phone": "5"}), 40
    ),
    "bytes": lambda: _many(lambda n: value_of(n, {"a": bytes([n]) * 300_000}), 20),
    "a text of 300 kB and an unnamed user": lambda: _many(
        lambda n: value_of(n, {"a": f"{n}" + "😀" * 75_000}, user={"phone": "5"}), 20
    ),
    "undecodable": lambda: _many(lambda n: b"\xff" + bytes([n]) * 300_000, 20),
    "small refusals": lambda: _many(lambda n: value_of(n, {"a": [{"k": n}], "": n, "ssn": "x"}), 2_000),
    "an event id of 100 kB": lambda: _many(lambda n: value_of(n, {"": n}, event_id=f"{n}" + "é" * 100_000), 20),
}

GOOD_SHAPES: Mapping[str, Callable[[], list[bytes]]] = {
    "one attribute": lambda: _many(lambda n: value_of(n, {"a": f"value {n}"}), 4_000),
    "four changes a user": lambda: _many(lambda n: value_of(n // 4, {"a": "x" * 500 + f"{n}"}), 4_000),
    "twenty attributes": lambda: _many(lambda n: value_of(n, {f"a{m}": n + m / 3 for m in range(20)}), 500),
    "texts beyond Latin-1": lambda: _many(lambda n: value_of(n, {"я" * 200: f"{n}" + "😀" * 10_000}), 50),
    "1,000 identifiers": lambda: _many(lambda n: value_of(n, {"a": 1}, user=_identifiers(1_000)), 50),
    "an event id of 100 kB": lambda: _many(lambda n: value_of(n, {"a": n}, event_id=f"{n}" + "é" * 100_000), 20),
}


def _identifiers(many: int) -> dict[str, object]:
    return {"custom_identifiers": [{"name": f"name {m}", "value": f"value {m}"} for m in range(many)]}


@pytest.mark.parametrize("values", SHAPES.values(), ids=SHAPES)
def test_a_withheld_letter_counts_for_what_it_holds(values: Callable[[], list[bytes]]) -> None:
    made = values()
    counted, real = counted_and_real(made)
    assert 0.95 * real < counted < 2 * real
    assert real < 10 * sum(map(len, made)) + 3_000 * len(made), "one poll of such records would burst any budget"


@pytest.mark.parametrize("values", GOOD_SHAPES.values(), ids=GOOD_SHAPES)
def test_an_entry_counts_for_what_it_holds(values: Callable[[], list[bytes]]) -> None:
    counted, real = counted_and_real(values())
    assert 0.9 * real < counted < 2 * real


def test_a_user_with_one_waiting_change_takes_little() -> None:
    """A budget holds as many users through an outage as they are small."""
    window, ledger, users = Window(3_600.0, Memory(10**9, Facts())), Ledger(P0), 3_000
    values = dict.fromkeys(["loyalty_points"], True)
    names = Shape(values)
    with traced() as allocated:
        for offset in range(users):
            key, now = UserKey("phone", "", phone(offset)), 100.0
            record = Record(P0, offset, STARTED.wall_ms, phone(offset).encode(), b"")
            change = Change.of_record(
                ledger,
                record,
                key,
                names,
                values,
                occurred_at_ms=STARTED.wall_ms,
                event_id=f"event-{offset}",
                sent=None,
            )
            window.absorb(key, change, now)
        assert allocated() / users < 400


def test_an_entry_whose_call_failed_counts_for_what_it_holds() -> None:
    """Every second user's call fails, while the others' succeed: these wait for their next try."""
    values = _many(lambda n: value_of(n, {"a": f"value {n}" if n % 2 else "the same"}), 800)
    counted, real = counted_and_real(
        values, answer=lambda call: Reply(503 if str(call.user.phone)[-1] in "13579" else 200)
    )
    assert counted > 800 / 2 * 700
    assert 0.9 * real < counted < 2 * real


def test_the_answers_in_letters_of_refused_calls_count() -> None:
    """Each of the attributes is refused alone, and each letter holds the answer."""
    body = "я" * 60_000
    values = _many(lambda n: value_of(n, {"a": n}), 40)
    replies = count()
    counted, real = counted_and_real(
        values, answer=lambda _: Reply(400, body=f"{next(replies)}{body}", request_id="r"), credit=100
    )
    assert 0.9 * real < counted < 2 * real


@pytest.mark.parametrize(("size_bytes", "headers"), [(100, 0), (100, 1_000), (300_000, 0)])
def test_a_record_that_waits_for_its_schema_counts_for_what_it_holds(size_bytes: int, headers: int) -> None:
    values = _many(lambda n: b"\0\0\0\0\x07" + bytes([n]) * size_bytes, 100)
    counted, real = counted_and_real(values, decoder=Decoder(FieldMapping()), headers=headers)
    assert 0.95 * real < counted < 2 * real


@pytest.mark.parametrize("different", [1_000, 500])
def test_names_that_come_once_or_twice_leave_little_behind(different: int) -> None:
    """A producer may make names of what should be values."""
    shapes = Shapes()
    with traced() as allocated:
        for record in range(1_000):
            names = tuple([f"\U0001f600 {record % different} {n}".ljust(200, "x") for n in range(100)])
            assert shapes[names] == names
            del names
        assert allocated() < 10 * MEBIBYTE


def test_names_that_the_mapping_leaves_out_leave_nothing_behind() -> None:
    decoder = Decoder(FieldMapping(exclude=("n*",)), writer_schema=WRITER)
    counted, real = counted_and_real(_many(lambda n: value_of(n, {"n" * 300_000 + f"{n}": 1}), 20), decoder=decoder)
    assert (counted, real < 100_000) == (0, True)


def fill_with_large_values() -> None:
    """Tells what an engine counts, and by how much the process has grown. For a process of its own."""
    bed = Bed(1, window_seconds=3_600.0)
    before = resident_mebibytes(os.getpid(), most=False)
    for first in range(0, 40_000, 500):
        changes = [
            ProfileChange(phone(n % 10_000), {"note": f"{n:08}" + "x" * 520}, n) for n in range(first, first + 500)
        ]
        bed.take(
            [
                Record(bed.partitions[0], first + n, STARTED.wall_ms, change.phone.encode(), encode(change))
                for n, change in enumerate(changes)
            ]
        )
    sys.stdout.write(f"{bed.engine.held_bytes / MEBIBYTE} {resident_mebibytes(os.getpid(), most=False) - before}")


def test_between_changes_with_large_values_no_memory_lies_waste() -> None:
    """What an allocator cannot use again counts for the process, and no tracing of Python's sees it."""
    code = "from tests.core.test_held_memory import fill_with_large_values as fill; fill()"
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True, timeout=60)
    counted, grown = map(float, done.stdout.split())
    assert grown < 1.3 * counted
