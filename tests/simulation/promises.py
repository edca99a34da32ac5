"""How a broken promise is told."""

from __future__ import annotations


class PromiseBroken(AssertionError):
    """A check failed. `check` names it; two failures of one check count as the same one while a plan is shrunk."""

    def __init__(self, check: str, detail: str) -> None:
        super().__init__(f"{check}: {detail}")
        self.check = check
