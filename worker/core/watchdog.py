"""Notices the partitions that do not advance, and says what the first unsettled record of each waits for.

Such a wait need not halt anything. One user's failing calls, one withheld letter or one unknown schema keeps a
partition's commits where they are, while all other users' calls succeed.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, TypeAlias

from worker.core.delivery.destination import Destination
from worker.core.intake import Intake
from worker.core.letters.outbox import Outbox
from worker.core.model import Partition
from worker.core.waiting.entry import Entry, Place
from worker.core.waiting.ledger import Ledger
from worker.core.waiting.window import Window

STUCK_SECONDS: Final = 60.0  # beyond the window: how long a first unsettled offset may stay the same
_EXPLAIN_SECONDS: Final = 5.0  # an explanation looks at every entry, so it is kept this long

_ENDS: Final = (
    "the others go on, and it ends as delivered or, after WORKER_ATTENTIVE__SERVER_ERROR_SECONDS, as a dead letter"
)

_Why: TypeAlias = "tuple[Obstacle, str]"


class Obstacle(StrEnum):
    """What a partition's first unsettled record waits for."""

    USER = "user"  # this user's calls fail
    WITHHELD = "withheld"  # its dead letter waits for credit
    SCHEMA = "schema"  # the registry has not answered for its schema
    DEAD_LETTER_TOPIC = "dead_letter_topic"
    HALT = "halt"
    PAUSE = "pause"  # the destination sent a Retry-After
    THROTTLED = "throttled"  # the destination answers 429
    TURN = "turn"  # its first call: the rate is used up, or it is out


@dataclass(frozen=True, slots=True)
class Stuck:
    """A partition whose `offset` has been the first unsettled one for `seconds`. `detail` is for people."""

    partition: Partition
    offset: int
    seconds: float
    obstacle: Obstacle
    detail: str


class Watchdog:
    """Compares each partition's first unsettled offset with that of the looks before.

    stuck = watchdog.look(ledgers, now)  # a few times a second
    """

    def __init__(
        self, window_seconds: float, *, intake: Intake, window: Window, outbox: Outbox, destination: Destination
    ) -> None:
        self._patience_seconds = window_seconds + STUCK_SECONDS
        self._intake = intake
        self._window = window
        self._outbox = outbox
        self._destination = destination
        self._since: dict[Ledger, tuple[int, float]] = {}
        self._stuck: dict[Ledger, int] = {}
        self._reasons: dict[Ledger, _Why] = {}
        self._explain_at = -math.inf

    def look(self, ledgers: Iterable[Ledger], now: float) -> tuple[Stuck, ...]:
        """The partitions that have stood still for too long; `now` in monotonic seconds. The longest wait first."""
        before, self._since = self._since, {}
        stuck: dict[Ledger, int] = {}
        for ledger in ledgers:
            offset = self._first_unsettled(ledger)
            if offset is None:
                continue
            known = before.get(ledger)
            since = self._since[ledger] = known if known is not None and known[0] == offset else (offset, now)
            if now - since[1] >= self._patience_seconds:
                stuck[ledger] = offset
        if stuck != self._stuck or now >= self._explain_at:
            self._stuck, self._explain_at = stuck, now + _EXPLAIN_SECONDS
            self._reasons = self._explain(stuck, now) if stuck else {}
        found = [
            Stuck(ledger.partition, offset, now - self._since[ledger][1], *self._reasons[ledger])
            for ledger, offset in stuck.items()
        ]
        return tuple(sorted(found, key=lambda one: -one.seconds))

    def _first_unsettled(self, ledger: Ledger) -> int | None:
        if not ledger.idle:
            return ledger.committable
        stalled = self._intake.first_stalled(ledger)
        return None if stalled is None else stalled.offset

    def _explain(self, stuck: Mapping[Ledger, int], now: float) -> dict[Ledger, _Why]:
        """What each of these offsets waits for, with one pass over the letters and one over the entries."""
        letters = self._outbox.letters_at(stuck)
        entries = {
            ledger: entry
            for entry in self._window.entries()
            for ledger, offset in entry.holds.items()
            if stuck.get(ledger) == offset
        }
        return {ledger: self._reason(ledger, letters.get(ledger), entries.get(ledger), now) for ledger in stuck}

    def _reason(self, ledger: Ledger, withheld: bool | None, entry: Entry | None, now: float) -> _Why:  # noqa: FBT001 - as `letters_at` gives it
        schema_id = self._intake.missing_schema(ledger)
        if ledger.idle and schema_id is not None:
            return Obstacle.SCHEMA, f"the registry has not answered for schema id {schema_id}"
        if withheld:
            return Obstacle.WITHHELD, "its dead letter is withheld until good records follow: mend the producer"
        if withheld is not None or (entry is not None and entry.place is Place.AWAITING_LETTERS):
            problem = self._outbox.problem or "the dead-letter topic has not answered"
            return Obstacle.DEAD_LETTER_TOPIC, f"its dead letter is not written yet: {problem}"
        return self._why_not_called(entry, now)

    def _why_not_called(self, entry: Entry | None, now: float) -> _Why:
        halt = self._destination.gate.halt
        if halt is not None:
            return Obstacle.HALT, f"calls are halted ({halt.reason}): {halt.detail}"
        pause_seconds = self._destination.gate.pause_seconds(now)
        if pause_seconds:
            return Obstacle.PAUSE, f"the destination asked for a pause (Retry-After) that ends in {pause_seconds:.0f} s"
        allowed = self._destination.rate.per_second
        if self._destination.rate.slowed:
            wishes = "the destination answers 429 (too many calls)"
            return Obstacle.THROTTLED, f"{wishes}, so this worker makes at most {allowed:.1f} calls a second for now"
        trial = None if entry is None else entry.trial
        if trial is not None and trial.calls:
            latest = f" (latest: {trial.trouble.latest})" if trial.trouble is not None else ""
            return Obstacle.USER, f"{trial.calls} calls for its user have not delivered it{latest}; {_ENDS}"
        return Obstacle.TURN, f"its first call waits for its turn: this worker may make {allowed:.1f} calls a second"
