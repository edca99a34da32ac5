"""What the worker has done since it started, counted."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field, replace


@dataclass(slots=True)
class Totals:
    """Counters that only grow.

    Attributes:
        records: records taken in, of every kind.
        tombstones: records without a value, which the worker ignores.
        ignored: records that left nothing to send and nothing to dead-letter, tombstones included.
        empty: those of them that no rule left out as a whole, but all their attributes, or that had none.
        passed_over: attributes left out by a rule (nulls dropped, names not on the allow-list).
        dropped_identifiers: invalid identifiers that named nobody, and were not sent.
        changes: changes of users that went into an entry, or were spared.
        shared_users: changes that went into an entry with changes of another partition.
        calls: requests made.
        calls_saved: changes that were settled without a call of their own.
        spared_changes: those of them of which every value was unchanged.
        spared_values: values left out because the destination holds them.
        delivered_entries: settled entries with at least one attribute delivered.
        retries: those of them that repeat a call which the destination failed or throttled.
        replies: replies by status code, or by the failure's name.
        dead_letters: acknowledged dead letters by reason.
    """

    records: int = 0
    tombstones: int = 0
    ignored: int = 0
    empty: int = 0
    passed_over: int = 0
    dropped_identifiers: int = 0
    changes: int = 0
    shared_users: int = 0
    calls: int = 0
    calls_saved: int = 0
    spared_changes: int = 0
    spared_values: int = 0
    delivered_entries: int = 0
    retries: int = 0
    replies: Counter[str] = field(default_factory=Counter)
    dead_letters: Counter[str] = field(default_factory=Counter)

    @property
    def saved_ratio(self) -> float | None:
        """The share of calls that coalescing saved, 0 to 1; None before the first call."""
        asked = self.calls + self.calls_saved
        return self.calls_saved / asked if asked else None

    def snapshot(self) -> Totals:
        """A copy that no longer changes, for other threads to read."""
        return replace(self, replies=Counter(self.replies), dead_letters=Counter(self.dead_letters))
