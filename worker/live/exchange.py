"""Carries out what the engine decides: calls and replies, dead letters, schemas.

`run` uses it under a membership of the consumer group; a job over a range of offsets uses it alone.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from worker.core.engine import Engine
from worker.core.facts import Observer
from worker.core.model import Partition
from worker.live.ports import Clock, DeadLetters, Schemas, Senders, Token

BUSY_SECONDS: Final = 0.01  # how long a loop may wait while replies or delivery reports are expected
TOKEN_SECONDS: Final = 1.0  # how often a halted worker looks whether its token is another one


class Exchange:
    """The engine and the parts that it speaks to. One thread owns it.

    Example, without a group: take records in and turn until all of them are settled.

        exchange.engine.assigned([partition])
        exchange.engine.receive(records, clock())
        while not exchange.engine.drained([partition]):
            exchange.step(wait_seconds=0.01)
    """

    def __init__(
        self,
        engine: Engine,
        *,
        senders: Senders,
        letters: DeadLetters,
        schemas: Schemas | None,
        token: Token,
        clock: Clock,
        observer: Observer,
    ) -> None:
        """`schemas` is None where all records have the one schema that the settings name."""
        self.engine = engine
        self.clock = clock
        self.observer = observer
        self._senders = senders
        self._letters = letters
        self._schemas = schemas
        self._token = token
        self._token_at = 0.0

    def step(self, wait_seconds: float = 0.0) -> None:
        """Takes in what came and sends what is due.

        Where a call is in flight, it waits up to `wait_seconds` for a reply.
        """
        self._step_schemas()
        self._take_replies(wait_seconds)
        self._look_for_another_token()
        self._make_calls()
        self._step_letters()
        for fact in self.engine.facts():
            self.observer.observe(fact)

    def drop(self, partitions: Iterable[Partition]) -> None:
        """These went away: nothing of them is sent any more, and their calls are cut short."""
        self._senders.abort(self.engine.dropped(partitions))

    @property
    def busy(self) -> bool:
        """Whether something is under way whose end this waits for: calls, dead letters, schemas."""
        engine = self.engine
        return bool(engine.in_flight or engine.letters_waiting or engine.missing_schemas)

    def _step_schemas(self) -> None:
        if self._schemas is None:
            return
        for schema_id, schema in self._schemas.answers():
            self.engine.schema(schema_id, schema, self.clock())
        for schema_id in self.engine.missing_schemas:
            self._schemas.request(schema_id)

    def _take_replies(self, wait_seconds: float) -> None:
        for call, reply in self._senders.replies(wait_seconds):
            self.engine.replied(call, reply, self.clock())

    def _look_for_another_token(self) -> None:
        now = self.clock()
        if self.engine.halt is not None and now.mono >= self._token_at:
            self._token_at = now.mono + TOKEN_SECONDS
            if self._token.reload():
                self.engine.token_changed(now)

    def _make_calls(self) -> None:
        for call in self.engine.calls(self._senders.free, self.clock()):
            self._senders.submit(call)

    def _step_letters(self) -> None:
        engine = self.engine
        for letter, error in self._letters.results():
            if error is None:
                engine.letter_written(letter, self.clock())
            else:
                engine.letter_failed(letter, error, self.clock())
        if engine.letters_waiting and self._can_frame_letters():
            for letter in engine.letters(self.clock()):
                self._letters.publish(letter)

    def _can_frame_letters(self) -> bool:
        """Whether the id of the dead letter's own schema is known. Until then letters wait in the outbox."""
        return self._schemas is None or self._schemas.dead_letter_schema_id() is not None
