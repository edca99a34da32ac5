"""Builds what a job sends with: the engine, and the parts that do its I/O."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Final

from structlog.typing import FilteringBoundLogger

from worker.attentive.senders import Senders
from worker.attentive.token import Token
from worker.clocks import boot_clock
from worker.core.delivery.rate import Rate
from worker.core.delivery.spare_rate import SpareRate
from worker.core.engine import Engine
from worker.core.facts import Observer, Observers
from worker.core.model import Now, SchemaId, WorkerIdentity
from worker.kafka.producer import DeadLetters
from worker.live import ports
from worker.live.advice import Advice
from worker.live.exchange import Exchange
from worker.live.narrate import Narrator
from worker.live.ports import Schemas
from worker.settings.model import Settings
from worker.wiring import parts

_CLOSE_SECONDS: Final = 2.0
_CALL_SECONDS: Final = 1.0


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
    _senders: Callable[[Callable[[], float]], Senders]
    _bearer: Token
    _log: FilteringBoundLogger

    def exchange(self, letters: ports.DeadLetters, write_by: Callable[[], float], *observers: Observer) -> Exchange:
        """Does the engine's I/O, with this way to the dead-letter topic. A call is written by then, or not at all.

        The observers are told the facts.

        Raises:
            Unusable: As `parts.senders`.
        """
        return Exchange(
            self.engine,
            senders=self._senders(write_by),
            letters=letters,
            schemas=None if self.source is None else _Framing(self.source),
            token=self._bearer,
            clock=clock,
            observer=Observers(Narrator(self._log, Advice(self._bearer)), *observers),
        )


@contextmanager
def sending(
    settings: Settings, who: WorkerIdentity, rate: float | None, log: FilteringBoundLogger, *, storms: bool = True
) -> Iterator[Sending]:
    """The parts with their connections, which end with the context. `rate` None takes what live traffic leaves.

    `storms`: whether many refused calls in a row are a halt.

    Raises:
        Unusable: As `wiring.worker.worker`.
    """
    bearer = parts.token(settings)
    source = parts.schemas(settings)
    letters = parts.dead_letters(settings, who, source, log)
    engine = parts.engine(_of_a_job(settings), clock(), rate=_rate(settings, rate), search_yields=True, storms=storms)
    with ExitStack() as stack:
        stack.callback(letters.close, _CLOSE_SECONDS)
        if source is not None:
            stack.callback(source.close)

        def senders(write_by: Callable[[], float]) -> Senders:
            made = parts.senders(settings, bearer, lambda: True, write_by=write_by)
            stack.callback(made.close)
            return made

        yield Sending(engine, letters, source, senders, bearer, log)


def clock() -> Now:
    """Now. It counts while the machine is suspended: what a job had read before that is old."""
    return Now(boot_clock(), time.time_ns() // 1_000_000)


def quiet_seconds(settings: Settings) -> float:
    """For so long a user must not have changed before a job calls for it.

    Then live workers hold nothing of it any more, if they keep up and their calls take less than a second. And whatever
    comes now, they keep for a window.
    """
    return settings.window.seconds + _CALL_SECONDS


def _of_a_job(settings: Settings) -> Settings:
    """Without receipts: only `run` writes these. Its window is for values that overtake a call."""
    changed = {"window": {"seconds": quiet_seconds(settings)}, "receipts": {"topic": None}}
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
