"""The registry source against a real Confluent-compatible registry."""

from __future__ import annotations

import json
import time

import pytest
from confluent_kafka.schema_registry import Schema, SchemaReference, SchemaRegistryClient

from tests.support.avro import body, fields, framed, record
from tests.support.registry import Registry
from worker.core.events.decode import Decoder
from worker.core.events.mapping import Mapping
from worker.core.model import SchemaId
from worker.registry.client import RegistryClient
from worker.registry.registry import RegistrySchemas

pytestmark = pytest.mark.registry

DEADLINE_SECONDS = 30.0
COUNTRY = {"type": "enum", "name": "Country", "namespace": "geo", "symbols": ["FR", "DE"]}
USER = fields(("name", "string"), name="n.User")
WRAP = fields(("user", USER), name="n.Wrap")
CUSTOMER = {**fields(("id", "string"), ("land", "geo.Country"), name="Customer"), "namespace": "crm"}


def test_a_real_registry_resolves_references_and_registers_the_dead_letters(registry: Registry) -> None:
    with SchemaRegistryClient({"url": registry.url}) as client:
        client.register_schema("source-country", Schema(json.dumps(COUNTRY), "AVRO"))
        reference = SchemaReference("geo.Country", "source-country", 1)
        customer = client.register_schema("source-customer", Schema(json.dumps(CUSTOMER), "AVRO", [reference]))
    unknown = customer + 1_000_000
    schemas = RegistrySchemas(registry.url, {}, "source-letters", unknown_id_seconds=1)
    answered: dict[SchemaId, object] = {}
    try:
        deadline = time.monotonic() + DEADLINE_SECONDS
        while len(answered) < 2 or schemas.dead_letter_schema_id() is None:
            assert time.monotonic() < deadline, schemas.waiting()
            for schema_id in {customer, unknown} - answered.keys():
                schemas.request(schema_id)
            answered.update(schemas.answers())
            time.sleep(0.01)
        assert schemas.waiting() is None
    finally:
        schemas.close()
    assert answered[unknown] is None
    with SchemaRegistryClient({"url": registry.url}) as client:
        assert schemas.dead_letter_schema_id() == client.get_latest_version("source-letters-value").schema_id
    decoder = Decoder(Mapping(client_user_id="id", attributes="*"))
    decoder.add(customer, answered[customer])
    written = body(
        {**CUSTOMER, "fields": [CUSTOMER["fields"][0], {"name": "land", "type": COUNTRY}]}, {"id": "u", "land": "DE"}
    )
    event = decoder.decode(record(framed(customer, written)))
    assert event is not None
    assert dict(event.attributes) == {"land": "DE"}


@pytest.mark.parametrize(("subject", "referenced"), [("nested", WRAP), ("union", ["null", WRAP])])
def test_types_inside_a_referenced_schema_are_found(registry: Registry, subject: str, referenced: object) -> None:
    row = fields(("id", "string"), ("user", "n.User"), ("wrap", "n.Wrap"), name=f"Of{subject}")
    with SchemaRegistryClient({"url": registry.url}) as client:
        client.register_schema(f"types-{subject}", Schema(json.dumps(referenced), "AVRO"))
        reference = SchemaReference("n.Wrap", f"types-{subject}", 1)
        row_id = client.register_schema(f"row-{subject}", Schema(json.dumps(row), "AVRO", [reference]))
    client_of_ours = RegistryClient(registry.url, {})
    decoder = Decoder(Mapping("", "", "id", "", attributes="user.name, inner=wrap.user.name", occurred_at=""))
    decoder.add(row_id, client_of_ours.schema(row_id))
    client_of_ours.close()
    event = decoder.decode(record(framed(row_id, b"\x04u1\x02a\x02b")))
    assert event is not None
    assert event.attributes == {"name": "a", "inner": "b"}
