"""How long the topics keep their records: beside the age of what is undelivered, it foretells a loss."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from concurrent.futures import Future
from typing import Any, Final

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient, ConfigResource

_ASK_SECONDS: Final = 10.0


class Retention:
    """Asks without waiting, since the main thread does, and keeps the latest answers. Used by one thread."""

    def __init__(self, client: AdminClient) -> None:
        self._client = client
        self._pending: dict[str, Future[Any]] = {}
        self._seconds: dict[str, float] = {}

    def ask(self, topics: Iterable[str]) -> None:
        """Asks for these topics, unless an answer is still expected."""
        self._collect()
        if self._pending:
            return
        resources = [ConfigResource(ConfigResource.Type.TOPIC, topic) for topic in topics]
        if resources:
            asked = self._client.describe_configs(resources, request_timeout=_ASK_SECONDS)
            self._pending = {str(resource.name): answer for resource, answer in asked.items()}

    @property
    def seconds(self) -> Mapping[str, float]:
        """By topic. Without those that keep everything, and those whose settings the brokers do not tell."""
        self._collect()
        return self._seconds

    def _collect(self) -> None:
        for topic, answer in list(self._pending.items()):
            if answer.done():
                del self._pending[topic]
                # To read a topic's settings takes a permission of its own. After a failure, keep the previous answer.
                if not isinstance(answer.exception(), KafkaException):
                    self._take(topic, answer.result())

    def _take(self, topic: str, settings: Mapping[str, Any]) -> None:
        milliseconds = int(settings["retention.ms"].value)
        if milliseconds >= 0 and "delete" in settings["cleanup.policy"].value:
            self._seconds[topic] = milliseconds / 1000
        else:
            self._seconds.pop(topic, None)
