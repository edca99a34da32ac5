"""Deliberate faults of sparing: each lets it believe something of the destination that is no longer certain."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TypeAlias

import pytest

from worker.core.model import Scalar, User, UserKey
from worker.core.waiting import sparing
from worker.core.waiting.entry import Entry
from worker.core.waiting.ledger import Ledger
from worker.core.waiting.sparing import Sparing

Mutation: TypeAlias = Callable[[pytest.MonkeyPatch], None]


def remembers_over_a_revoke(patch: pytest.MonkeyPatch) -> None:
    """A partition comes back, and what was remembered before another owner had it still counts."""
    original = Sparing.changed

    def changed(
        self: Sparing, key: UserKey, sent: User | None, values: Mapping[str, Scalar], ledger: Ledger, now: float
    ) -> Mapping[str, Scalar]:
        remembered = self.users.get(key)
        values_before = {} if remembered is None else remembered.values
        for name, known in values_before.items():
            if known.ledger.partition == ledger.partition:
                values_before[name] = known._replace(ledger=ledger)
        return original(self, key, sent, values, ledger, now)

    patch.setattr(Sparing, "forget", lambda *_: None)
    patch.setattr(Sparing, "changed", changed)


def remembers_what_a_waiting_value_will_replace(patch: pytest.MonkeyPatch) -> None:
    """A different value is on its way, perhaps applied without a reply, and the one before it still counts."""
    patch.setattr(Sparing, "forget_values", lambda *_: None)


def remembers_the_value_before_a_refused_one(patch: pytest.MonkeyPatch) -> None:
    """The value before a refused one counts as the last word, though a redrive may deliver the refused one."""
    original = Entry.step_back

    def step_back(self: Entry, name: str) -> bool:
        stepped_back = original(self, name)
        self.trial.overtaken -= {name}
        return stepped_back

    patch.setattr(Entry, "step_back", step_back)


def remembers_what_was_overtaken_in_flight(patch: pytest.MonkeyPatch) -> None:
    """A call's value is remembered when it is acknowledged, though a newer one was read meanwhile."""
    patch.setattr(Entry, "overtake", lambda *_: 0)


def spares_one_for_true(patch: pytest.MonkeyPatch) -> None:
    """True, 1 and 1.0 count as unchanged."""
    patch.setattr(sparing, "_same", lambda one, other: one == other)


ALL: Sequence[Mutation] = (
    remembers_over_a_revoke,
    remembers_what_a_waiting_value_will_replace,
    remembers_the_value_before_a_refused_one,
    remembers_what_was_overtaken_in_flight,
    spares_one_for_true,
)
