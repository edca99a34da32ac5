"""`attribute-worker config`: the effective settings with secrets masked, and the source of each value."""

from __future__ import annotations

import json
from collections.abc import Iterator

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
        report: dict[str, dict[str, object]] = {
            path: {"value": value, "source": loaded.sources[path], "variable": NAMES[path].variable}
            for path, value in values.items()
        }
        for path, sources in loaded.property_sources.items():
            report[path]["sources"] = sources
        click.echo(json.dumps(report, indent=2, ensure_ascii=False))
        return
    lines = [line for path, value in values.items() for line in _lines(path, value, loaded)]
    name_width = max(len(name) for name, _, _ in lines)
    value_width = min(_VALUE_WIDTH_MAX, max(len(text) for _, text, _ in lines))
    for name, text, source in lines:
        click.echo(f"{name:<{name_width}} = {text:<{value_width}}  # {source}")


def _lines(path: str, value: object, loaded: Loaded) -> Iterator[tuple[str, str, str]]:
    """Yields name, text and source of a setting; of each property, if it holds some."""
    sources = loaded.property_sources.get(path)
    if not sources or not isinstance(value, dict):
        yield path, as_text(value), loaded.sources[path]
        return
    for name, source in sources.items():
        yield f"{path}: {name}", as_text(value[name]), source
