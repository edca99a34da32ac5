"""Every folder of `examples/`, in memory: by the settings of its `worker.yaml` its records become what it says."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from tests.support.examples import DIRECTORIES, EXAMPLES, Example, by_user
from worker.attentive import request
from worker.core.events.reading import PassedOver, read
from worker.core.model import Event, Partition, Record
from worker.wiring import parts

PLACE = Partition("examples", 0)


@pytest.mark.parametrize("directory", DIRECTORIES, ids=lambda directory: directory.name)
def test_the_records_of_an_example_become_what_it_says(directory: Path) -> None:
    example = Example(directory)
    settings = example.settings()
    decoder, preflight = parts.decoder(settings), parts.preflight(settings)
    ids = {name: number for number, name in enumerate(example.schemas, 1)}
    for name, number in ids.items():
        decoder.add(number, example.schemas[name])
    users: dict[str, dict[str, Any]] = {}
    letters: list[dict[str, object]] = []
    passed_over = 0
    for offset, (key, value) in enumerate(example.written(ids)):
        event = read(Record(PLACE, offset, 0, key, value), decoder)
        if isinstance(event, PassedOver):
            passed_over += 1
            continue
        assert isinstance(event, Event), f"record {offset}: {event}"
        assert (event.occurred_at_ms is None, event.event_id is None) == (
            settings.mapping.occurred_at == "",
            settings.mapping.event_id == "",
        )
        checked = preflight.check(event)
        for refusal in checked.refusals:
            names = sorted(refusal.attributes)
            letters.append({"record": offset, "reason": refusal.reason, "attributes": names})
        if checked.accepted:
            call = json.loads(request.body(checked.user, checked.accepted))
            held = users.setdefault(json.dumps(call["user"]), {"user": call["user"], "attributes": {}})
            held["attributes"] |= call["properties"]
    assert by_user(users.values()) == by_user(example.expected["users"])
    assert letters == example.expected["dead_letters"]
    assert passed_over == example.expected["passed_over"]


def test_a_page_lists_every_example_and_their_readmes_have_one_shape() -> None:
    page = (EXAMPLES.parent / "docs/examples.md").read_text(encoding="utf-8")
    assert sorted(re.findall(r"^\| \[(.+?)\]\(\.\./examples/\1/README\.md\) \|", page, re.MULTILINE)) == [
        directory.name for directory in DIRECTORIES
    ]
    for directory in DIRECTORIES:
        readme = (directory / "README.md").read_text(encoding="utf-8")
        sections = ["What becomes what", "What the records show", "Limits", "Sources"]
        assert re.findall(r"^## (.+)$", readme, re.MULTILINE) == sections, directory.name
