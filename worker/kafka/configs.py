"""Asks for the settings of brokers, topics and groups, which Kafka calls configs, for `check`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Final, TypeAlias

from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import ConfigEntry, ConfigResource

from worker.kafka.topics import Admin

Configs: TypeAlias = Mapping[str, str]
"""The settings of one broker, topic or group, by Kafka's names. Without those that have no value."""

_DENIED: Final = frozenset(
    {
        KafkaError.TOPIC_AUTHORIZATION_FAILED,
        KafkaError.CLUSTER_AUTHORIZATION_FAILED,
        KafkaError.GROUP_AUTHORIZATION_FAILED,
    }
)


@dataclass(frozen=True, slots=True)
class Untold:
    """Why the settings are not known, and how to mend that."""

    why: str
    mend: str | None = None


def broker_configs(admin: Admin, broker: int, timeout_seconds: float) -> Configs | Untold:
    """The settings of one broker."""
    resource = ConfigResource(ConfigResource.Type.BROKER, str(broker))
    asked = admin.client.describe_configs([resource], request_timeout=timeout_seconds)
    return _told(admin, asked[resource], "the cluster")


def group_configs(admin: Admin, group_id: str, timeout_seconds: float) -> Configs | Untold:
    """The settings of one group. Brokers before 4.0 have none."""
    resource = ConfigResource(ConfigResource.Type.GROUP, group_id)
    asked = admin.client.describe_configs([resource], request_timeout=timeout_seconds)
    return _told(admin, asked[resource], "the group")


def topic_configs(admin: Admin, topics: Iterable[str], timeout_seconds: float) -> Mapping[str, Configs | Untold]:
    """The settings of each topic. One question for all of them."""
    resources = {topic: ConfigResource(ConfigResource.Type.TOPIC, topic) for topic in topics}
    if not resources:
        return {}
    asked = admin.client.describe_configs(list(resources.values()), request_timeout=timeout_seconds)
    return {topic: _told(admin, asked[resource], "the topic") for topic, resource in resources.items()}


def whole(configs: Configs, name: str) -> int | None:
    """A setting that is a whole number. None if the brokers do not have it."""
    return int(configs[name]) if name in configs else None


def _told(admin: Admin, answer: Future[Mapping[str, ConfigEntry]], of: str) -> Configs | Untold:
    try:
        found = answer.result()  # bounded by request_timeout
    except KafkaException as failure:
        if failure.args[0].code() in _DENIED:
            return Untold("the brokers do not show them", f"grant the worker DESCRIBE_CONFIGS on {of}")
        return Untold(admin.explain(failure))
    return {name: entry.value for name, entry in found.items() if entry.value is not None}
