"""How far a replay has come, and what it has found."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from worker.core.replay.subject import Subject

MARKS_MAX: Final = 300
"""Users that progress names one by one. They must fit into Kafka's commit metadata, which takes 4 KiB."""


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a replay has come. Another process can go on from here.

    Attributes:
        begun: calls may have been made for users with a place below this, and for no others.
        open: of these, the places of those that are not delivered.
        unverified: of those that are delivered, the places of those whose newer values may still have to be sent.
        done: nothing is left.
    """

    begun: int = 0
    open: frozenset[int] = frozenset()
    unverified: frozenset[int] = frozenset()
    done: bool = False


@dataclass(slots=True)
class Tally:
    """What a replay has found, over all its passes.

    Attributes:
        changes: records of the range that say something of a chosen user and attribute.
        users: with a change in the range.
        calls: users of which something is to be sent.
        superseded: values in the range that are not sent, because a later one stands in the log.
        delivered: users of which all is delivered, or a dead letter.
    """

    changes: int = 0
    users: int = 0
    calls: int = 0
    superseded: int = 0
    delivered: int = 0

    def add(self, subject: Subject) -> None:
        """A user of the index."""
        sent = subject.attributes
        self.users += 1
        self.calls += sent > 0
        self.superseded += subject.values - sent

    def add_single(self, users: int) -> None:
        """So many users with one record each, all of whose values are sent."""
        self.users += users
        self.calls += users
