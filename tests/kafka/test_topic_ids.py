"""Which ids say that a topic was made anew."""

from __future__ import annotations

from concurrent.futures import Future
from types import SimpleNamespace
from typing import Any, cast

import pytest
from confluent_kafka import KafkaError, KafkaException, Uuid

from worker.kafka.topics import Admin, topic_ids


def admin(answer: Future[Any]) -> Admin:
    client = SimpleNamespace(describe_topics=lambda names, **_: dict.fromkeys(names.topic_names, answer))
    return cast("Admin", SimpleNamespace(client=client))


@pytest.mark.parametrize("none", [None, Uuid(0, 0)])
def test_a_topic_of_brokers_that_give_no_ids_has_none(none: Uuid | None) -> None:
    """Else an upgrade of the brokers would make every topic look as if it had been made anew."""
    answer: Future[Any] = Future()
    answer.set_result(SimpleNamespace(topic_id=none))
    assert topic_ids(admin(answer), ["t"], 1.0) == {}


def test_a_topic_has_its_id_unless_the_brokers_refuse_to_say() -> None:
    answer: Future[Any] = Future()
    answer.set_result(SimpleNamespace(topic_id=Uuid(1, 2)))
    assert topic_ids(admin(answer), ["t"], 1.0) == {"t": str(Uuid(1, 2))}
    refused: Future[Any] = Future()
    refused.set_exception(KafkaException(KafkaError(KafkaError.TOPIC_AUTHORIZATION_FAILED)))
    assert topic_ids(admin(refused), ["t"], 1.0) == {}
