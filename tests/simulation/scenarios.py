"""What a seed can stand for, by name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

from tests.simulation.plan import Plan, make
from tests.simulation.replay_plan import make_replay

WORKERS: Final = "workers"
REPLAY: Final = "replay"

SCENARIOS: Final[Mapping[str, Callable[[int], Plan]]] = {WORKERS: make, REPLAY: make_replay}
