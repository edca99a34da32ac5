"""The example configuration: it loads as it is, and with every name uncommented it says what the defaults are."""

from __future__ import annotations

import re
from pathlib import Path

import yaml

from worker.settings.example import example
from worker.settings.load import load
from worker.settings.names import NAMES

REQUIRED = {"kafka.bootstrap_servers", "schemas.registry_url"}
TOKEN = {"WORKER_ATTENTIVE__TOKEN": "secret"}


def uncommented() -> str:
    return re.sub(r"^  #(?=\w)", "  ", example(), flags=re.MULTILINE)


def test_it_loads_as_it_is_with_a_token(tmp_path: Path) -> None:
    path = tmp_path / "worker.yaml"
    path.write_text(example())
    loaded = load(path, {}, TOKEN)
    given = {name for name, source in loaded.sources.items() if source.startswith(str(path))}
    assert given == REQUIRED


def test_it_has_every_setting_and_its_default(tmp_path: Path) -> None:
    found = yaml.safe_load(uncommented())
    assert {f"{section}.{field}" for section, fields in found.items() for field in fields} == NAMES.keys()
    path = tmp_path / "worker.yaml"
    path.write_text(uncommented())
    minimal = {"kafka.bootstrap_servers": "broker:9092", "schemas.registry_url": "http://registry:8081"}
    assert load(path, minimal, TOKEN).settings == load(None, minimal, TOKEN).settings


def test_each_setting_is_explained_above_it() -> None:
    lines = example().splitlines()
    for name in NAMES.values():
        (at,) = (
            number
            for number, line in enumerate(lines)
            if re.match(rf"  #?{name.field}:", line) and section_of(lines, number) == name.section
        )
        assert lines[at - 1].startswith("  # ")
    assert max(map(len, lines)) <= 120


def section_of(lines: list[str], number: int) -> str:
    return next(line[:-1] for line in reversed(lines[:number]) if re.match(r"\w+:$", line))
