"""What a check found."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

ASK_SECONDS: Final = 8.0
"""The longest wait for one answer. It keeps every check within about ten seconds."""


class Level(StrEnum):
    """How bad it is. Only `fail` makes the command fail."""

    OK = "ok"
    WARN = "warn"
    FAIL = "fail"


def period(milliseconds: int) -> str:
    """A time in words, by the largest unit that it is a multiple of: `7 days`, `90 s`."""
    for unit, size in (("days", 86_400_000), ("hours", 3_600_000), ("minutes", 60_000)):
        if milliseconds >= 2 * size and milliseconds % size == 0:
            return f"{milliseconds // size} {unit}"
    return f"{milliseconds / 1000:g} s"


@dataclass(frozen=True, slots=True)
class Finding:
    """One line: which check, what it found, and how to mend it. Contains no secret and no identifier."""

    level: Level
    check: str
    what: str
    mend: str | None = None

    @classmethod
    def ok(cls, check: str, what: str) -> Finding:
        """All is well."""
        return cls(Level.OK, check, what)

    @classmethod
    def warn(cls, check: str, what: str, mend: str | None = None) -> Finding:
        """Worth a look, but the worker can run."""
        return cls(Level.WARN, check, what, mend)

    @classmethod
    def fail(cls, check: str, what: str, mend: str | None = None) -> Finding:
        """The worker would not do its work."""
        return cls(Level.FAIL, check, what, mend)
