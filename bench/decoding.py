"""Decoding alone, and decoding with preflight: the part of the worker's cost that no other design could avoid."""

from __future__ import annotations

import gc
import time
from collections.abc import Iterable, Sequence

from bench.figures import Figure
from bench.loads import Load
from tests.support.profiles import PROFILE_CHANGED, SCHEMA_ID
from worker import collector
from worker.core.events.decode import Decoder
from worker.core.events.mapping import Mapping
from worker.core.model import Partition, Record
from worker.core.rules.identity import IdentityRules
from worker.core.rules.policy import AttributeRules
from worker.core.rules.preflight import Preflight

_WARM_UP = 1_000


def as_read(loads: Iterable[Load]) -> tuple[Record, ...]:
    """The records of all loads, as the consumer yields them."""
    return tuple(
        Record(Partition("bench", partition), offset, 0, key, value)
        for load in loads
        for offset, (partition, key, value) in enumerate(load.records)
    )


def settle_memory() -> None:
    """Sets up the garbage collector as the worker does: it never scans again what exists by now."""
    gc.collect()
    collector.settle()


def decode(records: Sequence[Record]) -> Figure:
    """Measures decoding: bytes to events."""
    decoder = new_decoder()

    def each(of: Sequence[Record]) -> None:
        for record in of:
            decoder.decode(record)

    each(records[:_WARM_UP])
    wall, used = time.perf_counter(), time.thread_time()
    each(records)
    return Figure(len(records), time.perf_counter() - wall, time.thread_time() - used)


def decode_and_preflight(records: Sequence[Record]) -> Figure:
    """Measures decoding and preflight: bytes to values that may be sent."""
    decoder, preflight = new_decoder(), Preflight(IdentityRules(), AttributeRules())

    def each(of: Sequence[Record]) -> None:
        for record in of:
            event = decoder.decode(record)
            if event is not None:
                preflight.check(event)

    each(records[:_WARM_UP])
    wall, used = time.perf_counter(), time.thread_time()
    each(records)
    return Figure(len(records), time.perf_counter() - wall, time.thread_time() - used)


def new_decoder() -> Decoder:
    """The worker's decoder, with the loads' schema."""
    decoder = Decoder(Mapping())
    decoder.add(SCHEMA_ID, PROFILE_CHANGED)
    return decoder
