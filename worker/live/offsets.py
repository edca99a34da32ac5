"""What is committed: offsets, and beside them a note of the dead-letter credit that is spent."""

from __future__ import annotations

from collections.abc import Collection
from typing import Final

from worker.core.engine import Engine
from worker.core.facts import CommitEnded
from worker.core.letters.storm import note_of, spent_of
from worker.core.model import Partition
from worker.live.ports import Clock, Group

NOTES_RETRY_SECONDS: Final = 2.0  # while the brokers did not tell what lies beside the committed offsets


class Offsets:
    """Reads the note of partitions that come, and commits what is settled with a note beside it.

    A partition's note is never written over before it was read: it may tell of a flood of dead letters, and without it
    each restart would begin that flood anew.
    """

    def __init__(self, group: Group, engine: Engine, clock: Clock) -> None:
        self._group = group
        self._engine = engine
        self._clock = clock
        self._unread: set[Partition] = set()  # came, and their notes were not read yet
        self._read_at = 0.0
        self._noted: tuple[int, int] | None = engine.letters_spent  # as committed last; None: not beside all offsets
        self._refused = 0

    def gained(self, partitions: Collection[Partition]) -> None:
        """These came: their notes are to be read."""
        self._unread.update(partitions)

    def gone(self, partitions: Collection[Partition]) -> None:
        """These are not held any more."""
        self._unread.difference_update(partitions)

    @property
    def read_due(self) -> float:
        """When notes are to be asked for again, in monotonic seconds; infinite where all are read."""
        return self._read_at if self._unread else float("inf")

    def read_notes(self, *, now_or_never: bool = False) -> None:
        """Takes over the credit that the previous owner of new partitions had spent.

        Not to be called from a callback of the group: librdkafka would wait for itself there.
        """
        if not self._unread or (self._clock().mono < self._read_at and not now_or_never):
            return
        notes = self._group.notes(self._unread)
        if notes is None:
            self._read_at = self._clock().mono + NOTES_RETRY_SECONDS
            return
        for note in notes:
            if (spent := spent_of(note)) is not None:
                self._engine.restore_letters_spent(spent)
        self._unread.clear()

    def commit(self, *, wait: bool, only: Collection[Partition] | None = None) -> CommitEnded | None:
        """Commits what is settled and not committed yet, of all partitions or only of some.

        Returns how it ended where that was waited for; None where it was not, or where there was nothing to commit.
        """
        committed, spent = self._group.committed(), self._engine.letters_spent
        if self._group.commits_refused != self._refused:  # a note may have been refused, though no offset was
            self._refused, self._noted = self._group.commits_refused, None
        offsets = {
            partition: offset
            for partition, offset in self._engine.committable().items()
            if (committed.get(partition) != offset or spent != self._noted)
            and partition not in self._unread
            and (only is None or partition in only)
        }
        if not offsets:
            return None
        self._noted = spent if only is None else None  # the other partitions still carry the note from before
        started = self._clock().mono
        self._group.commit(offsets, note=note_of(spent), wait=wait)
        if not wait:
            return None
        taken = self._group.committed()
        return CommitEnded(
            self._clock().mono - started, ok=all(taken.get(each) == offset for each, offset in offsets.items())
        )
