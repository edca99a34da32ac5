"""What a seed can stand for, by name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

from tests.simulation.plan import Plan, make
from tests.simulation.redrive_plan import make_redrive
from tests.simulation.replay_plan import make_replay

WORKERS: Final = "workers"
REPLAY: Final = "replay"
REDRIVE: Final = "redrive"

SCENARIOS: Final[Mapping[str, Callable[[int], Plan]]] = {WORKERS: make, REPLAY: make_replay, REDRIVE: make_redrive}
