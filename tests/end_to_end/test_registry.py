"""A real schema registry with two versions of a schema in one topic; and a registry that is down."""

from __future__ import annotations

import copy
import io
import json
from typing import Any

import pytest
from confluent_kafka.schema_registry import Schema, SchemaRegistryClient
from fastavro import parse_schema, schemaless_writer

from tests.end_to_end.conftest import Lab, final_state
from tests.support.avro import fields, framed
from tests.support.processes import until
from tests.support.producers import ordered_producer
from tests.support.profiles import PROFILE_CHANGED, STARTED_MS, phone
from tests.support.registry import Registry
from tests.support.stub_registry import NOT_FOUND, stub_registry

pytestmark = [pytest.mark.kafka, pytest.mark.registry, pytest.mark.slow]


def _second_version() -> dict[str, Any]:
    """Fields reordered, one removed, one added with a default, one renamed with an alias, and a promotion."""
    schema: dict[str, Any] = copy.deepcopy(PROFILE_CHANGED)
    fields = {field["name"]: field for field in schema["fields"]}
    fields["occurred_at"].update(name="changed_at", aliases=["occurred_at"])
    fields["user"]["type"]["fields"][0].update(name="mobile", aliases=["phone"])
    added = {"name": "channel", "type": "string", "default": "web"}
    schema["fields"] = [added, fields["attributes"], fields["user"], fields["occurred_at"], fields["event_id"]]
    return schema


def _first_version() -> dict[str, Any]:
    """Attributes are ints here; the second version has longs."""
    schema: dict[str, Any] = copy.deepcopy(PROFILE_CHANGED)
    values = next(field for field in schema["fields"] if field["name"] == "attributes")["type"]
    values["values"] = ["null", "boolean", "int", "double", "string"]
    return schema


def _encoded(schema: dict[str, Any], schema_id: int, event: dict[str, object]) -> bytes:
    body = io.BytesIO(b"\0" + schema_id.to_bytes(4, "big"))
    body.seek(0, io.SEEK_END)
    schemaless_writer(body, parse_schema(copy.deepcopy(schema)), event)
    return body.getvalue()


def _produce(lab: Lab, values: list[bytes]) -> None:
    producer = ordered_producer(lab.broker.bootstrap_servers)
    for value in values:
        producer.produce(lab.topic, value, b"one user")
    assert producer.flush(30) == 0


def test_two_versions_of_the_schema_share_the_topic(lab: Lab, registry: Registry) -> None:
    """Both are read. A record with an unknown schema id is `undecodable`; the letter's own schema gets registered."""
    lab.broker.create_topic(lab.topic, 1)
    first, second = _first_version(), _second_version()
    with SchemaRegistryClient({"url": registry.url}) as client:
        # Two subjects, so that the registry does not check that the second is compatible with the first.
        ids = [
            client.register_schema(f"{lab.topic}-{version}", Schema(json.dumps(schema), "AVRO"))
            for version, schema in enumerate((first, second))
        ]
    old = {"event_id": "1", "user": {"phone": phone(1)}, "attributes": {"points": 7, "tier": "Gold"}}
    new = {"event_id": "2", "user": {"mobile": phone(1)}, "attributes": {"points": 2**40}, "channel": "app"}
    values = [
        _encoded(first, ids[0], {**old, "occurred_at": STARTED_MS}),
        _encoded(second, ids[1], {**new, "changed_at": STARTED_MS}),
        b"\0" + (2**31).to_bytes(4, "big") + b"an id that no registry can have",
        b"\0" + (2**31 - 1).to_bytes(4, "big") + b"an id that this one does not have",
    ]
    _produce(lab, values)
    sandbox = lab.sandbox()
    environment = {
        "WORKER_SCHEMAS__DIRECTORY": "",
        "WORKER_SCHEMAS__REGISTRY_URL": registry.url,
        "WORKER_SCHEMAS__UNKNOWN_ID_SECONDS": "1",
    }
    worker = lab.worker(sandbox.base_url, environment)
    lab.until_committed(60)
    assert final_state(sandbox) == {phone(1): {"points": 2**40, "tier": "Gold"}}
    assert [letter["reason"] for letter in lab.dead_letters()] == ["undecodable", "undecodable"]
    with SchemaRegistryClient({"url": registry.url}) as client:
        registered = client.get_latest_version(f"{lab.dead_letter_topic}-value")
    assert json.loads(registered.schema.schema_str or "")["name"] == "DeadLetter"
    assert worker.stop() == 0


