"""Builds what a job sends with: the engine, and the parts that do its I/O."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

from structlog.typing import FilteringBoundLogger

from worker.attentive.senders import Senders
from worker.attentive.token import Token
from worker.core.delivery.rate import Rate
from worker.core.delivery.spare_rate import SpareRate
from worker.core.engine import Engine
from worker.core.facts import Observer, Observers
from worker.core.model import SchemaId, WorkerIdentity
from worker.core.replay.replay import WRITE_SECONDS
from worker.kafka.producer import DeadLetters
from worker.live import ports
from worker.live.advice import Advice
from worker.live.exchange import Exchange
from worker.live.loop import clock
from worker.live.narrate import Narrator
from worker.live.ports import Schemas
from worker.settings.model import Settings
from worker.wiring import parts

_CLOSE_SECONDS: Final = 2.0


@dataclass(frozen=True, slots=True)
class Sending:
    """What a job sends with.

    Attributes:
        producer: the producer of dead letters.
        source: the source of schemas. None if all records have one schema.
    """

    engine: Engine
    producer: DeadLetters
    source: Schemas | None
    _senders: Senders
    _bearer: Token
    _log: FilteringBoundLogger

    def exchange(self, letters: ports.DeadLetters, *observers: Observer) -> Exchange:
        """Does the engine's I/O, with this way to the dead-letter topic. The observers are told the facts."""
        return Exchange(
            self.engine,
            senders=self._senders,
            letters=letters,
            schemas=None if self.source is None else _Framing(self.source),
            token=self._bearer,
            clock=clock,
            observer=Observers(Narrator(self._log, Advice(self._bearer)), *observers),
        )


@contextmanager
def sending(
    settings: Settings, who: WorkerIdentity, rate: float | None, log: FilteringBoundLogger
) -> Iterator[Sending]:
    """The parts with their connections, which end with the context. `rate` None takes what live traffic leaves.

    Raises:
        Unusable: As `wiring.worker.worker`.
    """
    bearer = parts.token(settings)
    senders = parts.senders(settings, bearer, lambda: True, write_within_seconds=WRITE_SECONDS)
    source = parts.schemas(settings)
    letters = parts.dead_letters(settings, who, source, log)
    engine = parts.engine(_at_once(settings), clock(), rate=_rate(settings, rate), search_yields=True)
    senders.start()
    try:
        yield Sending(engine, letters, source, senders, bearer, log)
    finally:
        senders.close(_CLOSE_SECONDS)
        if source is not None:
            source.close()
        letters.close(_CLOSE_SECONDS)


def _at_once(settings: Settings) -> Settings:
    """Without a window, and without receipts: only `run` writes these."""
    changed = {"window": {"seconds": 0.0}, "receipts": {"topic": None}}
    sections = {name: getattr(settings, name).model_copy(update=of) for name, of in changed.items()}
    return settings.model_copy(update=sections)


def _rate(settings: Settings, fixed: float | None) -> Rate:
    now = clock().mono
    if fixed is None:
        return SpareRate(settings.attentive.requests_per_second, now)
    rate = Rate(fixed, now)
    rate.share(1.0, now)
    return rate


class _Framing:
    """A source of schemas for the exchange of a job. The job's reading asks for the schemas of records by itself."""

    def __init__(self, source: Schemas) -> None:
        self.dead_letter_schema_id = source.dead_letter_schema_id
        self.receipt_schema_id = source.receipt_schema_id
        self.waiting = source.waiting

    def request(self, schema_id: SchemaId) -> None:
        """Does nothing."""

    def answers(self) -> list[tuple[SchemaId, object | None]]:
        """None: they belong to the reading."""
        return []

    def close(self) -> None:
        """Does nothing: the reading's source is closed with the job."""
