"""What a call was for, in positions and names: the part of a receipt that only the core knows."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Final

from worker.core.model import Partition, User

_REQUEST_ID: Final = re.compile(r"[A-Za-z0-9_.:=/-]{1,256}")


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


def request_id_of(text: str | None, user: User) -> str | None:
    """The request id of an answer, if it looks like one. Whoever answers may repeat there what the request held."""
    if text is None or not _REQUEST_ID.fullmatch(text):
        return None
    identifiers = (user.phone, user.email, user.client_user_id, *(value for _, value in user.custom))
    return None if any(each and each.lstrip("+") in text for each in identifiers) else text
