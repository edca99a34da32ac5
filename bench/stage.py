"""What the rows of the bench stand on, and what they yield."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, TypeAlias

from bench.contenders import Bench, Contender
from bench.destination import Destination
from bench.options import REPETITIONS_MAX
from bench.theirs import prepared
from tests.support.brokers import Broker


class Measure(NamedTuple):
    """What is measured, with its unit. Ratios travel between machines; other figures hold for one machine."""

    name: str
    higher_is_better: bool
    is_ratio: bool = False


EVENTS_PER_SECOND = Measure("events/s", higher_is_better=True)
CPU_PER_THOUSAND = Measure("CPU s per 1,000 events", higher_is_better=False)


class Sample(NamedTuple):
    """One figure of one repetition: of whom or at which size, what, and how much."""

    who: str
    measure: Measure
    value: float


@dataclass(frozen=True)
class Stage:
    """Where the rows run, and with which peers. `quick` asks for sizes that show only that everything works."""

    broker: Broker
    directory: Path
    quick: bool

    @functools.cached_property
    def peers(self) -> Sequence[Contender]:
        """The peers that can be had here; made when they are first asked for."""
        return prepared()

    def size(self, whole: int, quick: int) -> int:
        """How many: of what is counted."""
        return quick if self.quick else whole

    @contextmanager
    def bench(self, *options: str) -> Iterator[Bench]:
        """With a destination of its own, started with these options."""
        destination = Destination(self.directory, *options)
        try:
            yield Bench(self.broker, destination, self.directory)
        finally:
            destination.stop()


Repetitions: TypeAlias = Generator[list[Sample], None, None]


@dataclass(frozen=True)
class Row:
    """One row of the bench: `repeat` prepares what it needs, then yields the figures of each repetition."""

    name: str
    says: str
    repeat: Callable[[Stage], Repetitions]
    repetitions_max: int = REPETITIONS_MAX

    def repeated(self, stage: Stage, repetitions: int) -> Iterator[list[Sample]]:
        """The figures of each of so many repetitions. Then everything is ended that was started for them."""
        made = self.repeat(stage)
        try:
            yield from itertools.islice(made, min(repetitions, self.repetitions_max))
        finally:
            made.close()


def workers_to_its(measure: Measure) -> Measure:
    """The worker's figure divided by somebody else's in the same repetition."""
    return Measure(f"worker's {measure.name} to its", measure.higher_is_better, is_ratio=True)


def ratios(samples: Sequence[Sample]) -> list[Sample]:
    """The worker's figures divided by everybody else's in the same repetition."""
    ours = {sample.measure: sample.value for sample in samples if sample.who == "worker"}
    return [
        Sample(who, workers_to_its(measure), ours[measure] / value)
        for who, measure, value in samples
        if who != "worker" and measure in ours
    ]
