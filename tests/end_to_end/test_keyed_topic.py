"""A topic of wide nested records: identity in Avro keys, national phones, and one key that is none."""

from __future__ import annotations

import json
from uuid import uuid4

import pytest
from confluent_kafka.schema_registry import Schema, SchemaRegistryClient

from tests.end_to_end.conftest import Lab, final_state
from tests.support import topics
from tests.support.avro import body, fields, framed
from tests.support.processes import SandboxCommand
from tests.support.producers import ordered_producer
from tests.support.registry import Registry

pytestmark = [pytest.mark.kafka, pytest.mark.registry, pytest.mark.slow]

KEY = fields(("phone", "string"), name="CustomerKey")
ADDRESS = fields(("city", "string"), name="Address")
VALUE = fields(("tier", "string"), ("contactEmail", "string"), ("homeAddress", ["null", ADDRESS]), name="Customer")
MAPPING = {
    "WORKER_MAPPING__PHONE": "key.phone",
    "WORKER_MAPPING__EMAIL": "",
    "WORKER_MAPPING__ATTRIBUTES": "*",
    "WORKER_MAPPING__FLATTEN": "_",
    "WORKER_IDENTITY__PHONE_REGION": "US",
}


def test_identity_in_the_key_is_read_and_one_bad_key_holds_nobody_up(lab: Lab, registry: Registry) -> None:
    lab.broker.create_topic(lab.topic, 1)
    with SchemaRegistryClient({"url": registry.url}) as client:
        key_id = client.register_schema(f"{lab.topic}-key", Schema(json.dumps(KEY), "AVRO"))
        value_id = client.register_schema(f"{lab.topic}-value", Schema(json.dumps(VALUE), "AVRO"))
    key = [framed(key_id, body(KEY, {"phone": phone})) for phone in ("(311) 555-0001", "311-555-0002", "+13115550001")]
    plain = [{"tier": tier, "contactEmail": "a@b.example", "homeAddress": {"city": "Austin"}} for tier in "ABC"]
    value = [framed(value_id, body(VALUE, each)) for each in plain]
    guid = b"\1" + uuid4().bytes
    producer = ordered_producer(lab.broker.bootstrap_servers)
    producer.produce(lab.topic, value[0], key[0])
    producer.produce(lab.topic, value[0], b"plain text")
    producer.produce(lab.topic, value[0][5:], key[0], headers={"__value_schema_id": guid})
    producer.produce(lab.topic, value[1], key[1])
    producer.produce(lab.topic, value[2], key[2])
    assert producer.flush(30) == 0
    sandbox = lab.sandbox()
    environment = {
        **MAPPING,
        "WORKER_SCHEMAS__DIRECTORY": "",
        "WORKER_SCHEMAS__REGISTRY_URL": registry.url,
        "WORKER_SCHEMAS__UNKNOWN_ID_SECONDS": "1",
    }
    rehearse(lab, sandbox, environment)
    worker = lab.worker(sandbox.base_url, environment)
    lab.until_committed(60)
    city = {"homeAddress_city": "Austin"}
    assert final_state(sandbox) == {"+13115550001": {"tier": "C", **city}, "+13115550002": {"tier": "B", **city}}
    letters = lab.dead_letters()
    assert [letter["reason"] for letter in letters] == ["undecodable", "undecodable"]
    assert sum(str(letter["detail"]).startswith("key: ") for letter in letters) == 1
    kept = [
        dict(message.headers() or []).get("source.__value_schema_id")
        for message in topics.messages(lab.broker.bootstrap_servers, lab.dead_letter_topic)
    ]
    assert kept.count(guid) == 1
    assert worker.stop() == 0
    # The jobs know a user by any spelling, too.
    settings = {name: value for name, value in lab.environment(sandbox.base_url, environment).items() if value}
    before = sandbox.stats()["upserts"]
    replay = lab.command("replay", "--from", "earliest", "--user", "phone=311.555.0002", "--json", environment=settings)
    assert json.loads(replay.output.read_text())["delivered"] == 1
    assert sandbox.stats()["upserts"] == before + 1
    verify = lab.command("verify", "--user", "phone=(311) 555-0001", "--json", environment=settings)
    summary = json.loads(verify.output.read_text().splitlines()[-1])
    assert (summary["users"], summary["equal"], summary["attributes"]) == (1, 2, 2)


def rehearse(lab: Lab, sandbox: SandboxCommand, environment: dict[str, str]) -> None:
    """`check` reads the same records, with the schemas of value and key, and tells what the worker then does."""
    given = {name: value for name, value in lab.environment(sandbox.base_url, environment).items() if value}
    misspelt = given | {"WORKER_MAPPING__EXCLUDE": "Tier", "WORKER_IDENTITY__ORDER": "phone"}
    done = lab.command("check", "--json", "--records", "5", environment=misspelt)
    told = [found for found in map(json.loads, done.output.read_text().splitlines()) if found["check"] == "records"]
    whats = [str(found["what"]) for found in told]
    assert f"{lab.topic}: of the newest 5 records: 3 to send, 2 undecodable" in whats
    assert sum("phone ********: tier (text), homeAddress_city (text)" in what for what in whats) == 3
    assert any("by its name it is a phone or an address" in what and "contactEmail" in what for what in whats), (
        "\n".join(whats)
    )
    assert any("Tier in WORKER_MAPPING__EXCLUDE matches nothing" in what for what in whats)
    assert "555" not in done.output.read_text() + done.log.read_text()
    assert sandbox.stats()["upserts"] == 0
    assert topics.committed_offsets(lab.broker.bootstrap_servers, lab.group, lab.topic) == {}
