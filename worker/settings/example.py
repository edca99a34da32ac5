"""A whole configuration as commented YAML, made from the models: `attribute-worker config --example` prints it."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Iterator, Mapping
from typing import Final

from worker.settings.names import NAMES, Name, section_models
from worker.settings.table import shown

_WIDTH: Final = 100
_GIVEN: Final[Mapping[str, str]] = {
    "kafka.bootstrap_servers": "broker-1:9092,broker-2:9092",
    "schemas.registry_url": "http://registry:8081",
}
"""What nobody can leave at its default: these lines are no comments."""
_HEAD: Final = """\
# Every setting of attribute-worker, with its default. To change one, remove the # before its name.
# Run it with --config FILE, or WORKER_CONFIG=FILE. The environment (WORKER_WINDOW__SECONDS) and flags
# (--window-seconds) are stronger. `attribute-worker config` shows what is in force, and from where.
# Keep secrets out of this file: attentive.token_file, kafka.property_files and
# schemas.registry_property_files name files that hold them."""


def example() -> str:
    """The text. As it is, it lacks only the token; with every name uncommented, it sets the defaults."""
    lines = [_HEAD]
    for section, model in section_models().items():
        lines += ["", *_comment((model.__doc__ or "").strip(), ""), f"{section}:"]
        for name in NAMES.values():
            if name.section == section:
                lines += ["", *_setting(name)]
    return "\n".join(lines)


def _setting(name: Name) -> Iterator[str]:
    yield from _comment(name.info.description or "", "  ")
    given = _GIVEN.get(name.path)
    if given is not None:
        yield f"  {name.field}: {given}"
        return
    value = shown(name, name.info.get_default(call_default_factory=True))
    text = "" if value is None else f" {json.dumps(value, ensure_ascii=False)}"
    yield f"  #{name.field}:{text}"


def _comment(text: str, indent: str) -> list[str]:
    marked = f"{indent}# "
    return textwrap.wrap(text, _WIDTH, initial_indent=marked, subsequent_indent=marked, break_on_hyphens=False)
