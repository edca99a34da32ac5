"""Checks whether the brokers' time-outs and those of the settings fit each other."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from worker.commands.check.finding import Finding, period
from worker.kafka.configs import Configs, Untold, whole
from worker.kafka.properties import milliseconds
from worker.settings.derived import lease_seconds
from worker.settings.model import Settings

STOP_MS: Final = 24 * 3_600_000
"""A worker that stands still for so long, or a destination that is out for so long, must cost nothing."""


def check_timeouts(settings: Settings, brokers: Configs | Untold, group: Configs | Untold | None) -> Iterator[Finding]:
    """One line for all that fits, else one for each that does not. `group` is None under the classic protocol."""
    if isinstance(brokers, Untold):
        yield Finding.warn("time-outs", f"not checked: the brokers' settings: {brokers.why}", brokers.mend)
        return
    session = _classic_session(settings, brokers) if group is None else _new_session(settings, brokers, group)
    found = [*session, *_offsets(brokers)]
    yield from found or [Finding.ok("time-outs", "those of the brokers and of the settings fit each other")]


def _classic_session(settings: Settings, brokers: Configs) -> Iterator[Finding]:
    """A member whose session time-out is out of the brokers' bounds may not join."""
    session = milliseconds(settings.kafka.properties, "session.timeout.ms")
    least, most = whole(brokers, "group.min.session.timeout.ms"), whole(brokers, "group.max.session.timeout.ms")
    for bound, name, is_out, side in (
        (least, "group.min.session.timeout.ms", least is not None and session < least, "below"),
        (most, "group.max.session.timeout.ms", most is not None and session > most, "above"),
    ):
        if bound is not None and is_out:
            yield Finding.fail(
                "time-outs",
                f"session.timeout.ms is {period(session)}, {side} the brokers' {name} ({period(bound)}): "
                "the group will not let the worker join",
                f"set session.timeout.ms in WORKER_KAFKA__PROPERTIES, or change {name} of the brokers",
            )


def _new_session(settings: Settings, brokers: Configs, group: Configs | Untold) -> Iterator[Finding]:
    """Under KIP-848 the session time-out is the group's, else the brokers'. So nothing else can compare it."""
    offered = brokers.get("group.coordinator.rebalance.protocols", "consumer").replace(" ", "").split(",")
    if "consumer" not in offered:
        yield Finding.fail(
            "time-outs",
            "the brokers do not offer group.protocol=consumer "
            f"(group.coordinator.rebalance.protocols is {','.join(offered)})",
            "remove group.protocol from WORKER_KAFKA__PROPERTIES, or let the brokers offer it",
        )
    session = None if isinstance(group, Untold) else whole(group, "consumer.session.timeout.ms")
    end = "the group's consumer.session.timeout.ms"
    if session is None:
        session = whole(brokers, "group.consumer.session.timeout.ms")
        end = "the brokers' group.consumer.session.timeout.ms"
    if session is None:
        return
    end += f" ({period(session)})"
    lease = lease_seconds(settings)
    if lease * 1000 >= session:
        yield Finding.fail(
            "time-outs",
            f"kafka.lease_seconds is {lease:g}, not below {end}: a worker that was frozen could overwrite newer values",
            "set WORKER_KAFKA__LEASE_SECONDS below it, or raise that",
        )
    if settings.attentive.timeout_seconds * 1000 >= session:
        yield Finding.fail(
            "time-outs",
            f"attentive.timeout_seconds is {settings.attentive.timeout_seconds:g}, not below {end}",
            "lower WORKER_ATTENTIVE__TIMEOUT_SECONDS, or raise that",
        )


def _offsets(brokers: Configs) -> Iterator[Finding]:
    """The brokers forget the offsets of a group that has had no member for some time."""
    minutes = whole(brokers, "offsets.retention.minutes")
    if minutes is not None and minutes * 60_000 < STOP_MS:
        yield Finding.warn(
            "time-outs",
            f"the brokers forget a stopped group's offsets after {period(minutes * 60_000)} "
            "(offsets.retention.minutes): then the worker begins like a new group",
            "raise it on the brokers, to a day at least; else do not stop all replicas for so long",
        )
