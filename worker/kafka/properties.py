"""librdkafka properties: the worker's defaults, and what users may not set.

Imports no Kafka client, so that `attribute-worker config` and `--help` start fast.
"""

from __future__ import annotations

import re
import socket
from collections.abc import Callable, Mapping
from typing import Any, Final

from worker.kafka.known import one_name

Properties = Mapping[str, Any]
"""librdkafka properties, as a user writes them: `bootstrap.servers` … All but `oauth_cb` are text."""

DEFAULTS_MS: Final[Mapping[str, int]] = {
    "session.timeout.ms": 45_000,
    "heartbeat.interval.ms": 3_000,
    "max.poll.interval.ms": 300_000,
}
"""librdkafka's own defaults (CONFIGURATION.md) of the times that other settings are compared with."""

STATISTICS_MS: Final = 5_000
"""How often clients report statistics, unless something needs them more often."""


def client_id(host: str) -> str:
    """The name by which brokers tell replicas apart, in their logs and in groups. A pod has a host name of its own."""
    # Any other character might spoil librdkafka's statistics, or the brokers' own files.
    return "attribute-worker-" + re.sub(r"[^A-Za-z0-9._-]", "_", host)


_SHARED_DEFAULTS: Final[Properties] = {
    "client.id": client_id(socket.gethostname()),
    # In a rolling restart every broker goes once. librdkafka's default of 10 s would prolong each of these outages.
    "reconnect.backoff.max.ms": "2000",
    # Brokers close idle connections all the time. A lost connection that matters shows in `Connection.problem`.
    "log.connection.close": "false",
    # While nothing is consumed or produced, only statistics show that brokers answer again.
    "statistics.interval.ms": str(STATISTICS_MS),
    # A mistyped topic must be an error, not a new topic.
    "allow.auto.create.topics": "false",
}

_CONSUMER_DEFAULTS: Final[Properties] = {
    "auto.offset.reset": "earliest",
    "isolation.level": "read_committed",
    # New partitions, and new topics that match a pattern, are found within this time. The default is 5 minutes.
    "topic.metadata.refresh.interval.ms": "30000",
    # These two belong together. With the default back-off, a fast reader idles between refills of the local queue.
    "fetch.queue.backoff.ms": "10",
    "queued.min.messages": "20000",
    # What is fetched is outside the worker's memory budget, and lies in memory decompressed. So fetch little: 64 KiB of
    # a partition at once (or one batch, if that is larger), and 2 MiB for all partitions together. The defaults are
    # 1 MiB and 64 MiB. librdkafka lowers `fetch.max.bytes` to the latter. Don't set it here: then a user could not
    # raise `message.max.bytes` above it.
    "fetch.message.max.bytes": "65536",
    "queued.max.messages.kbytes": "2048",
    # Notice a frozen broker, and try another one, before the session times out.
    "socket.timeout.ms": "15000",
}

_PRODUCER_DEFAULTS: Final[Properties] = {
    "message.timeout.ms": "30000",
    # One letter per batch: a broker refuses a batch that is too large as a whole, and librdkafka does not split it.
    # One large letter would take small ones down with it.
    "batch.num.messages": "1",
    "compression.type": "lz4",
    # Let the broker's limit decide what is too large, not the client's default of 1 MB.
    "message.max.bytes": "10485760",
    # The queue has a copy of each letter that is being written. The default of 1 GiB would hold a second memory budget.
    "queue.buffering.max.kbytes": "16384",
}

_TRUE: Final = frozenset({"true", "t", "1"})
_FALSE: Final = frozenset({"false", "f", "0"})

# For each property, by its first name: which values are refused, and why and what to do instead.
_REFUSED: Final[Mapping[str, tuple[Callable[[str], bool], str]]] = {
    "auto.commit.enable": (
        lambda value: value not in _FALSE,
        "the worker commits an offset only when every record before it is settled; remove it",
    ),
    "enable.auto.offset.store": (
        lambda value: value not in _FALSE,
        "the worker chooses the offsets it commits; remove it",
    ),
    "enable.idempotence": (
        lambda value: value not in _TRUE,
        "without it a retry may lose or duplicate a dead letter; remove it",
    ),
    "request.required.acks": (
        lambda value: value not in {"all", "-1"},
        "a dead letter counts as written only when every in-sync replica has it; remove it, or set it to all",
    ),
    "transactional.id": (
        lambda _: True,
        "the worker's producer is idempotent, not transactional; remove it",
    ),
    "metadata.broker.list": (lambda _: True, "set WORKER_KAFKA__BOOTSTRAP_SERVERS instead"),
    "group.id": (lambda _: True, "set WORKER_KAFKA__GROUP_ID instead"),
    "client.id": (
        # librdkafka writes it unescaped into its statistics, which then are no JSON, and the worker goes by these.
        lambda value: not value.isprintable() or bool({'"', "\\"}.intersection(value)),
        "a quote, a backslash or an unprintable character spoils librdkafka's statistics; remove it",
    ),
    "enable.partition.eof": (lambda _: True, "the worker never stops at the end of a partition; remove it"),
    "enabled_events": (lambda _: True, "it would take events away from the worker's callbacks; remove it"),
    "max.in.flight.requests.per.connection": (
        lambda value: not (value.isdigit() and int(value) <= 5),  # noqa: PLR2004 - the protocol's own limit
        "an idempotent producer allows at most 5; remove it, or set it to 1 to 5",
    ),
}
# Under KIP-848 the group coordinator decides these. librdkafka refuses to start if they are set.
_CLASSIC_ONLY: Final = (
    "partition.assignment.strategy",
    "session.timeout.ms",
    "heartbeat.interval.ms",
    "group.protocol.type",
)


