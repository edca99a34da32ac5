"""Builds the rehearsal of `check` from the settings. It joins no group, commits nothing and registers nothing."""

from __future__ import annotations

from collections.abc import Mapping

from structlog.typing import FilteringBoundLogger

from worker.core.events.mapping import Mapping as FieldMapping
from worker.core.model import Partition
from worker.core.rules.policy import AttributeRules
from worker.jobs.rehearsal import Rehearsal, Rules
from worker.kafka.range import Range, Span
from worker.registry.directory import read_schema
from worker.settings.derived import kafka_properties
from worker.settings.model import Settings
from worker.wiring import parts
from worker.wiring.single_schemas import schema_of


def rehearsal(settings: Settings) -> Rehearsal:
    """The rehearsal.

    Raises:
        Unusable: The settings do not make its parts.
    """
    rules = Rules(FieldMapping(**settings.mapping.model_dump()), AttributeRules(**settings.attributes.model_dump()))
    unnamed = settings.mapping.model_copy(update={"exclude": (), "rename": {}, "prefix": ""})
    made = Rehearsal(
        parts.decoder(settings),
        parts.decoder(settings.model_copy(update={"mapping": unnamed})),
        parts.preflight(settings),
        rules,
        schema_of(settings),
    )
    schemas = settings.schemas
    if schemas.framing == "none" and schemas.writer_schema is not None:
        made.see(read_schema(schemas.writer_schema))
    return made


def records(settings: Settings, spans: Mapping[Partition, Span], log: FilteringBoundLogger) -> Range:
    """Reads the spans; errors as `Range`."""
    return Range(kafka_properties(settings), spans, log)
