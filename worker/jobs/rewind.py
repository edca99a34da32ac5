"""Where the group's committed offsets are moved from and to."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from worker.core.model import Partition
from worker.jobs.spans import Reach
from worker.kafka.committed import Committed


@dataclass(frozen=True, slots=True)
class Move:
    """One partition's part.

    Attributes:
        before: the committed offset. None: the group committed nothing.
        after: never below `earliest`, nor behind the end of the log.
        earliest: the first offset that the log still has.
        shortened: records that were asked for are deleted, as far as can be known: it goes to `earliest`.
        note: of the spent dead letters, as it stands beside `before`.
    """

    partition: Partition
    before: int | None
    after: int
    earliest: int
    shortened: bool
    note: str

    @property
    def passed_over(self) -> int:
        """So many offsets lie before `after` and are not committed yet: the group will never read them."""
        return max(0, self.after - max(self.before or 0, self.earliest))


def moves(reaches: Mapping[Partition, Reach], committed: Mapping[Partition, Committed]) -> list[Move]:
    """What each partition's part is, to begin again where each of `reaches` starts."""
    return [
        Move(each, committed[each].offset, to.start, to.earliest, to.shortened, committed[each].note)
        for each, to in sorted(reaches.items())
    ]


def to_commit(planned: list[Move]) -> dict[Partition, tuple[int, str]]:
    """What to commit for it: each offset with the note that is there.

    The note holds back a flood of dead letters over restarts. A rewind is a restart further back: it does not say that
    the cause of the flood is mended, and without the note each rewind would begin the flood anew.
    """
    return {each.partition: (each.after, each.note) for each in planned if each.before != each.after}
