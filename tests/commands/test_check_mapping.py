"""What `check` says of a mapping and the schemas in a directory: without brokers, so by its functions."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.support.avro import fields
from tests.support.stub_registry import stub_registry
from worker.commands.check.finding import Level
from worker.commands.check.schemas import check_schemas
from worker.settings.load import load

VALUE = fields(
    ("id", "string"),
    ("mobilePhone", "string"),
    ("tier", "string"),
    ("address", fields(("city", "string"), name="Address")),
)
KEY = fields(("id", "string"), name="Key")


def checked(directory: Path, schemas: dict[str, Any], **settings: str) -> list[tuple[Level, str]]:
    for name, schema in schemas.items():
        (directory / name).write_text(json.dumps(schema), encoding="utf-8")
    given = {"PHONE": "", "EMAIL": "", "CUSTOM_IDENTIFIERS": "", "OCCURRED_AT": "", "EVENT_ID": "", **settings}
    environment = {
        "WORKER_KAFKA__BOOTSTRAP_SERVERS": "broker:9092",
        "WORKER_SCHEMAS__DIRECTORY": str(directory),
        "WORKER_ATTENTIVE__TOKEN": "token",
        **{f"WORKER_MAPPING__{name}": value for name, value in given.items()},
    }
    return [(found.level, found.what) for found in check_schemas(load(None, {}, environment).settings)]


def test_it_tells_of_fields_that_are_kept_back(tmp_path: Path) -> None:
    found = checked(tmp_path, {"7.avsc": VALUE}, ATTRIBUTES="*, address.city", CLIENT_USER_ID="id")
    assert found == [
        (Level.OK, "7.avsc: decodes, and has every mapped field"),
        (Level.WARN, "7.avsc: keeps back mobilePhone, which by name is a phone or an address"),
    ]
    named = checked(tmp_path, {}, ATTRIBUTES="*, address.city, mobilePhone", CLIENT_USER_ID="id")
    assert [level for level, _ in named] == [Level.OK]


def test_it_names_the_attribute_path_that_is_missing(tmp_path: Path) -> None:
    ((level, what),) = checked(tmp_path, {"7.avsc": KEY}, ATTRIBUTES="*, address.city", CLIENT_USER_ID="id")
    assert (level, what) == (Level.FAIL, "7.avsc: has no field address.city for the attributes")


def test_a_schema_that_may_be_a_keys_is_not_condemned(tmp_path: Path) -> None:
    schemas = {"1.avsc": KEY, "7.avsc": VALUE}
    found = checked(tmp_path, schemas, ATTRIBUTES="tier", CLIENT_USER_ID="key.id")
    assert found == [
        (Level.WARN, "1.avsc: has no field tier for the attributes; if it is a key's schema, all is well"),
        (Level.OK, "7.avsc: decodes, and has every mapped field"),
    ]


@pytest.mark.parametrize("path", ["tags", "born", "address", "active", "photo"])
def test_a_field_that_can_be_no_identifier_is_told(tmp_path: Path, path: str) -> None:
    schema = fields(
        ("id", "string"),
        ("number", {"type": "bytes", "logicalType": "decimal", "precision": 9}),
        ("tags", {"type": "array", "items": "string"}),
        ("born", {"type": "int", "logicalType": "date"}),
        ("address", fields(("city", "string"), name="Address")),
        ("active", "boolean"),
        ("photo", "bytes"),
    )
    ((level, what),) = checked(tmp_path, {"7.avsc": schema}, ATTRIBUTES="*", CLIENT_USER_ID="", PHONE=path)
    assert (level, what) == (Level.FAIL, f"7.avsc: no field can name the user (phone: {path})")
    ((level, what),) = checked(tmp_path, {}, ATTRIBUTES="*", CLIENT_USER_ID="number", PHONE=path)
    assert (level, what) == (Level.WARN, f"7.avsc: neither text nor a whole number (phone: {path})")


@pytest.mark.parametrize("path", ["tags", "born", "address", "active", "photo", "share"])
def test_a_time_that_can_be_none_is_told(tmp_path: Path, path: str) -> None:
    schema = fields(
        ("id", "string"),
        ("tags", ["null", {"type": "array", "items": "string"}]),
        ("born", {"type": "int", "logicalType": "date"}),
        ("address", fields(("city", "string"), name="Address")),
        ("active", "boolean"),
        ("photo", "bytes"),
        ("share", "double"),
    )
    (_, (level, what)) = checked(tmp_path, {"7.avsc": schema}, ATTRIBUTES="*", CLIENT_USER_ID="id", OCCURRED_AT=path)
    assert (level, what) == (Level.WARN, f"7.avsc: occurred_at: {path} can be no time")


def test_an_event_id_that_can_be_none_is_told(tmp_path: Path) -> None:
    given = {"ATTRIBUTES": "tier", "CLIENT_USER_ID": "id"}
    (_, (level, what)) = checked(tmp_path, {"7.avsc": VALUE}, EVENT_ID="address", **given)
    assert (level, what) == (Level.WARN, "7.avsc: event_id: address can be neither text nor a whole number")
    assert len(checked(tmp_path, {}, EVENT_ID="tier", OCCURRED_AT="tier", **given)) == 1


def test_attributes_that_no_record_could_have_are_told(tmp_path: Path) -> None:
    schema = fields(("id", "string"), ("tags", {"type": "array", "items": "string"}))
    ((level, what),) = checked(tmp_path, {"7.avsc": schema}, ATTRIBUTES="tags", CLIENT_USER_ID="id")
    assert (level, what) == (
        Level.FAIL,
        "7.avsc: attributes: tags is neither a map, a record nor a scalar in this schema",
    )


def test_it_says_what_a_schema_of_the_registry_lacks() -> None:
    schema = json.dumps(fields(("id", "string"), ("user", "n.User")))
    with stub_registry() as stub:
        stub.fault = lambda path: (200, {"version": 4, "schema": schema}) if path.endswith("/latest") else None
        environment = {
            "WORKER_KAFKA__BOOTSTRAP_SERVERS": "broker:9092",
            "WORKER_KAFKA__TOPICS": "profiles",
            "WORKER_SCHEMAS__REGISTRY_URL": stub.url,
            "WORKER_ATTENTIVE__TOKEN": "token",
        }
        found = [
            finding for finding in check_schemas(load(None, {}, environment).settings) if finding.level == Level.FAIL
        ]
    assert [finding.what for finding in found][:1] == [
        "profiles-value, version 4: not a valid Avro schema: there is no type n.User"
    ]
