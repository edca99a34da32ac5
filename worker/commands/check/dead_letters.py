"""Checks of the dead-letter topic: whether it can be written, and whether its settings keep what is written."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, NamedTuple

from worker.commands.check.finding import ASK_SECONDS, Finding, period
from worker.kafka.access import creation_problem, write_problem
from worker.kafka.configs import Configs, Untold, topic_configs, whole
from worker.kafka.producer import LARGEST_BYTES
from worker.kafka.properties import producer_properties
from worker.kafka.topics import Admin, TopicRefused, TopicsUnavailable, exists, replicas
from worker.settings.model import KafkaSettings

_CHECK: Final = "dead letters"
_KEPT_MS: Final = 7 * 24 * 3_600_000
_UNCUT_BYTES: Final = 8_192
"""A letter with all its cuts has 6 KB at most. Besides, there are its headers and what Kafka adds to a record."""
# A new topic gets the brokers' defaults, under other names. Of these three the first that is set counts. With its ms.
_RETENTION_DEFAULTS: Final = (
    ("log.retention.ms", 1),
    ("log.retention.minutes", 60_000),
    ("log.retention.hours", 3_600_000),
)


class Cluster(NamedTuple):
    """What is known of the brokers."""

    size: int
    configs: Configs | Untold


class _Topic(NamedTuple):
    """The settings that matter. None: not known."""

    replicas: int | None
    in_sync: int | None
    policy: str
    keeps_ms: int | None
    keeps_bytes: int | None
    message_bytes: int | None


def check_dead_letters(admin: Admin, kafka: KafkaSettings, partitions: int, cluster: Cluster) -> Iterator[Finding]:
    """One line that says whether it can be written, and one for each setting that loses letters or refuses them."""
    topic = kafka.dead_letter_topic
    try:
        if exists(admin, topic, ASK_SECONDS):
            yield from _existing(admin, kafka, cluster.size)
        else:
            yield from _new(admin, kafka, partitions, cluster)
    except TopicRefused as problem:
        yield Finding.fail(_CHECK, str(problem), "grant the worker WRITE on it, and CREATE if it does not exist")
    except TopicsUnavailable as problem:
        yield Finding.fail(_CHECK, str(problem))


def _existing(admin: Admin, kafka: KafkaSettings, brokers: int) -> Iterator[Finding]:
    topic = kafka.dead_letter_topic
    why = write_problem(admin, topic, ASK_SECONDS)
    if why is not None:
        yield Finding.fail(_CHECK, why)
        return
    yield Finding.ok(_CHECK, f"{topic}: may be written")
    configs = topic_configs(admin, [topic], ASK_SECONDS)[topic]
    if isinstance(configs, Untold):
        yield Finding.warn(_CHECK, f"{topic}: not checked: its settings: {configs.why}", configs.mend)
        return
    found = _Topic(
        replicas=replicas(admin, topic, ASK_SECONDS),
        in_sync=whole(configs, "min.insync.replicas"),
        policy=configs.get("cleanup.policy", ""),
        keeps_ms=whole(configs, "retention.ms"),
        keeps_bytes=whole(configs, "retention.bytes"),
        message_bytes=whole(configs, "max.message.bytes"),
    )
    yield from _settings(topic, found, kafka, brokers)


def _new(admin: Admin, kafka: KafkaSettings, partitions: int, cluster: Cluster) -> Iterator[Finding]:
    topic = kafka.dead_letter_topic
    why = creation_problem(admin, topic, partitions, ASK_SECONDS)
    if why is not None:
        yield Finding.fail(
            _CHECK,
            f"{topic}: does not exist, and cannot be created: {why}",
            f"create it with {partitions} partitions, or grant the worker CREATE",
        )
        return
    yield Finding.ok(_CHECK, f"{topic}: does not exist; the worker may create it, and does when it starts")
    if not isinstance(cluster.configs, Untold):
        yield from _settings(f"{topic}, by the brokers' defaults", _by_default(cluster.configs), kafka, cluster.size)


def _by_default(brokers: Configs) -> _Topic:
    keeps = next((value * ms for name, ms in _RETENTION_DEFAULTS if (value := whole(brokers, name)) is not None), None)
    return _Topic(
        replicas=whole(brokers, "default.replication.factor"),
        in_sync=whole(brokers, "min.insync.replicas"),
        policy=brokers.get("log.cleanup.policy", ""),
        keeps_ms=keeps,
        keeps_bytes=whole(brokers, "log.retention.bytes"),
        message_bytes=whole(brokers, "message.max.bytes"),
    )


def _settings(name: str, topic: _Topic, kafka: KafkaSettings, brokers: int) -> Iterator[Finding]:
    for finding in (*_copies(topic, brokers), *_keeping(topic), *_room(topic, kafka)):
        yield Finding(finding.level, _CHECK, f"{name}: {finding.what}", finding.mend)


def _copies(topic: _Topic, brokers: int) -> Iterator[Finding]:
    if topic.replicas is None or topic.in_sync is None:
        return
    if topic.in_sync > topic.replicas:
        yield Finding.fail(
            _CHECK,
            f"has replication factor {topic.replicas}, but min.insync.replicas {topic.in_sync}: "
            "no letter can be written, and the offsets stand still",
            f"lower its min.insync.replicas, or give it {topic.in_sync + 1} replicas",
        )
    elif topic.replicas == 1 and brokers > 1:
        yield Finding.warn(
            _CHECK,
            "has replication factor 1: while that broker is out no letter can be written, and a lost disk loses all",
            f"give it {min(brokers, 3)} replicas",
        )
    elif topic.replicas > 1 and topic.in_sync == 1:
        yield Finding.warn(
            _CHECK,
            "has min.insync.replicas 1: a letter may count as written while one broker alone has it",
            "set its min.insync.replicas to 2",
        )
    elif topic.replicas > 1 and topic.in_sync == topic.replicas:
        yield Finding.warn(
            _CHECK,
            f"has {topic.replicas} replicas, and min.insync.replicas wants all: while a broker restarts, "
            "no letter can be written",
            f"set its min.insync.replicas to {topic.replicas - 1}, or give it one replica more",
        )


def _keeping(topic: _Topic) -> Iterator[Finding]:
    if "compact" in topic.policy:
        what = "is compacted (cleanup.policy), so it would keep one letter per user; `run` refuses it"
        yield Finding.fail(_CHECK, what, "set its cleanup.policy to delete")
    if topic.keeps_ms is not None and 0 <= topic.keeps_ms < _KEPT_MS:
        yield Finding.warn(
            _CHECK,
            f"keeps its letters for {period(topic.keeps_ms)} (retention.ms): who looks later finds none",
            f"set its retention.ms to {_KEPT_MS} (a week) at least",
        )
    if topic.keeps_bytes is not None and topic.keeps_bytes >= 0:
        yield Finding.warn(
            _CHECK,
            f"deletes the oldest letters of a partition above {topic.keeps_bytes} bytes (retention.bytes)",
            "set its retention.bytes to -1",
        )


def _room(topic: _Topic, kafka: KafkaSettings) -> Iterator[Finding]:
    """Whether the largest letter fits. The worker cuts what does not, down to what cannot be left out."""
    client = int(producer_properties(kafka.properties)["message.max.bytes"])
    for limit, name in (
        (topic.message_bytes, "its max.message.bytes"),
        (client, "message.max.bytes in WORKER_KAFKA__PROPERTIES"),
    ):
        if limit is None or limit >= LARGEST_BYTES:
            continue
        mend = f"set {name} to 1048588, Kafka's default"
        if limit < _UNCUT_BYTES:
            what = f"takes {limit} bytes a letter ({name}): some letters could never be written"
            yield Finding.fail(_CHECK, f"{what}, and the offsets would stand still", mend)
        else:
            what = f"takes {limit} bytes a letter ({name}): larger ones are cut, the record's own value first"
            yield Finding.warn(_CHECK, what, mend)
