"""What a call was for, in positions and names: the part of a receipt that only the core knows."""

from __future__ import annotations

from dataclasses import dataclass, field

from worker.core.model import Partition

REQUEST_ID_MAX = 256


@dataclass(frozen=True, slots=True)
class Positions:
    """Where the changes of the call's user lie in one partition.

    `first` is the offset of the first change that is not settled yet; `attributes` are the names that the call carries,
    each with the offset of the record that its value is from.
    """

    partition: Partition
    first: int
    attributes: tuple[tuple[str, int], ...]

    @property
    def last(self) -> int:
        """The highest offset of a value that the call carries."""
        return max((offset for _, offset in self.attributes), default=self.first)


@dataclass(frozen=True, slots=True)
class Receipt:
    """What a call was for. No identifier of a user, and no value.

    Attributes:
        ended_ms: when it ended, in milliseconds since the epoch.
        attempt: the how many-th call this is for its entry, from 1.
        request_id: by which the destination knows the call, if it said so.
        positions: of each partition. A partition that went away meanwhile is left out: its next owner sends again.
    """

    ended_ms: int
    attempt: int
    request_id: str | None = field(repr=False)
    positions: tuple[Positions, ...]
