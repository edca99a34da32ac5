"""Proves librdkafka properties before anything connects. Some are refused only together, or only by one client."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from confluent_kafka import Consumer, Producer
from confluent_kafka.admin import AdminClient

from worker.kafka.connection import PropertiesRefused, connecting
from worker.kafka.properties import Properties, admin_properties, consumer_properties, producer_properties

_CLIENTS: Final[tuple[tuple[Callable[[Any], object], Callable[[Properties], Mapping[str, str]]], ...]] = (
    (Consumer, consumer_properties),
    (Producer, producer_properties),
    (AdminClient, admin_properties),
)


def refusal(properties: Properties) -> str | None:
    """Why librdkafka refuses the user's properties. None if it takes them.

    Makes each of the worker's clients once, without brokers, so it opens no connection.
    """
    alone = {name: value for name, value in properties.items() if name != "bootstrap.servers"}
    for client, completed in _CLIENTS:
        whole = completed(alone)
        try:
            with connecting():
                client({**whole, "logger": _Silent()})
        except PropertiesRefused as error:
            why = " ".join(str(error).removeprefix("kafka.properties: ").split())
            for value in filter(None, alone.values()):  # it may be a secret
                why = why.replace(f'"{value}"', "given").removesuffix(f": {' '.join(value.split())}")
            ours = [f"{name}={whole[name]}" for name in whole.keys() - alone.keys() if f"`{name}`" in why]
            return why + (f" (unless you set it, the worker sets {', '.join(ours)})" if ours else "")
    return None


class _Silent:
    def log(self, *_: object) -> None:
        """Drops librdkafka's line: the client that stays will write it again."""
