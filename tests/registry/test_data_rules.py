"""Schemas with rules that their readers must run, such as the decryption of fields."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.registry.test_registry import answer, source, until
from tests.support.avro import body, fields, framed, record
from tests.support.stub_registry import StubRegistry, stub_registry
from worker.core.events.decode import Decoder
from worker.core.events.mapping import Mapping
from worker.core.model import Event

pytestmark = pytest.mark.slow

ENCRYPT = {"name": "encryptPII", "kind": "TRANSFORM", "mode": "WRITEREAD", "type": "ENCRYPT", "tags": ["PII"]}
CUSTOMER = fields(
    ("id", "string"),
    ("mail", ["null", "string"]),
    ("tier", "string"),
    ("secret", "string"),
    ("home", fields(("city", "string"), name="Home")),
    mail={"confluent:tags": ["PII"]},
)
DATUM = {"id": "u1", "mail": "c2VjcmV0", "tier": "gold", "secret": "c2VjcmV0", "home": {"city": "Lyon"}}
MAPPING = Mapping(phone="", email="mail", client_user_id="id", custom_identifiers="", attributes="*")


@pytest.fixture
def stub() -> Iterator[StubRegistry]:
    with stub_registry() as stub:
        yield stub


def rules(*given: dict[str, Any], phase: str = "domainRules") -> dict[str, Any]:
    return {"ruleSet": {phase: list(given)}}


def event_of(schema: object, value: bytes) -> Event:
    decoder = Decoder(MAPPING)
    decoder.add(7, schema)
    event = decoder.decode(record(framed(7, value)))
    assert event is not None
    return event


@pytest.mark.parametrize(
    "given",
    [
        rules(ENCRYPT),
        rules({**ENCRYPT, "mode": "READ"}),
        rules({"name": "encryptPII", "type": "ENCRYPT"}),
        rules({**ENCRYPT, "mode": "WRITE"}, ENCRYPT),
        rules({"name": "encryptPII", "kind": "TRANSFORM", "type": "ENCRYPT_PAYLOAD"}, phase="encodingRules"),
        rules({"name": "encryptPII", "kind": "CONDITION", "mode": "READ", "type": "CEL"}),
    ],
)
def test_a_schema_whose_readers_must_run_rules_waits_and_says_so(stub: StubRegistry, given: dict[str, Any]) -> None:
    stub.hold(7, CUSTOMER, **given)
    with source(stub.url) as schemas:
        schemas.request(7)
        text = until(schemas.waiting)
        assert "cannot fetch schema 7" in text
        assert "rules are to be run by readers" in text
        assert "encryptPII" in text
        assert "WORKER_SCHEMAS__READ_RULES" in text
        assert schemas.answers() == []
        stub.hold(7, CUSTOMER)
        assert until(schemas.answers) == [(7, CUSTOMER)]


@pytest.mark.parametrize(
    "given",
    [
        {"ruleSet": None},
        rules(),
        rules({**ENCRYPT, "mode": "WRITE"}),
        rules({**ENCRYPT, "disabled": True}),
        rules({"name": "checkMail", "kind": "CONDITION", "mode": "WRITEREAD", "type": "CEL"}),
        rules({"name": "rename", "kind": "TRANSFORM", "mode": "UPGRADE", "type": "JSONATA"}, phase="migrationRules"),
    ],
)
def test_rules_that_change_nothing_for_this_reader_are_passed_over(stub: StubRegistry, given: dict[str, Any]) -> None:
    stub.hold(7, CUSTOMER, **given)
    with source(stub.url) as schemas:
        assert answer(schemas, 7) == CUSTOMER


def test_the_fields_with_the_rules_tags_can_be_left_out(stub: StubRegistry) -> None:
    stub.hold(7, CUSTOMER, metadata={"tags": {"Row.sec*": ["PII"], "Row.tier": ["OTHER"]}}, **rules(ENCRYPT))
    with source(stub.url, leave_out_tagged=True) as schemas:
        event = event_of(answer(schemas, 7), body(CUSTOMER, DATUM))
    assert event.attributes == {"tier": "gold"}
    assert (event.user.client_user_id, event.user.email) == ("u1", None)


def test_tags_inside_referenced_types_count(stub: StubRegistry) -> None:
    row = fields(("mail", "string"), ("tier", "string"), name="Inner", mail={"confluent:tags": ["PII"]})
    root = fields(("id", "string"), ("row", "Inner"))
    stub.hold(1, row)
    stub.hold(7, root, references=[{"name": "Inner", "subject": "inner", "version": 1}], **rules(ENCRYPT))
    stub.subjects = {("inner", "1"): 1}
    with source(stub.url, leave_out_tagged=True) as schemas:
        schema = answer(schemas, 7)
    decoder = Decoder(Mapping(phone="", email="row.mail", client_user_id="id", custom_identifiers="", attributes="row"))
    decoder.add(7, schema)
    inline = fields(("id", "string"), ("row", row))
    event = decoder.decode(record(framed(7, body(inline, {"id": "u1", "row": {"mail": "c2Vj", "tier": "gold"}}))))
    assert event is not None
    assert (event.attributes, event.user.email) == ({"tier": "gold"}, None)


def test_a_rule_without_tags_may_be_about_any_field_and_waits_all_the_same(stub: StubRegistry) -> None:
    payload = {"name": "encryptAll", "kind": "TRANSFORM", "type": "ENCRYPT_PAYLOAD"}
    stub.hold(7, CUSTOMER, **rules(payload, phase="encodingRules"))
    with source(stub.url, leave_out_tagged=True) as schemas:
        schemas.request(7)
        assert "encryptAll" in until(schemas.waiting)
        assert schemas.answers() == []
