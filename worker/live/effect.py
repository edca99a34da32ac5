"""Notices that records are read, and none of them says anything that can be sent.

Each of them is passed over by a rule, so nothing fails. But a rule with a typo passes over what should be sent.
"""

from __future__ import annotations

from typing import Final

from worker.core.totals import Totals

RECORDS: Final = 100
SKIPPED: Final = 1_000
"""So many records that the mapping leaves out as a whole, and none else: a topic of many types has some of them."""

_CAUSES: Final = (
    "look at WORKER_MAPPING__ATTRIBUTES and the other WORKER_MAPPING__ settings, and at WORKER_ATTRIBUTES__ALLOW; "
    "attribute-worker check compares them with the schemas"
)


_SKIPS: Final = (
    "look for a typo in WORKER_MAPPING__TYPES, WORKER_MAPPING__IGNORE_WHEN and WORKER_MAPPING__IGNORE_WHEN_NULL; "
    "attribute-worker check compares them with the newest records"
)


class Effect:
    """Compares what became of the records with the looks before.

    problem = effect.problem(totals)  # a few times a second
    """

    def __init__(self) -> None:
        self._effective = 0
        self._empty_before = 0

    def problem(self, totals: Totals) -> str | None:
        """That of the latest records `RECORDS` or more had nothing to send, and none had anything, in words.

        Tombstones don't count. Records that the mapping leaves out as a whole count only if all since the start were.
        """
        effective = totals.records - totals.ignored
        if effective != self._effective:
            self._effective, self._empty_before = effective, totals.empty
        empty = totals.empty - self._empty_before
        if empty >= RECORDS:
            return f"the latest {empty:,} records held nothing to send: {_CAUSES}"
        skipped = totals.ignored - totals.empty - totals.tombstones
        if effective or skipped < SKIPPED:
            return None
        return f"the mapping has left out all {skipped:,} records since the start: {_SKIPS}"
