"""What the worker knows about the destination from its replies so far."""

from __future__ import annotations

from dataclasses import dataclass

from worker.core.delivery.attribution import Attribution
from worker.core.delivery.gate import Gate
from worker.core.delivery.rate import Rate
from worker.core.delivery.refusals import Refusals


@dataclass(frozen=True, slots=True)
class Destination:
    """Whose trouble (attribution), whether it works (gate), how many calls (rate), and what it refuses (refusals)."""

    attribution: Attribution
    gate: Gate
    rate: Rate
    refusals: Refusals
