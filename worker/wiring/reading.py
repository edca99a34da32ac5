"""Opens the topics for a job that reads on wherever they end."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from structlog.typing import FilteringBoundLogger

from worker.core.model import Partition
from worker.core.rules.preflight import Preflight
from worker.jobs.reading import Reading
from worker.kafka.range import Range, Span
from worker.live.ports import Schemas
from worker.settings.derived import kafka_properties
from worker.settings.model import Settings
from worker.wiring import parts


def reading_opener(
    settings: Settings, source: Schemas | None, log: FilteringBoundLogger, preflight: Preflight | None = None
) -> Callable[[Mapping[Partition, int]], Reading]:
    """Opens readings from given offsets on, without an end. They share one decoder; errors as `parts.decoder`.

    With a preflight, the decoder goes on to it.
    """
    decoder = parts.decoder(settings)
    if preflight is not None:
        decoder.go_on_to(preflight)

    def open_reading(starts: Mapping[Partition, int]) -> Reading:
        spans = {each: Span(start) for each, start in starts.items()}
        return Reading(Range(kafka_properties(settings), spans, log), decoder, source)

    return open_reading
