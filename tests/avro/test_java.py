"""Whatever Apache Avro for Java takes is taken here, and its records have the same values."""

from __future__ import annotations

import json
import os
import random
import secrets
from dataclasses import replace
from typing import Any

import pytest

from tests.avro.odd_schemas import EXCUSED, ODD
from tests.avro.random_schemas import Maker
from tests.avro.values import check_same
from tests.support.avro import fields, framed, record
from tests.support.java_avro import JavaAvro, Refused, Written
from worker.core.avro.linking import linked
from worker.core.avro.schema import AvroType, InvalidSchema
from worker.core.events.decode import Decoder
from worker.core.events.mapping import Mapping

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("java-avro")]

SCHEMAS = 1_000
SCHEMAS_LONG = 20_000
RECORDS = 4
SEED = int(os.environ.get("AVRO_SEED") or secrets.randbits(32))
MAP = Mapping(
    phone="", email="", client_user_id="id", custom_identifiers="", attributes="values", occurred_at="", event_id=""
)
FIELDS = replace(MAP, attributes="*")


def check_schema(java: JavaAvro, seed: int) -> bool:
    """Checks one schema, of up to three texts, and records of it. False if Java does not take it."""
    rng = random.Random(seed)
    maker = Maker(rng)
    texts = [maker.record() for _ in range(rng.choice((0, 0, 1, 2)))] + [maker.row()]
    try:
        written = java.records(texts, seed=seed, count=RECORDS)
    except Refused:
        return False
    try:
        check_records(linked(texts[-1], texts[:-1]), written)
    except Exception as error:
        error.add_note(f"seed {seed} (set AVRO_SEED to run it again):\n{json.dumps(texts)}")
        raise
    return True


def check_records(schema: object, written: list[Written]) -> None:
    """Checks that each record has the values that Java reads in it: those of its map, and those of its fields."""
    of_map, of_fields = Decoder(MAP), Decoder(FIELDS)
    of_map.add(7, schema)
    of_fields.add(7, schema)
    for one in written:
        read: dict[str, Any] = one.value[1]
        check_same(read.pop("values"), attributes(of_map, one.data, read["id"]))
        found = attributes(of_fields, one.data, read.pop("id"))
        for name, value in found.items():
            check_same(read[name], value, name)
        assert all(isinstance(read[name], list | None) for name in read.keys() - found.keys())


def attributes(decoder: Decoder, data: bytes, user: str) -> dict[str, Any]:
    event = decoder.decode(record(framed(7, data)))
    assert event is not None
    assert event.user.client_user_id == user
    return dict(event.attributes)


def check_schemas(java: JavaAvro, count: int) -> None:
    taken = sum(check_schema(java, seed) for seed in range(SEED, SEED + count))
    assert taken > count * 3 / 4, f"Java refuses most; seed {SEED}"


def test_random_records_of_random_schemas_have_the_values_that_java_reads(java_avro: JavaAvro) -> None:
    check_schemas(java_avro, SCHEMAS)


@pytest.mark.long
def test_random_records_of_very_many_random_schemas_have_the_values_that_java_reads(java_avro: JavaAvro) -> None:
    check_schemas(java_avro, SCHEMAS_LONG)


@pytest.mark.parametrize("odd", ODD)
def test_an_odd_schema_that_java_takes_is_taken(java_avro: JavaAvro, odd: str) -> None:
    schema = fields(("id", "string"), ("values", {"type": "map", "values": ODD[odd]}))
    try:
        java_avro.records([schema], seed=7, count=0)
    except Refused:
        return
    if odd in EXCUSED:
        with pytest.raises(InvalidSchema, match=EXCUSED[odd]):
            AvroType(schema)
        return
    AvroType(schema)
    try:
        written = java_avro.records([schema], seed=7, count=RECORDS)
    except Refused:
        return  # no value fits it
    check_records(schema, written)


def test_every_excuse_is_for_a_schema_that_java_takes(java_avro: JavaAvro) -> None:
    for odd in EXCUSED:
        java_avro.records([ODD[odd]], seed=7, count=0)
