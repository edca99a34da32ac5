"""What a metric is: its name, kind, unit, labels and meaning. `docs/metrics.md` is made of the same values."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

from opentelemetry.metrics import CallbackOptions, Counter, Histogram, Meter, Observation

PREFIX: Final = "attribute_worker_"
_SUFFIXES: Final = {"s": "_seconds", "By": "_bytes", "": ""}


class Kind(StrEnum):
    """The Prometheus type."""

    GAUGE = "gauge"
    COUNTER = "counter"
    HISTOGRAM = "histogram"


@dataclass(frozen=True, slots=True)
class Metric:
    """One metric.

    Attributes:
        name: without prefix and unit. The Prometheus exporter appends `_seconds`, `_bytes` and `_total`, and others do
            not. With a unit in the name, the two would differ.
        unit: `s`, `By`, or empty for a number of things.
        labels: each label, and its values if they are a closed set. All others are HTTP statuses, assigned partitions
            and the worker's own version and group: never anything from a record.
        buckets: a histogram's boundaries.
    """

    name: str
    kind: Kind
    meaning: str
    unit: str = ""
    labels: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    buckets: tuple[float, ...] = ()

    @property
    def shown_name(self) -> str:
        """Its name on `/metrics`."""
        return PREFIX + self.name + _SUFFIXES[self.unit] + ("_total" if self.kind is Kind.COUNTER else "")

    @property
    def shown_unit(self) -> str:
        """Its unit on `/metrics`."""
        return _SUFFIXES[self.unit].removeprefix("_")

    def histogram(self, meter: Meter) -> Histogram:
        """The instrument of a histogram."""
        return meter.create_histogram(
            PREFIX + self.name, self.unit, self.meaning, explicit_bucket_boundaries_advisory=self.buckets
        )

    def counter(self, meter: Meter) -> Counter:
        """The instrument of a counter, with 0 for every value of a closed set of labels.

        PromQL's increase() does not see the first count of a series that begins at 1.
        """
        counter = meter.create_counter(PREFIX + self.name, self.unit, self.meaning)
        for labels in self.starts():
            counter.add(0, labels)
        return counter

    def observe(self, meter: Meter, read: Callable[[], Iterable[Observation]]) -> None:
        """Creates the instrument of a gauge or counter whose value is read at each scrape."""

        def callback(_: CallbackOptions) -> Iterable[Observation]:
            return read()

        create = meter.create_observable_counter if self.kind is Kind.COUNTER else meter.create_observable_gauge
        create(PREFIX + self.name, [callback], self.unit, self.meaning)

    def starts(self) -> list[dict[str, str]]:
        """The labels of the series that exist from the start: one for each value of a closed set."""
        if not self.labels:
            return [{}]
        (label, values), *others = self.labels.items()
        return [] if others else [{label: value} for value in values]
