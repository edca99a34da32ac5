"""The exception that a check raises when a worker breaks a promise."""

from __future__ import annotations


class PromiseBroken(AssertionError):
    """A check failed. `check` names it; to the shrinker, two failures of one check are the same failure."""

    def __init__(self, check: str, detail: str) -> None:
        super().__init__(f"{check}: {detail}")
        self.check = check
