"""Does the engine's I/O: calls and replies, dead letters, schemas.

`run` uses it under a membership of the consumer group. A job over a range of offsets can use it alone.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from worker.core.engine import Engine
from worker.core.facts import Observer
from worker.core.model import Partition
from worker.live.ports import Clock, DeadLetters, Schemas, Senders, Token

BUSY_SECONDS: Final = 0.01  # the longest wait of a loop that expects replies or delivery reports
TOKEN_SECONDS: Final = 1.0  # how often a halted worker checks whether its token has changed


class Exchange:
    """The engine and the parts that do its I/O. One thread owns it.

    Example, without a group: receive records, and step until all of them are settled.

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
        """`schemas` is None if all records have one schema, from the settings."""
        self.engine = engine
        self.clock = clock
        self.observer = observer
        self._senders = senders
        self._letters = letters
        self._schemas = schemas
        self._token = token
        self._token_at = 0.0

    def step(self, wait_seconds: float = 0.0, calls_max: int | None = None) -> int:
        """Receives what has arrived, and sends what is due. Returns how many calls have ended.

        If a call is in flight, waits up to `wait_seconds` for a reply. Starts at most `calls_max` calls, if given.
        """
        self._step_schemas()
        ended = self._take_replies(wait_seconds)
        self._reload_token()
        self._make_calls(calls_max)
        self._step_letters()
        for fact in self.engine.facts():
            self.observer.observe(fact)
        return ended

    def rest(self, seconds: float) -> None:
        """Waits for so long. Calls in flight go on meanwhile, and the next `step` takes their replies."""
        self._senders.rest(seconds)

    def drop(self, partitions: Iterable[Partition]) -> None:
        """Drops the partitions from the engine, and aborts the calls that carry nothing else."""
        self._senders.abort(self.engine.dropped(partitions))

    @property
    def busy(self) -> bool:
        """Whether an answer is expected: a reply, a delivery report or a schema."""
        engine = self.engine
        return bool(engine.in_flight or engine.letters_waiting or engine.missing_schemas)

    @property
    def concurrency(self) -> int:
        """How many calls may be in flight together."""
        return self._senders.free + self.engine.in_flight

    @property
    def halted(self) -> str | None:
        """Why calls are held back, in words. None if they are not."""
        halt = self.engine.halt
        return None if halt is None else f"halted ({halt.reason}): {halt.detail}"

    def _step_schemas(self) -> None:
        if self._schemas is None:
            return
        for schema_id, schema in self._schemas.answers():
            self.engine.schema(schema_id, schema, self.clock())
        for schema_id in self.engine.missing_schemas:
            self._schemas.request(schema_id)

    def _take_replies(self, wait_seconds: float) -> int:
        replies = self._senders.replies(wait_seconds)
        for call, reply in replies:
            self.engine.replied(call, reply, self.clock())
        return len(replies)

    def _reload_token(self) -> None:
        now = self.clock()
        if self.engine.halt is not None and now.mono >= self._token_at:
            self._token_at = now.mono + TOKEN_SECONDS
            if self._token.reload():
                self.engine.token_changed(now)

    def _make_calls(self, calls_max: int | None) -> None:
        free = self._senders.free if calls_max is None else min(calls_max, self._senders.free)
        for call in self.engine.calls(free, self.clock()):
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
        """Whether the id of the dead-letter schema is known. Until then, letters wait in the outbox."""
        return self._schemas is None or self._schemas.dead_letter_schema_id() is not None
