"""What the worker knows about the destination from its replies so far."""

from __future__ import annotations

from dataclasses import dataclass

from worker.core.delivery.gate import Gate
from worker.core.delivery.rate import Rate
from worker.core.delivery.refusals import Refusals


@dataclass(frozen=True, slots=True)
class Destination:
    """Whether it works (gate), how many calls it takes (rate), and which values it refuses (refusals)."""

    gate: Gate
    rate: Rate
    refusals: Refusals
