"""A model of the destination: what it accepts, what it refuses, how fast it is, and all the ways it can fail."""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from decimal import Decimal

from tests.simulation.plan import AGE, BAD_TIERS, FOREIGN, FREE, LATE_TIER, QUIET, TIER, Fault, Plan
from tests.simulation.timeline import Timeline
from worker.core.model import Call, Failure, Reply, Scalar

_FAILURES = {"connect": Failure.CONNECT, "timeout": Failure.TIMEOUT, "broken": Failure.BROKEN}


def kind_of(value: Scalar) -> str:
    """The type by which the destination pins an attribute."""
    if isinstance(value, bool):
        return "boolean"
    return "number" if isinstance(value, int | float | Decimal) else "string"


class Attentive:
    """The destination.

    Attributes:
        state: what each user holds.
        pins: the type to which each attribute is pinned, by the first value that it ever got.
        faults: the faults that are on now.
    """

    def __init__(self, plan: Plan, timeline: Timeline, rng: random.Random) -> None:
        self.state: dict[int, dict[str, Scalar]] = {}
        self.pins: dict[str, str] = {AGE: "number", TIER: "string"}
        if plan.pinned:
            self.pins[FREE] = "number"
        self.faults: list[Fault] = []
        self._plan = plan
        self._timeline = timeline
        self._rng = rng
        self._second = 0
        self._counted = 0

    def latency(self) -> float:
        """How long the next call takes, in seconds."""
        typical = self._plan.latency_seconds
        if any(fault.kind == "slow" for fault in self.faults):
            typical += 1.0
        return 0.001 + self._rng.expovariate(1.0 / typical)

    def unreachable(self) -> Failure | None:
        """Why a request fails before it is sent, or None."""
        for fault in self.faults:
            if fault.kind == "outage" and fault.how == "connect":
                return Failure.CONNECT
            if fault.kind == "unauthorized" and fault.how == "no_token":
                return Failure.NO_TOKEN
        return None

    def answer(self, user: int, call: Call, applied: Callable[[], None]) -> Reply:
        """Answers a request that has arrived. Calls `applied` if it set anything, even if the reply then gets lost."""
        remaining = self._count()
        status, failure = self._disturbed(user)
        page = any(fault.kind == FOREIGN and fault.how.endswith("page") for fault in self.faults) and status is not None
        if status is None and failure is None and remaining < 0:
            status = 429
        message = ""
        if status is None and failure is None:
            status, message = self._judge(user, call)
        if status in {200, 202} and not page:
            self._apply(user, call)
            applied()
            failure = self._lost()
            status = None if failure is not None else status
        after = None
        if status == 429 and any(fault.kind == "throttle" and fault.how == "after" for fault in self.faults):
            after = self._rng.choice((0.5, 2.0, 30.0))
        return Reply(
            status,
            failure,
            retry_after_seconds=after,
            rate_limit=math.floor(self._plan.options.requests_per_second),
            rate_remaining=max(0, remaining),
            message=message,
            no_such_path=status == 404 and any(fault.how == "path" for fault in self.faults),
            web_page=page,
        )

    def refuses(self, name: str, value: Scalar) -> bool:
        """Whether this value cannot be set."""
        return self.has_refused(name, value) and not (name == TIER and value == LATE_TIER and self._is_extended)

    @property
    def _is_extended(self) -> bool:
        wish = self._plan.wish
        return wish is not None and wish.extended_at is not None and self._timeline.now >= wish.extended_at

    def has_refused(self, name: str, value: Scalar) -> bool:
        """Whether this value cannot be set, or could not be for some time."""
        if name == TIER and value in BAD_TIERS:
            return True
        pin = self.pins.get(name)
        return pin is not None and pin != kind_of(value)

    def _count(self) -> int:
        """How many more requests this second has room for; negative if this one is already too many."""
        second = math.floor(self._timeline.now)
        if second != self._second:
            self._second, self._counted = second, 0
        self._counted += 1
        limit = self._plan.options.requests_per_second
        if any(fault.kind == "siphon" for fault in self.faults):
            limit *= 0.4
        return math.floor(limit) - self._counted

    def _disturbed(self, user: int) -> tuple[int | None, Failure | None]:
        for fault in self.faults:
            if fault.kind == "outage" and fault.how in _FAILURES:
                return None, _FAILURES[fault.how]
            status = self._status(fault, user)
            if status is not None:
                return status, None
        if self._plan.failing_share and self._timeline.now < QUIET and self._rng.random() < self._plan.failing_share:
            return 503, None
        return self._plan.odd_users.get(user), None

    def _status(self, fault: Fault, user: int) -> int | None:
        """The status that a fault answers with, or None if it leaves this request alone."""
        match fault.kind:
            case "outage" | "unauthorized" | "foreign" if fault.how[:3].isdigit():
                return int(fault.how[:3])
            case "wrong_url":
                return 404 if fault.how == "path" else 302
            case "throttle":
                return 429
            case "flaky" if fault.how != "lost" and self._rng.random() < 0.25:
                return self._rng.choice((500, 502, 503, 504, 408, 425))
            case "poison" if user in self._plan.poison:
                return 500
        return None

    def _lost(self) -> Failure | None:
        """How the reply to an applied request gets lost on its way back, or None."""
        flaky = any(fault.kind == "flaky" and fault.how != "refused" for fault in self.faults)
        if flaky and self._rng.random() < 0.25:
            return self._rng.choice((Failure.BROKEN, Failure.TIMEOUT))
        return None

    def _judge(self, user: int, call: Call) -> tuple[int, str]:
        if user in self._plan.not_found:
            return 404, ""
        if user in self._plan.unexpected:
            return 409, ""
        if len(call.properties) > self._plan.largest_call:
            return 413, ""
        pins = dict(self.pins)
        refused = []
        for name, value in call.properties.items():
            if self.refuses(name, value):
                refused.append(name)
            elif name not in pins:
                pins[name] = kind_of(value)
        if refused:
            return 400, f"Invalid value for property '{refused[0]}'" if self._plan.hints else "Invalid request"
        return (202 if self._rng.random() < 0.02 else 200), ""

    def _apply(self, user: int, call: Call) -> None:
        state = self.state.setdefault(user, {})
        for name, value in call.properties.items():
            state[name] = value
            if name not in self.pins:
                self.pins[name] = kind_of(value)
