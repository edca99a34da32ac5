"""What people and metrics should hear of, collected until the shell asks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Notice:
    """Something that people should hear of once: `event` names it, `fields` hold no identifier and no value."""

    event: str
    fields: Mapping[str, object]


@dataclass(frozen=True, slots=True)
class Delivery:
    """A settled entry of which something reached the destination.

    `age_seconds` runs from its first change's record timestamp to the settlement.
    """

    changes: int
    age_seconds: float


@dataclass(slots=True)
class News:
    """Notices and deliveries since the last look."""

    notices: list[Notice] = field(default_factory=list)
    deliveries: list[Delivery] = field(default_factory=list)

    def tell(self, event: str, **fields: object) -> None:
        """Adds a notice."""
        self.notices.append(Notice(event, fields))

    def take(self) -> tuple[list[Notice], list[Delivery]]:
        """Everything since the last look."""
        taken = (self.notices, self.deliveries)
        self.notices, self.deliveries = [], []
        return taken
