"""What a comparison of topic and destination found, and what became of it."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from enum import StrEnum

from worker.jobs.sample import Last, Subject


class Kind(StrEnum):
    """How an attribute differs."""

    MISSING = "missing"
    DIFFERENT = "different"
    UNEXPECTED = "unexpected"  # the destination holds it, and the topic does not say it


@dataclass(frozen=True, slots=True)
class Finding:
    """An attribute that differs. `last` is what the topic says, None for an unexpected one."""

    subject: Subject
    attribute: str
    kind: Kind
    last: Last | None = None
    returned: object = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class Wrong:
    """A value of the topic that the destination does not hold, though it should."""

    subject: Subject
    attribute: str
    last: Last

    @property
    def is_last(self) -> bool:
        """Whether the topic still says this: no later change has been read."""
        return self.subject.last[self.attribute] is self.last


@dataclass(slots=True)
class Tally:
    """What was compared and mended.

    Attributes:
        users: those chosen, also those that cannot be read.
        attributes: those of the topic that were judged: equal, missing or different.
        equal: of these, those that are the same.
        found: how many differ, by kind.
        young: changes that may still be on their way: not judged.
        nameless: users without a phone and an email.
        failed: users for whom the destination gave no usable answer, by its words.
        left: users that were chosen and not compared, because the job was stopped.
        repaired: values that were sent, and that the destination now holds.
        overtaken: values that differed, and have a later change by now, which may be on its way.
        unmended: values that differ also after they were sent, by why.
    """

    users: int = 0
    attributes: int = 0
    equal: int = 0
    found: Counter[Kind] = field(default_factory=Counter)
    young: int = 0
    nameless: int = 0
    failed: Counter[str] = field(default_factory=Counter)
    left: int = 0
    repaired: int = 0
    overtaken: int = 0
    unmended: Counter[str] = field(default_factory=Counter)

    @property
    def unreadable(self) -> int:
        """Users that could not be compared."""
        return self.nameless + self.failed.total()

    @property
    def wrong(self) -> int:
        """Values of the topic that the destination did not hold."""
        return self.found[Kind.MISSING] + self.found[Kind.DIFFERENT]

    @property
    def undecided(self) -> int:
        """Of these, those of which nobody knows yet whether they are mended."""
        return self.wrong - self.repaired - self.overtaken - self.unmended.total()

    @property
    def differs(self) -> bool:
        """Whether something differs still, as far as is known. For an unexpected value there is nothing to send."""
        return bool(self.undecided or self.unmended or self.found[Kind.UNEXPECTED])
