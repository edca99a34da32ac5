"""The Debezium example, read as a user's configuration is read."""

from __future__ import annotations

import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import yaml

from tests.support.avro import body, framed, record
from worker.core.events.decode import Decoder
from worker.core.events.mapping import Mapping
from worker.core.model import User
from worker.core.rules.identity import IdentityRules
from worker.core.rules.policy import AttributeRules
from worker.core.rules.preflight import Preflight
from worker.settings.events import MappingSettings

EXAMPLES = Path(__file__).parents[2] / "examples"
SCHEMA = json.loads((EXAMPLES / "debezium.avsc").read_text())
ROW: dict[str, Any] = {
    "id": 12,
    "phone_e164": "+13115552368",
    "email": "ann@shop.example",
    "loyalty_number": "L-7",
    "tier": "GOLD",
    "birthday": 6_163,
    "last_order_at": 1_700_000_000_000_000,
    "gift_card_balance": b"\x13\xda",
    "marketing_notes": "likes blue",
    "favourite_stores": ["North"],
    "updated_at": 1_700_000_000_000_001,
}
SOURCE = {"db": "shop", "table": "customers", "ts_ms": 1_700_000_000_500, "lsn": 99}


def decoder() -> Decoder:
    settings = yaml.safe_load((EXAMPLES / "debezium.yaml").read_text())
    decoder = Decoder(Mapping(**MappingSettings(**settings["mapping"]).model_dump()))
    decoder.add(3, SCHEMA)
    return decoder


def envelope(**given: object) -> bytes:
    datum = {"before": None, "after": None, "source": SOURCE, "op": "u", "ts_ms": 1_700_000_000_900, **given}
    return framed(3, body(SCHEMA, datum))


def test_a_changed_row_becomes_attributes() -> None:
    event = decoder().decode(record(envelope(before={**ROW, "tier": "BLUE"}, after=ROW)))
    assert event is not None
    assert (event.occurred_at_ms, event.event_id) == (1_700_000_000_500, "99")
    assert event.user == User("+13115552368", "ann@shop.example", "12", (("loyalty_id", "L-7"),))
    checked = Preflight(IdentityRules(), AttributeRules()).check(event)
    assert dict(checked.accepted) == {
        "Loyalty Tier": "GOLD",
        "birthday": "1986-11-16",
        "last_order_at": "2023-11-14T22:13:20Z",
        "Gift card balance": Decimal("50.82"),
    }
    assert (checked.refusals, checked.passed_over) == ((), 0)


def test_a_deleted_row_is_passed_over() -> None:
    assert decoder().decode(record(envelope(before=ROW, op="d"))) is None


def test_every_path_of_the_example_exists_in_its_schema() -> None:
    assert decoder().absent_paths(SCHEMA) == ()
