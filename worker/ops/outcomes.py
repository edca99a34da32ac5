"""What became of a call, in one word of a small set: for metrics and spans."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, Literal

from worker.core.delivery.verdict import Verdict

Outcome = Literal["delivered", "refused", "dead_letter", "retry", "halted", "aborted"]
"""See the table of replies."""

OUTCOMES: Final[Mapping[Verdict, Outcome]] = {
    Verdict.DELIVERED: "delivered",
    Verdict.REFUSED: "refused",
    Verdict.NOT_FOUND: "dead_letter",
    Verdict.UNEXPECTED: "dead_letter",
    Verdict.RETRY: "retry",
    Verdict.THROTTLED: "retry",
    Verdict.UNAUTHORIZED: "halted",
    Verdict.WRONG_URL: "halted",
    Verdict.ABORTED: "aborted",
}
