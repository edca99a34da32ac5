"""Which schema id to ask a registry for next, and when to ask again. One thread owns it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from worker.backoff import full_jitter
from worker.core.model import SchemaId
from worker.registry.client import explained

FORGET_SECONDS: Final = 30.0
"""An id that was not asked for in this time is given up: its partition was dropped."""
_AGAIN_SECONDS = 5.0
"""The pause before an id that does not exist is asked for again: a registry's followers lag by seconds."""
_ABSENT_REMEMBERED_SECONDS = 300.0
_ABSENT_KEPT = 10_000
_FAILING_PAUSE_SECONDS = 0.1
_FAILING_PAUSE_MAX_SECONDS = 1.0


@dataclass(slots=True)
class _Wanted:
    """An id without an answer. Times as `time.monotonic()` gives them."""

    wanted_at: float
    due_at: float
    failures: int = 0
    problem: str | None = None


class Fetching:
    """The ids wanted, with their pauses.

    Args:
        fetch: Asks the registry, and waits for its answer: a schema, or None if the id does not exist.
        where: The registry's URLs, for texts.
        unknown_id_seconds: For so long an id that does not exist is asked for again, before that is its answer.

    Attributes:
        problem: Why an id has no answer yet. None if there is none to tell. Other threads may read it.
        failed: Whether the last step's request failed: let the pause pass before the next step.
    """

    def __init__(self, fetch: Callable[[SchemaId], object | None], where: str, unknown_id_seconds: float) -> None:
        self._fetch = fetch
        self._where = where
        self._unknown_id_seconds = unknown_id_seconds
        self._wanted: dict[SchemaId, _Wanted] = {}
        self._absent: dict[SchemaId, tuple[float, float]] = {}  # when an id was first and last known not to exist
        self._failures = 0
        self._backoff = full_jitter(0.4, 10.0)
        self.problem: str | None = None
        self.failed = False

    def want(self, schema_id: SchemaId, now: float) -> None:
        """Somebody needs this id, or still needs it."""
        wanted = self._wanted.get(schema_id)
        if wanted is None:
            self._wanted[schema_id] = _Wanted(now, due_at=now)
        else:
            wanted.wanted_at = now

    def step(self, answer: Callable[[tuple[SchemaId, object | None]], object], now: float) -> float | None:
        """Asks for the next id that is due. Returns the seconds until the next step, None if no id is wanted."""
        for schema_id in [one for one, wanted in self._wanted.items() if now > wanted.wanted_at + FORGET_SECONDS]:
            del self._wanted[schema_id]
        due = self._due(now)
        if due is not None:
            wanted = self._wanted.pop(due)
            if not self._ask(due, wanted, answer, now):
                self._wanted[due] = wanted
        self.problem = next((wanted.problem for wanted in self._wanted.values() if wanted.problem), None)
        self.failed = due is not None and self._failures > 0
        if self.failed:
            return min(_FAILING_PAUSE_SECONDS * self._failures, _FAILING_PAUSE_MAX_SECONDS)
        return max(0.0, min(wanted.due_at for wanted in self._wanted.values()) - now) if self._wanted else None

    def _due(self, now: float) -> SchemaId | None:
        """The id to ask for now. Those that failed less come first: each failure may have taken a time-out's length."""
        due = (one for one, wanted in self._wanted.items() if wanted.due_at <= now)
        return min(due, key=lambda one: self._wanted[one].failures, default=None)

    def _ask(
        self,
        schema_id: SchemaId,
        wanted: _Wanted,
        answer: Callable[[tuple[SchemaId, object | None]], object],
        now: float,
    ) -> bool:
        """Whether the registry has given an answer for good."""
        try:
            schema = self._fetch(schema_id)
        except Exception as error:  # noqa: BLE001 - whatever the client's HTTP library raises: the thread must live on
            self._failures += 1
            wanted.failures += 1
            wanted.due_at = now + self._backoff(wanted.failures)
            wanted.problem = f"cannot fetch schema {schema_id} at {self._where}: {explained(error)}"
            return False
        self._failures = 0
        if schema is None and (seconds := self._seconds_to_doubt(schema_id, now)) > 0:
            wanted.due_at = now + min(_AGAIN_SECONDS, seconds)
            wanted.problem = (
                f"schema {schema_id} does not exist at {self._where}; asked again for "
                f"{self._unknown_id_seconds:g} s, before its records become dead letters"
            )
            return False
        if schema is not None:
            self._absent.pop(schema_id, None)
        answer((schema_id, schema))
        return True

    def _seconds_to_doubt(self, schema_id: SchemaId, now: float) -> float:
        """For how much longer not to believe that an id does not exist."""
        first, last = self._absent.pop(schema_id, (now, now))
        if now > last + _ABSENT_REMEMBERED_SECONDS:
            first = now
        if len(self._absent) >= _ABSENT_KEPT:
            del self._absent[next(iter(self._absent))]
        self._absent[schema_id] = (first, now)
        return first + self._unknown_id_seconds - now
