"""Envelopes that hostile producers write: a record is read whatever its key, headers and timestamp are."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest

from tests.kafka.member import Member, until
from tests.support import odd_records
from tests.support.brokers import Broker
from tests.support.odd_records import Odd

_TRACE = (b"traceparent", b"00-ab-cd-01")
_WARM_UP = 20
_NOISE = random.Random(5).randbytes(300)

ENVELOPES: dict[str, tuple[Odd, tuple[tuple[str, bytes], ...]]] = {
    "a name that is not UTF-8": (Odd(b"v", headers=((b"\xff\xfe", b"x"), _TRACE)), ()),
    "a name with a lone surrogate": (Odd(b"v", headers=(_TRACE, (b"\xed\xa0\x80", b"x"))), ()),
    "an empty name": (Odd(b"v", headers=((b"", b"x"), _TRACE)), (("traceparent", _TRACE[1]),)),
    "a name of 300 kB": (Odd(b"v", headers=((b"n" * 300_000, b"x"),)), ()),
    "a value that is not text": (Odd(b"v", headers=((b"traceparent", _NOISE), _TRACE)), (("traceparent", _TRACE[1]),)),
    "a trace of 300 kB": (Odd(b"v", headers=((b"traceparent", b"t" * 300_000),)), ()),
    "20,000 headers": (Odd(b"v", headers=((b"h", b"x"),) * 20_000), ()),
    "20,000 traces": (Odd(b"v", headers=(_TRACE,) * 20_000), (("traceparent", _TRACE[1]),)),
    "a key of noise": (Odd(b"v", key=_NOISE * 1_000), ()),
    "a timestamp before 1970": (Odd(b"v", timestamp_ms=-(2**40)), ()),
    "a timestamp of no calendar": (Odd(b"v", timestamp_ms=2**62), ()),
}
"""Name -> the record, and the headers that the worker keeps of it."""


@pytest.mark.slow
def test_a_record_is_read_whatever_its_envelope_is(broker: Broker, topic: str, group: str) -> None:
    # A real broker refuses odd timestamps, unless it is told not to.
    sent = {name: each for name, each in ENVELOPES.items() if not broker.real or each[0].timestamp_ms is None}
    records = [replace(record, partition=0) for record, _ in sent.values()]
    # Only after some calls does Python specialise the call that reads the headers.
    records = [records[0]] * _WARM_UP + records
    odd_records.produce(broker.bootstrap_servers, topic, records)
    with Member(broker, topic, group) as member:
        until(lambda: len(member.records) >= len(records), member)
    assert {name: record.headers for name, record in zip(sent, member.records[_WARM_UP:], strict=True)} == {
        name: kept for name, (_, kept) in sent.items()
    }
    assert [record.key or b"" for record in member.records] == [record.key for record in records]
