"""`attribute-worker config`: the effective settings with secrets masked, and the source of each value."""

from __future__ import annotations

import json

import click

from worker.settings.flags import SettingsCommand, settings_options
from worker.settings.load import Loaded
from worker.settings.names import NAMES
from worker.settings.table import as_text, shown

_VALUE_WIDTH_MAX = 40


@click.command(
    cls=SettingsCommand,
    epilog="""\b
Examples:
  attribute-worker config
  attribute-worker config --config worker.yaml --window-seconds 30
  attribute-worker config --json | jq '."window.seconds"'""",
)
@settings_options
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object, by the settings' names.")
def command(loaded: Loaded, *, as_json: bool) -> None:
    """Show the effective settings and where each value came from.

    Masks secrets. Connects to nothing; `attribute-worker check` does.
    """
    values = {
        path: shown(name, getattr(getattr(loaded.settings, name.section), name.field)) for path, name in NAMES.items()
    }
    if as_json:
        report = {
            path: {"value": value, "source": loaded.sources[path], "variable": NAMES[path].variable}
            for path, value in values.items()
        }
        click.echo(json.dumps(report, indent=2, ensure_ascii=False))
        return
    texts = {path: as_text(value) for path, value in values.items()}
    name_width = max(map(len, texts))
    value_width = min(_VALUE_WIDTH_MAX, max(map(len, texts.values())))
    for path, text in texts.items():
        click.echo(f"{path:<{name_width}} = {text:<{value_width}}  # {loaded.sources[path]}")
