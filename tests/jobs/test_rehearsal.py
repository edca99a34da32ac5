"""The rehearsal of `check`: what becomes of records and of their columns, and which patterns match nothing."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.support.avro import body, framed, record
from worker.core.model import Reason
from worker.jobs.rehearsal import CALL, EXAMPLES_MAX, NOTHING, SKIPPED, TOMBSTONE, Rehearsal
from worker.settings.load import load
from worker.wiring.rehearsal import rehearsal

CUSTOMER: dict[str, Any] = {
    "type": "record",
    "name": "Customer",
    "fields": [
        {"name": "mobile", "type": ["null", "string"]},
        {"name": "email", "type": ["null", "string"]},
        {"name": "loyaltyTier", "type": ["null", "string"]},
        {"name": "points", "type": "int"},
        {"name": "secondPhone", "type": "string"},
        {"name": "orders", "type": {"type": "array", "items": "string"}},
        {"name": "notes", "type": "string"},
        {"name": "deleted", "type": "boolean"},
    ],
}
MOBILE, EMAIL, NOTES = "+13115550100", "planted@example.com", "planted notes"
GOOD = {
    "mobile": MOBILE,
    "email": EMAIL,
    "loyaltyTier": "gold",
    "points": 7,
    "secondPhone": "+13115550199",
    "orders": [],
    "notes": NOTES,
    "deleted": False,
}
MAPPED = {"WORKER_MAPPING__PHONE": "mobile", "WORKER_MAPPING__EMAIL": "email", "WORKER_MAPPING__ATTRIBUTES": "*"}


def made(directory: Path, **settings: str) -> Rehearsal:
    directory.mkdir(exist_ok=True)
    (directory / "7.avsc").write_text(json.dumps(CUSTOMER))
    needed = {
        "WORKER_KAFKA__BOOTSTRAP_SERVERS": "broker:9092",
        "WORKER_SCHEMAS__DIRECTORY": str(directory),
        "WORKER_ATTENTIVE__TOKEN": "token",
    }
    return rehearsal(load(None, {}, needed | MAPPED | settings).settings)


def take(found: Rehearsal, *datums: dict[str, Any]) -> Rehearsal:
    for datum in datums:
        found.take(record(framed(7, body(CUSTOMER, datum))))
    return found


def test_it_counts_what_records_become_and_tells_the_latest_reason(tmp_path: Path) -> None:
    found = take(
        made(tmp_path, WORKER_MAPPING__IGNORE_WHEN="deleted=true"),
        *[GOOD] * 7,
        GOOD | {"deleted": True},
        GOOD | {"mobile": "planted nonsense", "email": None},
        GOOD | {"mobile": None, "email": None},
    )
    found.take(record(None))
    found.take(record(b"planted bytes"))
    found.take(record(b"\0\0\0\0\x09planted"))
    assert found.outcomes == {
        CALL: 7,
        SKIPPED: 1,
        TOMBSTONE: 1,
        Reason.INVALID_IDENTITY: 1,
        Reason.NO_IDENTITY: 1,
        Reason.UNDECODABLE: 2,
    }
    assert (found.failing, found.speaking) == (4, 11)
    assert "schema 9 does not exist" in found.details[Reason.UNDECODABLE]
    assert len(found.examples) == EXAMPLES_MAX
    assert "planted" not in repr(found.details)


def test_a_letter_beside_a_call_is_told_too(tmp_path: Path) -> None:
    found = take(made(tmp_path, WORKER_ATTRIBUTES__DENY="notes"), GOOD, GOOD)
    assert (found.outcomes, found.failing) == ({CALL: 2}, 0)
    assert found.beside == {Reason.SENSITIVE_DATA: 2}
    assert found.details[Reason.SENSITIVE_DATA].endswith("notes: denied by policy")


def test_an_example_has_kinds_and_types_and_nothing_that_identifies(tmp_path: Path) -> None:
    (example,) = take(made(tmp_path), GOOD).examples
    assert example.identifiers[0] == "phone"
    assert example.attributes == {"loyaltyTier": "text", "points": "number", "notes": "text", "deleted": "truth value"}
    for value in (MOBILE, EMAIL, NOTES, "gold"):
        assert value not in repr(example)


def test_a_text_with_blanks_around_it_is_told_as_such(tmp_path: Path) -> None:
    found = take(made(tmp_path), GOOD | {"loyaltyTier": "gold      "}, GOOD)
    assert found.fates["sent as text with blanks around it"] == {"loyaltyTier": 1}
    assert found.fates["sent as text"]["loyaltyTier"] == 1


def test_each_column_has_its_fate(tmp_path: Path) -> None:
    found = take(
        made(tmp_path, WORKER_MAPPING__EXCLUDE="notes", WORKER_ATTRIBUTES__ALLOW="loyaltyTier,po*"),
        GOOD,
        GOOD | {"loyaltyTier": None},
    )
    assert found.fates["sent as number"] == {"points": 2}
    assert found.fates["sent as text"] == {"loyaltyTier": 1}
    assert found.fates["left out: null"] == {"loyaltyTier": 1}
    assert found.fates["left out: not in WORKER_ATTRIBUTES__ALLOW"] == {"deleted": 2}
    assert found.columns == {"notes": "WORKER_MAPPING__EXCLUDE", "orders": "it is no text, number or truth value"}


@pytest.mark.parametrize(
    ("setting", "pattern", "told"),
    [
        ("WORKER_ATTRIBUTES__ALLOW", "loyaltytier", True),
        ("WORKER_ATTRIBUTES__ALLOW", "loyalty*", False),
        ("WORKER_ATTRIBUTES__DENY", "internal_*", True),
        ("WORKER_ATTRIBUTES__DENY", "LOYALTY_TIER", False),
        ("WORKER_ATTRIBUTES__DENY", "@forbidden", False),
        ("WORKER_MAPPING__EXCLUDE", "Notes", True),
        ("WORKER_MAPPING__EXCLUDE", "note?", False),
        ("WORKER_MAPPING__EXCLUDE", "orders", False),
        ("WORKER_MAPPING__TYPES", "Custmer", True),
        ("WORKER_MAPPING__TYPES", "Cust*", False),
        ("WORKER_ATTRIBUTES__UNKNOWN_VALUES", "n/a", True),
        ("WORKER_ATTRIBUTES__UNKNOWN_VALUES", "gold", False),
    ],
)
def test_a_pattern_that_matches_nothing_is_named(tmp_path: Path, setting: str, pattern: str, *, told: bool) -> None:
    found = take(made(tmp_path, **{setting: pattern}), GOOD)
    assert list(found.unmatched()) == ([(setting, pattern)] if told else [])


@pytest.mark.parametrize(("name", "told"), [("loyaltytier", True), ("loyaltyTier", False)])
def test_a_new_name_of_nothing_is_named(tmp_path: Path, name: str, *, told: bool) -> None:
    found = take(made(tmp_path, WORKER_MAPPING__RENAME=json.dumps({name: "Tier"})), GOOD)
    assert list(found.unmatched()) == ([("WORKER_MAPPING__RENAME", name)] if told else [])


def test_an_allow_list_that_matches_nothing_leaves_nothing_to_send(tmp_path: Path) -> None:
    found = take(made(tmp_path, WORKER_ATTRIBUTES__ALLOW="loyaltytier"), GOOD, GOOD)
    assert found.outcomes == {NOTHING: 2}