def test_the_worker_waits_for_a_registry_that_is_down(lab: Lab) -> None:
    """No dead letter; `/status` and the log name the problem; deliveries begin once the registry answers."""
    lab.broker.create_topic(lab.topic, 1)
    event = {"event_id": "1", "user": {"phone": phone(1)}, "attributes": {"points": 7}, "occurred_at": STARTED_MS}
    _produce(lab, [_encoded(PROFILE_CHANGED, 5, event)] * 100)
    sandbox = lab.sandbox()
    with stub_registry() as stub:
        stub.hold(5, PROFILE_CHANGED)
        stub.fault = lambda _: (503, b"<html>busy</html>")
        worker = lab.worker(
            sandbox.base_url, {"WORKER_SCHEMAS__DIRECTORY": "", "WORKER_SCHEMAS__REGISTRY_URL": stub.url}
        )
        until(lambda: "HTTP 503" in (worker.status()["problem"] or ""), 40, "the registry's problem on /status")
        until(lambda: worker.events("waiting"), 10, "a log line")
        assert worker.events("waiting")[-1]["reason"] == "schema_registry"
        assert sandbox.stats()["requests"] == 0
        stub.fault = lambda _: None
        lab.until_committed(60)
        assert final_state(sandbox) == {phone(1): {"points": 7}}
        assert lab.dead_letters() == []
        assert worker.status()["problem"] is None
        assert worker.stop() == 0


def test_a_lagging_registry_and_one_that_refuses_by_codes_of_its_own_cost_no_record(lab: Lab) -> None:
    """First a code that is a text, then "not found" with another status, then "not found", and at last the schemas.

    Two of them have one name, `record`, an enum called `enum` each, and one a fixed called `fixed`. Only the record of
    the third, which is no schema, becomes a letter.
    """
    first = {"type": "enum", "name": "enum", "symbols": ["BLUE", "GOLD"]}
    second = {"type": "enum", "name": "enum", "symbols": ["SILVER", "BLUE", "GOLD"]}
    amount = {"type": "fixed", "name": "fixed", "size": 2, "logicalType": "decimal", "precision": 4, "scale": 2}
    lab.broker.create_topic(lab.topic, 1)
    # By hand, since fastavro takes the names of such types for the words.
    values = [
        framed(9, b"\x04u1" + b"\x02\x00"),
        framed(10, b"\x04u2" + b"\x04\x02" + b"\x04\xd2\x00\x64"),
        framed(11, b"\x04u3"),
    ]
    _produce(lab, values)
    sandbox = lab.sandbox()
    with stub_registry() as stub:
        stub.fault = lambda path: (403, {"error_code": "ACCESS_DENIED", "message": "no"}) if "ids" in path else None
        environment = {
            "WORKER_SCHEMAS__DIRECTORY": "",
            "WORKER_SCHEMAS__REGISTRY_URL": stub.url,
            "WORKER_MAPPING__CLIENT_USER_ID": "id",
            "WORKER_MAPPING__ATTRIBUTES": "*",
        }
        worker = lab.worker(sandbox.base_url, environment)
        until(lambda: "HTTP 403" in (worker.status()["problem"] or ""), 40, "the refusal on /status")
        stub.fault = lambda path: (500, NOT_FOUND[1]) if "ids" in path else None
        until(lambda: "HTTP 500" in (worker.status()["problem"] or ""), 40, "the failure on /status")
        stub.fault = lambda _: None
        until(lambda: "does not exist" in (worker.status()["problem"] or ""), 40, "an unknown id on /status")
        stub.hold(9, fields(("id", "string"), ("tier", first), ("former", "enum"), name="record"))
        both = ("tier", second), ("former", "enum"), ("spent", amount), ("owed", "fixed")
        stub.hold(10, fields(("id", "string"), *both, name="record"))
        stub.hold(11, {"type": "record", "name": "record", "fields": 7})
        lab.until_committed(60)
        [letter] = lab.dead_letters()
        assert (letter["reason"], "schema 11" in str(letter["detail"])) == ("undecodable", True)
        assert [user["attributes"] for user in sandbox.users()] == [
            {"tier": "GOLD", "former": "BLUE"},
            {"tier": "GOLD", "former": "BLUE", "spent": 12.34, "owed": 1},
        ]
        assert worker.stop() == 0
