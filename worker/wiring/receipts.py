"""Builds the writer of receipts from the settings."""

from __future__ import annotations

from collections.abc import Mapping
from typing import cast

from fastavro import parse_schema
from structlog.typing import FilteringBoundLogger

from worker.core.facts import CallEnded
from worker.core.model import WorkerIdentity
from worker.core.receipts.codec import encode
from worker.core.receipts.receipt import Receipt
from worker.kafka.receipts import Receipts
from worker.live.ports import Schemas
from worker.ops.outcomes import OUTCOMES
from worker.registry.bundled import bundled
from worker.settings.derived import kafka_properties
from worker.settings.model import Settings


def receipts(
    settings: Settings, who: WorkerIdentity, source: Schemas | None, log: FilteringBoundLogger
) -> Receipts | None:
    """The writer of receipts, which are framed like the input. None if they are not wanted."""
    topic = settings.receipts.topic
    if topic is None:
        return None
    schema = cast("Mapping[str, object]", parse_schema(bundled("receipt")))  # the schema of a record is a dict

    def write(ended: CallEnded, receipt: Receipt) -> bytes | None:
        schema_id = None if source is None else source.receipt_schema_id()
        if source is not None and schema_id is None:
            return None
        outcome = OUTCOMES[ended.verdict]
        return encode(ended, receipt, outcome=outcome, worker=who, schema=schema, schema_id=schema_id)

    return Receipts(kafka_properties(settings), topic, write, log)
