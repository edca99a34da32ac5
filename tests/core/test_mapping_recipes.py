"""Every recipe of docs/mapping.md, read from the page: its settings make the calls that it shows of its records."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from tests.support.avro import body, fields, framed, record
from worker.attentive import request
from worker.settings.load import load
from worker.wiring import parts

PAGE = (Path(__file__).parents[2] / "docs/mapping.md").read_text(encoding="utf-8")
REQUIRED = {
    "WORKER_KAFKA__BOOTSTRAP_SERVERS": "broker:9092",
    "WORKER_SCHEMAS__REGISTRY_URL": "http://registry:8081",
    "WORKER_ATTENTIVE__TOKEN": "token",
}


class Recipe(NamedTuple):
    schema: Any
    settings: str
    records: list[tuple[Any, Any]]
    """Each with the call that it becomes, or None."""


def recipes(page: str) -> dict[str, Recipe]:
    """By heading. A section with settings has a JSON block for the schema, then two for each record."""
    found = {}
    for section in page.split("\n## ")[1:]:
        heading, _, text = section.partition("\n")
        settings = re.findall(r"^```yaml\n(.*?)^```", text, re.DOTALL | re.MULTILINE)
        if settings:
            blocks = re.findall(r"^```json\n(.*?)^```", text, re.DOTALL | re.MULTILINE)
            schema, *others = map(json.loads, blocks)
            assert len(settings) == 1
            assert others
            found[heading] = Recipe(schema, settings[0], list(zip(others[::2], others[1::2], strict=True)))
    return found


RECIPES = recipes(PAGE)


def test_the_page_lists_its_sections_and_most_have_a_recipe() -> None:
    sections = re.findall(r"^## (.+)$", PAGE, re.MULTILINE)
    assert re.findall(r"^\d\. \[(.+?)\]", PAGE, re.MULTILINE) == sections
    assert list(RECIPES) == sections[:-1]


@pytest.mark.parametrize("heading", RECIPES)
def test_a_recipe_does_what_it_says(heading: str, tmp_path: Path) -> None:
    recipe = RECIPES[heading]
    file = tmp_path / "worker.yaml"
    file.write_text(recipe.settings)
    settings = load(file, {}, REQUIRED).settings
    decoder, preflight = parts.decoder(settings), parts.preflight(settings)
    decoder.add(3, recipe.schema)
    for datum, call in recipe.records:
        event = decoder.decode(record(framed(3, body(recipe.schema, datum))))
        if event is None:
            assert call is None
            continue
        checked = preflight.check(event)
        assert checked.refusals == ()
        assert json.loads(request.body(checked.user, checked.accepted)) == call
        assert (event.occurred_at_ms is None) is (settings.mapping.occurred_at == "")
        assert (event.event_id is None) is (settings.mapping.event_id == "")


def test_the_table_shows_settings_that_are_valid() -> None:
    shown = re.findall(r"`(WORKER_\w+)=(.*?)`", PAGE)
    assert len(shown) > 15
    for name, value in shown:
        setting = load(None, {}, {**REQUIRED, name: value.replace("\\|", "|")}).settings
        parts.decoder(setting)
        parts.preflight(setting)


@pytest.mark.parametrize("heading", RECIPES)
def test_check_finds_every_path_of_a_recipe_in_its_schema(heading: str, tmp_path: Path) -> None:
    recipe = RECIPES[heading]
    (tmp_path / "worker.yaml").write_text(recipe.settings)
    assert parts.decoder(load(tmp_path / "worker.yaml", {}, REQUIRED).settings).absent_paths(recipe.schema) == ()


def test_the_readmes_first_mapping_does_what_its_comments_say(tmp_path: Path) -> None:
    readme = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")
    [block] = re.findall(r"^```yaml\n(.*?)^```", readme, re.DOTALL | re.MULTILINE)
    (tmp_path / "worker.yaml").write_text(block)
    settings = load(tmp_path / "worker.yaml", {}, REQUIRED).settings
    address = fields(("town", "string"), ("geo", fields(("lat", "double"), name="Geo")), name="Address")
    contact = fields(("mobile", "string"), ("email", "string"), name="Contact")
    schema = fields(
        ("messageId", "string"),
        ("changedAt", "long"),
        ("contact", contact),
        ("address", address),
        ("consents", {"type": "map", "values": "boolean"}),
    )
    decoder = parts.decoder(settings)
    assert decoder.absent_paths(schema) == ()
    decoder.add(3, schema)
    datum = {
        "messageId": "m1",
        "changedAt": 1,
        "contact": {"mobile": "070-123 45 67", "email": "asa@shop.example"},
        "address": {"town": "Umeå", "geo": {"lat": 63.8}},
        "consents": {"sms": True},
    }
    event = decoder.decode(record(framed(3, body(schema, datum))))
    assert event is not None
    checked = parts.preflight(settings).check(event)
    assert (checked.user.phone, checked.refusals) == ("+46701234567", ())
    assert dict(checked.accepted) == {"address_town": "Umeå", "sms": True}
