"""Commits offsets, and beside them a note (Kafka's commit metadata) of the spent dead-letter credit."""

from __future__ import annotations

from collections.abc import Collection
from typing import Final

from worker.core.engine import Engine
from worker.core.facts import CommitEnded
from worker.core.letters.storm import note_of, spent_of
from worker.core.model import Partition
from worker.live.ports import Clock, Group

NOTES_RETRY_SECONDS: Final = 2.0  # after the brokers did not return the notes


class Offsets:
    """Reads the notes of newly assigned partitions, and commits what is settled.

    Nothing is committed for a partition before its note is read: a commit replaces the note. The note may tell of a
    flood of dead letters. Without it, each restart would begin that flood again.

        offsets.gained(partitions)
        offsets.read_notes()  # takes over the credit that their previous owner had spent
        offsets.commit(wait=False)  # in every few turns of the loop
        offsets.commit(wait=True, only=partitions)  # at the end of a drain
        offsets.gone(partitions)
    """

    def __init__(self, group: Group, engine: Engine, clock: Clock) -> None:
        self._group = group
        self._engine = engine
        self._clock = clock
        self._notes_unread: set[Partition] = set()  # assigned partitions whose notes are not read yet
        self._read_notes_at = 0.0
        # The note beside the committed offsets of all partitions. None if some partition may have another one.
        self._committed_spent: tuple[int, int] | None = engine.letters_spent
        self._refused_seen = 0

    def gained(self, partitions: Collection[Partition]) -> None:
        """Partitions were assigned: their notes must be read."""
        self._notes_unread.update(partitions)

    def gone(self, partitions: Collection[Partition]) -> None:
        """Partitions were dropped."""
        self._notes_unread.difference_update(partitions)

    @property
    def notes_due(self) -> float:
        """When to read notes next, in monotonic seconds; infinite if all are read."""
        return self._read_notes_at if self._notes_unread else float("inf")

    def read_notes(self, *, now_or_never: bool = False) -> None:
        """Reads the notes beside the committed offsets of newly assigned partitions, and restores the spent credit.

        `now_or_never` ignores the pause after a failure. Don't call this from a group callback: the poll that brings
        the answer is waiting for the callback to return.
        """
        if not self._notes_unread or (self._clock().mono < self._read_notes_at and not now_or_never):
            return
        notes = self._group.notes(self._notes_unread)
        if notes is None:
            self._read_notes_at = self._clock().mono + NOTES_RETRY_SECONDS
            return
        for note in notes:
            if (spent := spent_of(note)) is not None:
                self._engine.restore_letters_spent(spent)
        self._notes_unread.clear()

    def commit(self, *, wait: bool, only: Collection[Partition] | None = None) -> CommitEnded | None:
        """Commits what is settled and not committed yet, for all partitions or only for some.

        With `wait`, returns how the commit ended. None without `wait`, or if there was nothing to commit.
        """
        committed, spent = self._group.committed(), self._engine.letters_spent
        # A commit was refused. New offsets are sent again anyway: `committed` has not moved. But if only the note was
        # new, `committed` equals the offsets already. So forget which note is committed, and send the note again.
        if self._group.commits_refused != self._refused_seen:
            self._refused_seen, self._committed_spent = self._group.commits_refused, None
        offsets = {
            partition: offset
            for partition, offset in self._engine.committable().items()
            if (committed.get(partition) != offset or spent != self._committed_spent)
            and partition not in self._notes_unread
            and (only is None or partition in only)
        }
        if not offsets:
            return None
        self._committed_spent = spent if only is None else None  # with `only`, the other partitions keep their old note
        started = self._clock().mono
        self._group.commit(offsets, note=note_of(spent), wait=wait)
        if not wait:
            return None
        acknowledged = self._group.committed()
        return CommitEnded(
            self._clock().mono - started, ok=all(acknowledged.get(each) == offset for each, offset in offsets.items())
        )
