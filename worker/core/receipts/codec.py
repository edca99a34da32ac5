"""Receipts as records of their topic, both ways: Avro by `receipt.avsc`, framed like the input."""

from __future__ import annotations

import io
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import fastavro

from worker.core.avro import framing
from worker.core.avro.read import Reader
from worker.core.avro.schema import AvroType, Undecodable
from worker.core.facts import CallEnded
from worker.core.letters.values import utf8
from worker.core.model import Partition, WorkerIdentity
from worker.core.receipts.receipt import Positions, Receipt

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND: Final = timedelta(milliseconds=1)


@dataclass(frozen=True, slots=True)
class Written:
    """A receipt as it was read back: a call, how it ended, and which worker (`instance`) made it."""

    receipt: Receipt
    outcome: str
    status: int | None
    failure: str | None
    instance: str

    @property
    def delivered(self) -> bool:
        """Whether the destination took what the call carried."""
        return self.outcome == "delivered"


class NotAReceipt(Exception):
    """A record of the receipts' topic is no receipt. The message says why, without any of its values."""


def encode(
    ended: CallEnded,
    receipt: Receipt,
    *,
    outcome: str,
    worker: WorkerIdentity,
    schema: Mapping[str, object],
    schema_id: int | None,
) -> bytes:
    """Encodes the receipt of a call.

    Args:
        ended: how the call ended.
        receipt: what it was for.
        outcome: what became of it, in one word.
        worker: who made it.
        schema: `receipt.avsc`, parsed by fastavro.
        schema_id: for Confluent framing; None gives bare Avro.
    """
    buffer = io.BytesIO()
    if schema_id is not None:
        buffer.write(framing.header(schema_id))
    datum = {
        "ended_at": receipt.ended_ms,
        "seconds": ended.seconds,
        "outcome": outcome,
        "status": ended.status,
        "failure": None if ended.failure is None else str(ended.failure),
        "request_id": None if receipt.request_id is None else utf8(receipt.request_id),
        "attempt": receipt.attempt,
        "worker": {"version": worker.version, "instance": worker.instance, "group_id": worker.group_id},
        "positions": [
            {
                "topic": one.partition.topic,
                "partition": one.partition.number,
                "first": one.first,
                "last": one.last,
                "attributes": [{"name": utf8(name), "offset": offset} for name, offset in one.attributes],
            }
            for one in receipt.positions
        ],
    }
    fastavro.schemaless_writer(buffer, dict(schema), datum)
    return buffer.getvalue()


class ReceiptReader:
    """Reads receipts of one writer's schema back.

    Args:
        schema: as `json.loads` gives it. A registry may have had another version of `receipt.avsc`.

    Raises:
        InvalidSchema: It is not an Avro schema.
    """

    def __init__(self, schema: object) -> None:
        self._reader = Reader(AvroType(schema))

    def read(self, value: bytes, start: int) -> Written:
        """The receipt in a record's value. Its Avro bytes begin at `start`, behind the framing; they may be anybody's.

        Raises:
            NotAReceipt: It is none.
        """
        try:
            return _written(self._reader.read(value, start))
        except Undecodable as problem:
            raise NotAReceipt(str(problem)) from None
        except (KeyError, TypeError, ValueError, ArithmeticError) as problem:
            raise NotAReceipt(f"it does not fit the schema of receipts ({type(problem).__name__})") from None


def _written(datum: Mapping[str, Any]) -> Written:
    positions = tuple(
        Positions(
            Partition(one["topic"], one["partition"]),
            one["first"],
            tuple((each["name"], each["offset"]) for each in one["attributes"]),
        )
        for one in datum["positions"]
    )
    ended_ms = (datum["ended_at"] - _EPOCH) // _MILLISECOND
    return Written(
        Receipt(ended_ms, datum["attempt"], datum["request_id"], positions),
        datum["outcome"],
        datum["status"],
        datum["failure"],
        datum["worker"]["instance"],
    )