def refused(properties: Properties) -> dict[str, str]:
    """The properties that would break the worker's guarantees.

    Returns:
        By each one's name the reason and what to do. No text repeats a value: it may be a secret.
    """
    reasons = {}
    for name, value in properties.items():
        rule = _REFUSED.get(one_name(name))
        if rule is not None and rule[0](str(value).strip().lower()):
            reasons[name] = rule[1]
    if uses_kip_848(properties):
        text = "under group.protocol=consumer the broker decides it; remove it"
        reasons |= dict.fromkeys((name for name in _CLASSIC_ONLY if name in properties), text)
    return reasons


# What belongs to a member of a group.
_OF_MEMBERS: Final = frozenset({"group.instance.id", "group.protocol", "group.remote.assignor"})


def without_membership(properties: Properties) -> dict[str, Any]:
    """For a client that reads or moves a group's offsets from outside: it asks alike in groups of either protocol."""
    return {name: value for name, value in properties.items() if name not in _OF_MEMBERS}


def uses_kip_848(properties: Properties) -> bool:
    """Whether the group uses the new protocol (`group.protocol=consumer`), in which the broker assigns partitions."""
    return str(properties.get("group.protocol", "classic")).strip().lower() == "consumer"


def consumer_properties(properties: Properties) -> dict[str, Any]:
    """The user's properties, completed for the group member. Those that the guarantees need override the user's."""
    classic = {} if uses_kip_848(properties) else {"partition.assignment.strategy": "cooperative-sticky"}
    return {
        **_SHARED_DEFAULTS,
        **_CONSUMER_DEFAULTS,
        **classic,
        **properties,
        "enable.auto.commit": "false",
        "enable.auto.offset.store": "false",
        # At the end of a partition, librdkafka tells how far it has read: also past what is no record.
        "enable.partition.eof": "true",
    }


GATHERING: Final = frozenset({"fetch.min.bytes", "fetch.wait.max.ms"})
"""How long the brokers wait for more records before they answer a fetch."""

_FETCH_BYTES: Final = 16_384  # a fetch of so much is worth its answer
# While a fetch waits, no other is made at its broker: neither for a partition that came a moment later, at the start or
# in a rebalance, nor for one that is resumed. The default is 500 ms.
_WAIT_MS: Final = 100
# Gathering so shortly would cost the brokers more than it saves: where nothing comes, each fetch is answered empty.
_GATHER_MS_MIN: Final = 40


def gathering_properties(seconds: float) -> dict[str, Any]:
    """Lets the brokers gather records for so long. With little, they answer a fetch as soon as there is one record."""
    wait_ms = int(seconds * 1000)
    if wait_ms < _GATHER_MS_MIN:
        return {"fetch.wait.max.ms": str(_WAIT_MS)}
    return {"fetch.min.bytes": str(_FETCH_BYTES), "fetch.wait.max.ms": str(wait_ms)}


def producer_properties(properties: Properties) -> dict[str, Any]:
    """The user's properties, completed for the dead-letter producer."""
    return {
        **_SHARED_DEFAULTS,
        **_PRODUCER_DEFAULTS,
        **properties,
        "enable.idempotence": "true",
        "acks": "all",
    }


def admin_properties(properties: Properties) -> dict[str, Any]:
    """The user's properties, completed for the admin client."""
    return {**_SHARED_DEFAULTS, **properties}


def milliseconds(properties: Properties, name: str) -> int:
    """One of the times in `DEFAULTS_MS`, as the user gave it or by librdkafka's default.

    Raises:
        ValueError: The user gave something that is not a whole number.
    """
    text = properties.get(name)
    if text is None:
        return DEFAULTS_MS[name]
    if not text.strip().isdecimal():
        raise ValueError(f"{name}: must be a whole number of milliseconds")
    return int(text)
