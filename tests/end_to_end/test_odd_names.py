"""Names in a schema that no text can hold: they cost their own attributes, and nothing else."""

from __future__ import annotations

import json

import pytest

from tests.end_to_end.conftest import Lab
from tests.support.avro import fields, framed, varint
from tests.support.producers import ordered_producer

pytestmark = [pytest.mark.kafka, pytest.mark.slow]

SCHEMA = fields(("id", "string"), ("a\ud800", "string"), ("tier", "string"))


def test_a_field_with_a_lone_surrogate_in_its_name_is_a_letter_and_the_others_are_delivered(lab: Lab) -> None:
    (lab.schemas / "41.avsc").write_text(json.dumps(SCHEMA))
    lab.broker.create_topic(lab.topic, 1)
    sandbox = lab.sandbox()
    producer = ordered_producer(lab.broker.bootstrap_servers)
    for user in range(3):
        text = b"".join(varint(len(part)) + part for part in (f"u{user}".encode(), b"x", b"Gold"))
        producer.produce(lab.topic, framed(41, text), str(user).encode())
    assert producer.flush(30) == 0
    worker = lab.worker(sandbox.base_url, {"WORKER_MAPPING__CLIENT_USER_ID": "id", "WORKER_MAPPING__ATTRIBUTES": "*"})
    lab.until_committed(60)
    assert [letter["reason"] for letter in lab.dead_letters()] == ["invalid_attribute_name"] * 3
    assert [user["attributes"] for user in sandbox.users()] == [{"tier": "Gold"}] * 3
    assert worker.stop() == 0
