"""What one event costs the engine, by how much there is of everything else. It runs by itself: its memory is measured.

Example: .venv/bin/python -m bench.growth users 100000
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import random
import sys
import time
from collections.abc import Callable, Iterator, Sequence

from bench.decoding import new_decoder, settle_memory
from bench.figures import resident_mebibytes
from bench.loads import SEED
from bench.options import count
from tests.core.drive import OK, STARTED, doubling, options
from tests.support.profiles import Change, encode, phone
from worker.core.engine import Engine
from worker.core.model import Now, Partition, Record
from worker.core.rules.identity import IdentityRules
from worker.core.rules.policy import AttributeRules
from worker.core.rules.preflight import Preflight

_BATCH = 500  # as many records as the loop takes at a time
_BATCH_SECONDS = 0.05
_EVENTS = 20_000
_ATTRIBUTE_VALUES = 200_000  # of all events together
_USERS = 2_000
_DROPPED_USERS = 100_000
_VALUE_BYTES = sys.getsizeof(100_000)
_UNBOUNDED = 64 * 1024**3


class Bed:
    """An engine that holds partitions, and a log that fills them. Whatever it sends succeeds at once."""

    def __init__(self, partitions: int, window_seconds: float) -> None:
        self.partitions = [Partition("bench", number) for number in range(partitions)]
        self.now = STARTED
        self.engine = Engine(
            options(window_seconds=window_seconds, requests_per_second=10_000.0, max_bytes=_UNBOUNDED),
            decoder=new_decoder(),
            preflight=Preflight(IdentityRules(), AttributeRules()),
            backoff=doubling,
            now=self.now,
        )
        self.engine.share(1.0, self.now)
        self.engine.assigned(self.partitions)
        self._rng = random.Random(SEED)
        self._offsets = dict.fromkeys(self.partitions, 0)

    def records(self, events: int, user_of: Callable[[int], int], attributes: int = 1) -> list[Record]:
        """So many changes, each of so many attributes, of the users that `user_of` says."""
        made = []
        for number in range(events):
            user = user_of(number)
            partition = self.partitions[user % len(self.partitions)]
            values = {f"attribute_{name:03}": self._rng.randrange(1_000, 100_000) for name in range(attributes)}
            value = encode(Change(phone(user), values, number))
            made.append(Record(partition, self._offsets[partition], self.now.wall_ms, phone(user).encode(), value))
            self._offsets[partition] += 1
        return made

    def take(self, records: Sequence[Record]) -> None:
        """As the loop does: batch by batch, with replies, the next time to wake up and, now and then, a commit."""
        engine = self.engine
        for batch in _batches(records):
            self.now = Now(self.now.mono + _BATCH_SECONDS, self.now.wall_ms + int(_BATCH_SECONDS * 1000))
            engine.receive(batch, self.now)
            while calls := engine.calls(32, self.now):
                for call in calls:
                    engine.replied(call, OK, self.now)
            engine.next_wakeup(self.now)
            engine.facts()
        engine.committable()

    def any_user(self, users: int) -> Callable[[int], int]:
        """Any of so many."""
        return lambda _: self._rng.randrange(users)


def _batches(records: Sequence[Record]) -> Iterator[Sequence[Record]]:
    for first in range(0, len(records), _BATCH):
        yield records[first : first + _BATCH]


def _cost(bed: Bed, records: Sequence[Record]) -> float:
    """CPU microseconds an event."""
    settle_memory()
    started = time.process_time()
    bed.take(records)
    return (time.process_time() - started) / len(records) * 1e6


def partitions(size: int) -> dict[str, float]:
    """By the number of partitions held."""
    bed = Bed(size, window_seconds=0.2)
    return {"cost": _cost(bed, bed.records(_EVENTS, bed.any_user(_USERS)))}


def users(size: int) -> dict[str, float]:
    """By the number of users with an open entry; and the memory that each of these takes, beyond its value."""
    bed = Bed(4, window_seconds=3_600.0)
    settle_memory()
    before = _resident_bytes()
    for first in range(0, size, _BATCH):
        bed.take(bed.records(min(_BATCH, size - first), lambda number, first=first: first + number))  # type: ignore[misc]  # a default is no new type
    gc.collect()
    held = (_resident_bytes() - before) / size - _VALUE_BYTES
    return {"cost": _cost(bed, bed.records(_EVENTS, bed.any_user(size))), "bytes": held}


def attributes(size: int) -> dict[str, float]:
    """By the number of attributes in each event: what one attribute costs."""
    bed = Bed(4, window_seconds=0.2)
    events = min(_EVENTS, _ATTRIBUTE_VALUES // size)
    return {"cost": _cost(bed, bed.records(events, bed.any_user(_USERS), size)) / size}


def dropping(size: int) -> dict[str, float]:
    """Seconds to drop all of so many partitions, which together hold always the same number of users."""
    bed = Bed(size, window_seconds=3_600.0)
    bed.take(bed.records(_DROPPED_USERS, lambda number: number))
    settle_memory()
    started = time.process_time()
    bed.engine.dropped(bed.partitions)
    return {"cost": time.process_time() - started}


def _resident_bytes() -> float:
    return resident_mebibytes(os.getpid(), most=False) * 1024 * 1024


CURVES = {curve.__name__: curve for curve in (partitions, users, attributes, dropping)}

_SIZES_MAX = {"users": 10_000_000}
_SIZE_MAX = 100_000  # of all else


def main(arguments: Sequence[str] | None = None) -> int:
    """Measures one curve at one size."""
    parser = argparse.ArgumentParser(prog="python -m bench.growth", description=__doc__.splitlines()[0])
    parser.add_argument("curve", choices=CURVES, help="what there is much of")
    parser.add_argument("size", type=count(max(_SIZES_MAX.values())), help="how much of it")
    asked = parser.parse_args(arguments)
    if asked.size > (most := _SIZES_MAX.get(asked.curve, _SIZE_MAX)):
        parser.error(f"argument size: {asked.curve} are {most:,} at most")
    print(json.dumps(CURVES[asked.curve](asked.size)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
