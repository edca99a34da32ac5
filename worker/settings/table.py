"""The settings as text: single values, and the table in docs/settings.md (`scripts/settings-table` writes it)."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path

from pydantic import SecretStr

from worker import pages
from worker.masking import MASK, masked
from worker.settings.model import Settings
from worker.settings.names import NAMES, Name


def shown(name: Name, value: object) -> object:
    """A setting's value as JSON can hold it, with secrets masked."""
    if name.secret or isinstance(value, SecretStr):
        return None if value is None else MASK
    if isinstance(value, Mapping):
        pairs = {str(key): str(item) for key, item in value.items()}
        return masked(pairs, name.known_properties) if name.properties else pairs
    if isinstance(value, tuple):
        return [str(item) for item in value]
    return str(value) if isinstance(value, Path) else value


def as_text(value: object) -> str:
    """A shown value as one would write it in the environment. Empty for None."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float):
        return f"{value:.12g}"
    if isinstance(value, list):
        # An item that contains a comma, such as a pattern, must be written as JSON.
        return json.dumps(value) if any("," in item for item in value) else ",".join(value)
    return json.dumps(value, ensure_ascii=False) if isinstance(value, dict) else str(value)


ON_CALL = (
    *("kafka.bootstrap_servers", "kafka.topics", "kafka.dead_letter_topic"),
    *("attentive.base_url", "attentive.requests_per_second", "attentive.concurrency", "attentive.timeout_seconds"),
    *("window.seconds", "window.max_bytes", "storm.letters_max", "storm.share_max", "shutdown.drain_seconds"),
)
"""The settings that somebody on call wants to see first. `attribute-worker config` shows all."""


def on_call(settings: Settings) -> dict[str, object]:
    """The effective values of these, as JSON can hold them."""
    names = (NAMES[path] for path in ON_CALL)
    return {name.path: shown(name, getattr(getattr(settings, name.section), name.field)) for name in names}


def default_text(name: Name) -> str:
    """A setting's default as one would write it in the environment. Empty if there is none."""
    return "" if name.info.is_required() else as_text(shown(name, name.info.get_default(call_default_factory=True)))


def settings_table() -> str:
    """The Markdown table of all settings."""
    lines = ["| variable | default | meaning |", "| --- | --- | --- |"]
    for name in NAMES.values():
        default = default_text(name)
        written = f"`{default}`" if default else "none"
        if name.info.is_required():
            written = "required"
        cells = (f"`{name.variable}`", written, name.info.description or "")
        lines.append(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |")
    return "\n".join(lines)


def with_table(page: str) -> str:
    """The page with a new table between its markers; errors as `pages.with_table`."""
    return pages.with_table(page, "settings", settings_table())


if __name__ == "__main__":
    path = Path(sys.argv[1])
    path.write_text(with_table(path.read_text(encoding="utf-8")), encoding="utf-8")
