"""Plans made by hand, for cases that seeds meet too rarely: drains and destinations that meet trouble."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Final

from tests.simulation.plan import FOREIGN, TIER, Fault, Plan, Produced, make
from tests.simulation.timeline import BEGINNING

CALM: Final = replace(
    make(0),
    partitions=1,
    workers=1,
    eager=False,
    options=replace(make(0).options, window_seconds=0.3, storm_letters_max=3, max_bytes=10_000_000, concurrency=8),
    latency_seconds=0.05,
    largest_call=100,
    poll_records=500,
    not_found=frozenset(),
    unexpected=frozenset(),
    poison=frozenset(),
    shared=frozenset(),
    backoff_max_seconds=60.0,
    faults=(),
)


def _record(at: float, user: int, kind: str = "change") -> Produced:
    return Produced(BEGINNING + at, 0, user, kind, {} if kind == "garbage" else {"p0": user}, 0, 1)


def _fault(at: float, seconds: float, kind: str, how: str = "") -> Fault:
    return Fault(BEGINNING + at, seconds, kind, 0, how)


STOP_IN_A_FLOOD_OF_GARBAGE: Final = replace(
    CALM,
    records=(_record(1.0, 1), *(_record(2.0, 2, "garbage") for _ in range(30))),
    faults=(_fault(6.0, 1.0, "stop"),),
)
"""Only withheld letters are left, and nothing will release them: the drain must end at once."""

STOP_WHILE_ONE_BACKS_OFF: Final = replace(
    CALM,
    seed=1,  # this seed's jitter puts the next try far away
    poison=frozenset({2}),
    records=(_record(3.0, 2), *(_record(at, 3 + index) for index, at in enumerate((3.2, 3.6, 4.0, 5.0, 7.0, 10.0)))),
    faults=(_fault(2.0, 16.0, "poison"), _fault(18.5, 1.0, "stop")),
)
"""A user's calls would succeed again, but the next try is due after the drain's deadline: the drain must call now."""

FREEZE_AMID_A_STOP: Final = replace(
    CALM,
    records=tuple(_record(3.0, user) for user in range(12)),
    faults=(_fault(2.0, 20.0, "outage", "500"), _fault(5.0, 1.0, "stop"), _fault(6.0, 14.0, "freeze", "between")),
)
"""The worker freezes while it drains, and its lease runs out: on waking, its partitions have another owner."""


def _traffic(changes_made: int = 90, **changes: Any) -> Plan:  # noqa: ANN401 - a plan's own fields
    """Ninety users in turn, so many changes in all, at a steady pace; and what the destination does with them."""
    records = tuple(_record(index * 18.0 / changes_made, index % 90) for index in range(changes_made))
    options = replace(CALM.options, storm_letters_max=40)
    return replace(CALM, records=records, options=options, delivered_share_min=0.95, **changes)


LIVELY: Final[tuple[Plan, ...]] = (
    *(_traffic(odd_users=dict.fromkeys(range(3, 90, 10), status)) for status in (500, 403, 429)),
    *(_traffic(odd_users=dict.fromkeys(range(20, 35), status)) for status in (500, 403)),
    *(_traffic(failing_share=share) for share in (0.05, 0.3)),
    replace(_traffic(odd_users=dict.fromkeys(range(1, 90, 4), 429)), delivered_share_min=1.0),
    replace(_traffic(900, failing_share=0.3), delivered_share_min=0.6),
    *(_traffic(900, odd_users=dict.fromkeys(range(3, 90, 10), status)) for status in (500, 403, 429)),
    replace(_traffic(failing_share=0.5, seed=1), delivered_share_min=0.9),
    *(
        replace(_traffic(faults=(_fault(6.0, 4.0, FOREIGN, how),)), delivered_share_min=0.6)
        for how in ("404", "405", "200 page", "403 page")
    ),
)
"""One user in ten always fails, a run of users does, calls fail at random, or somebody in between answers for a while:
the others are delivered all the same."""


def _sparing(step_seconds: float, tiers: tuple[str, ...], **changes: Any) -> Plan:  # noqa: ANN401 - a plan's own fields
    """Four users in turn, who change to each of these values one after the other and begin again."""
    return replace(
        CALM,
        partitions=2,
        options=replace(CALM.options, window_seconds=0.0, sparing_users_max=10, sparing_seconds=1_000.0),
        records=tuple(
            replace(_record(2.0 + index * step_seconds, index % 4), partition=index % 2, attributes={TIER: tier})
            for index, tier in enumerate(tiers * (80 // len(tiers)))
        ),
        **changes,
    )


SPARING: Final[tuple[Plan, ...]] = (
    *(
        _sparing(
            0.2,
            ("gold",) * 8 + ("silver",) * 8,
            seed=seed,
            workers=2,
            faults=tuple(_fault(2.0 + 1.2 * number, 0.1, "rebalance") for number in range(14)),
        )
        for seed in range(4)
    ),
    *(_sparing(0.013, ("gold",) * 8 + ("silver",) * 4 + ("gold",) * 4, seed=seed) for seed in range(4)),
)
"""Partitions that go and come back while unchanged values are spared; values that change while a call is in flight."""

ALL: Final[tuple[Plan, ...]] = (
    *(STOP_IN_A_FLOOD_OF_GARBAGE, STOP_WHILE_ONE_BACKS_OFF, FREEZE_AMID_A_STOP),
    *SPARING,
    *LIVELY,
)
