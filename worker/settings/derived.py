"""Values that follow from several settings: the Kafka clients' properties, and the times that must fit the session."""

from __future__ import annotations

from typing import Any, Final

from worker.kafka.oauth import TokenFunction
from worker.kafka.properties import GATHERING, STATISTICS_MS, gathering_properties, milliseconds, uses_kip_848
from worker.settings.model import Settings

_STATISTICS_PER_LEASE: Final = 8
_CONTACT_SHARE: Final = 0.8  # of the session time-out
_GATHER_SHARE: Final = 0.01  # of the window
_GATHER_SECONDS_MAX: Final = 0.05


def kafka_properties(settings: Settings) -> dict[str, Any]:
    """The properties of every Kafka client of the worker."""
    kafka = settings.kafka
    return {
        "bootstrap.servers": kafka.bootstrap_servers,
        "group.id": kafka.group_id,
        **kafka.properties,
        **({} if kafka.oauth is None else {"oauth_cb": TokenFunction(kafka.oauth)}),
    }


def member_properties(settings: Settings) -> dict[str, Any]:
    """The properties of the group member. Statistics come often enough to notice a silent coordinator in time.

    The brokers gather records for `gather_seconds`, unless the user has set how they do.
    """
    interval_ms = min(STATISTICS_MS, int(contact_seconds(settings) * 1000 / _STATISTICS_PER_LEASE))
    given = kafka_properties(settings)
    gathering = gathering_properties(gather_seconds(settings)) if GATHERING.isdisjoint(given) else {}
    return {**gathering, **given, "statistics.interval.ms": str(max(1, interval_ms))}


def gather_seconds(settings: Settings) -> float:
    """How long records may gather before a turn of the loop takes them: each turn costs as much as many records.

    They gather here, and at the brokers as well if this is long enough (`gathering_properties`).
    """
    return min(_GATHER_SHARE * settings.window.seconds, _GATHER_SECONDS_MAX)


def held_seconds(settings: Settings) -> float:
    """How long the engine holds a user's first change.

    What gathers is part of the window: a record waits for a turn that takes it, and its call for another one.
    """
    return settings.window.seconds - 2 * gather_seconds(settings)


def lease_seconds(settings: Settings) -> float:
    """How long the main loop may stand still before requests are held back. Shorter than the session time-out.

    The group counts from the latest heartbeat, which may be one interval old when the loop turns.
    """
    properties = settings.kafka.properties
    if settings.kafka.lease_seconds is not None:
        return settings.kafka.lease_seconds
    session_ms = milliseconds(properties, "session.timeout.ms")
    heartbeat_ms = milliseconds(properties, "heartbeat.interval.ms")
    return max(session_ms - heartbeat_ms, session_ms / 2) / 1000


def contact_seconds(settings: Settings) -> float:
    """How long the coordinator may be silent before requests are held back.

    The group counts from the heartbeat that the coordinator answered last. So subtract only the time that the answer
    took, and leave time for the next one to come. Under KIP-848 the brokers set the session time-out, and
    `lease_seconds` is set to match it.
    """
    properties = settings.kafka.properties
    if uses_kip_848(properties):
        return lease_seconds(settings)
    session_ms = milliseconds(properties, "session.timeout.ms")
    return max(lease_seconds(settings), session_ms * _CONTACT_SHARE / 1000)
