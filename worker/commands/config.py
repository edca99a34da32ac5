"""`attribute-worker config`: the effective settings with secrets masked, and the source of each value."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import click

from worker.settings.example import example
from worker.settings.flags import InvalidConfiguration, SettingsCommand, settings_options
from worker.settings.load import Loaded
from worker.settings.names import NAMES
from worker.settings.table import as_text, shown

_VALUE_WIDTH_MAX = 40


class _Command(SettingsCommand):
    """Shows what can be shown of a configuration that cannot be used, and what is wrong with it."""

    def invoke(self, ctx: click.Context) -> Any:  # noqa: ANN401 - click's signature
        """Runs the command; errors as the loader's."""
        try:
            return super().invoke(ctx)
        except InvalidConfiguration as error:
            if error.loaded is not None:
                _print(error.loaded, as_json=bool(ctx.params["as_json"]))
            raise


def _print_example(ctx: click.Context, _parameter: click.Parameter, wanted: bool) -> None:  # noqa: FBT001 - click's signature
    if wanted:
        click.echo(example())
        ctx.exit()


@click.command(
    cls=_Command,
    epilog="""\b
Examples:
  attribute-worker config
  attribute-worker config --config worker.yaml --window-seconds 30
  attribute-worker config --json | jq '."window.seconds"'
  attribute-worker config --example > worker.yaml""",
)
@settings_options
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object, by the settings' names.")
@click.option(
    "--example",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=_print_example,
    help="Print a commented YAML file of every setting with its default, and nothing else.",
)
def command(loaded: Loaded, *, as_json: bool) -> None:
    """Show the effective settings and where each value came from.

    Masks secrets. Connects to nothing; `attribute-worker check` does. If something is missing or wrong, it still shows
    the rest, says on stderr what to mend, and exits with 2.
    """
    _print(loaded, as_json=as_json)


def _print(loaded: Loaded, *, as_json: bool) -> None:
    values = {
        path: None
        if path in loaded.unusable
        else shown(name, getattr(getattr(loaded.settings, name.section), name.field))
        for path, name in NAMES.items()
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
