"""Every folder of `examples/`: its records in a real Kafka, its schemas in a real registry, and its `worker.yaml`."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from confluent_kafka.schema_registry import Schema, SchemaRegistryClient

from tests.end_to_end.conftest import Lab
from tests.support import topics
from tests.support.examples import DIRECTORIES, Example, by_user
from tests.support.producers import ordered_producer
from tests.support.registry import Registry

pytestmark = [pytest.mark.kafka, pytest.mark.registry, pytest.mark.slow]


def _registered(example: Example, url: str, topic: str) -> dict[str, int]:
    """The ids of its schemas. Each is a subject of its own, so that they need not fit each other."""
    with SchemaRegistryClient({"url": url}) as client:
        return {
            name: client.register_schema(f"{topic}-{name.removesuffix('.avsc')}", Schema(json.dumps(schema), "AVRO"))
            for name, schema in example.schemas.items()
        }


@pytest.mark.parametrize("directory", DIRECTORIES, ids=lambda directory: directory.name)
def test_an_example_runs_and_check_warns_of_its_letters_alone(directory: Path, lab: Lab, registry: Registry) -> None:
    example = Example(directory)
    lab.broker.create_topic(lab.topic, 1)
    producer = ordered_producer(lab.broker.bootstrap_servers)
    for key, value in example.written(_registered(example, registry.url, lab.topic)):
        producer.produce(lab.topic, value, key)
    assert producer.flush(30) == 0
    sandbox = lab.sandbox()
    places = {
        "WORKER_CONFIG": str(example.configuration),
        "WORKER_SCHEMAS__DIRECTORY": "",
        "WORKER_SCHEMAS__REGISTRY_URL": registry.url,
    }
    environment = {name: value for name, value in lab.environment(sandbox.base_url, places).items() if value}
    check = lab.start("check", "--json", "--records", "100", environment=environment)
    worker = lab.worker(sandbox.base_url, places)
    lab.until_committed(60)
    assert by_user(sandbox.users()) == by_user(example.expected["users"])
    letters = [
        {
            "record": letter["sources"][0]["offset"],
            "reason": letter["reason"],
            "attributes": sorted(each["name"] for each in letter["attributes"]),
        }
        for letter in topics.dead_letters(lab.broker.bootstrap_servers, lab.dead_letter_topic)
    ]
    assert letters == example.expected["dead_letters"]
    assert worker.stop() == 0
    assert check.wait() == 0, check.output.read_text()
    found = map(json.loads, check.output.read_text().splitlines())
    warnings = [each["what"] for each in found if each["level"] != "ok"]
    reasons = {str(letter["reason"]) for letter in letters}
    assert len(warnings) == len(reasons), warnings
    assert all(any(reason in what for what in warnings) for reason in reasons), warnings
