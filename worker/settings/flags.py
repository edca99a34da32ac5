"""A flag for every setting, made from the models, for the commands that need the whole configuration."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

import click

from worker.settings.load import ConfigurationError, Loaded, load
from worker.settings.names import FILE_VARIABLE, NAMES, Name
from worker.settings.table import default_text

_CONFIG = "config_path"
_DEFAULT_LENGTH_MAX = 60
_METAVARS = {"_seconds": "SECONDS", "_bytes": "BYTES"}


class InvalidConfiguration(click.ClickException):
    """Shows every problem of a configuration and exits with status 2, without a traceback."""

    exit_code = 2

    def __init__(self, error: ConfigurationError) -> None:
        count = len(error.problems)
        head = "The configuration has an error:" if count == 1 else f"The configuration has {count} errors:"
        super().__init__("\n".join([head, *(f"  {problem}" for problem in error.problems)]))
        self.loaded = error.loaded


class SettingOption(click.Option):
    """The flag of one setting. click does not check the value: the loader does, with those of the other sources."""

    def __init__(self, param_decls: Sequence[str], *, setting: Name, **attributes: Any) -> None:  # noqa: ANN401 - whatever click's own class accepts
        self.setting = setting
        super().__init__(param_decls, **attributes)


class SettingsCommand(click.Command):
    """A command whose help shows its own options and examples first, then the settings' flags by section."""

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Writes the command's own options and its examples, then the flags of each section."""
        sections: dict[str, list[tuple[str, str]]] = {"Options": []}
        for parameter in self.get_params(ctx):
            record = parameter.get_help_record(ctx)
            if record is not None:
                setting = parameter.setting if isinstance(parameter, SettingOption) else None
                sections.setdefault(f"Settings: {setting.section}" if setting else "Options", []).append(record)
        for title, records in sections.items():
            with formatter.section(title):
                formatter.write_dl(records)
            if title == "Options":
                super().format_epilog(ctx, formatter)

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002 - click's signature
        """Says where settings come from."""
        with formatter.section("Where settings come from"):
            formatter.write_text(
                "Strongest first: flags, the environment, the YAML file, defaults. The environment name of "
                "--window-seconds is WORKER_WINDOW__SECONDS; in the file it is the key 'seconds' under 'window'. "
                "Lists are comma-separated or JSON. The API token has no flag, and passwords are refused in flags, "
                "because other users of the machine can read a command's flags: use the environment or a file."
            )


def settings_options(function: Callable[..., object]) -> Callable[..., object]:
    """Gives a command `--config` and a flag for every setting, and calls it with `loaded: Loaded`.

    Use it below `@click.command(cls=SettingsCommand)`. If the configuration cannot be used, the command exits with
    status 2 and the function is not called.
    """

    @functools.wraps(function)
    def with_settings(*args: object, **arguments: object) -> object:
        config = arguments.pop(_CONFIG)
        flags = {name.path: value for name in _FLAGGED if (value := arguments.pop(name.parameter)) is not None}
        loaded = _load(config if isinstance(config, Path) else None, flags)
        return function(*args, loaded=loaded, **arguments)

    decorated: Callable[..., object] = with_settings
    # click shows options in the order of the decorators in the source, and Python applies the last one first.
    for name in reversed(_FLAGGED):
        decorated = _option(name)(decorated)
    config = click.Path(path_type=Path)
    text = f"YAML file with settings; {FILE_VARIABLE} names one too."
    return click.option("--config", _CONFIG, type=config, help=text)(decorated)


def _option(name: Name) -> Callable[[Callable[..., object]], Callable[..., object]]:
    text = (name.info.description or "").replace("`", "")
    if name.info.annotation is bool:
        pair = f"{name.flag}/--no-{name.flag.removeprefix('--')}"
        return click.option(pair, name.parameter, cls=SettingOption, setting=name, default=None, help=text)
    text += f" [{shown}]" if (shown := _default(name)) else ""
    metavar = _metavar(name)
    return click.option(name.flag, name.parameter, cls=SettingOption, setting=name, metavar=metavar, help=text)


def _load(config: Path | None, flags: dict[str, object]) -> Loaded:
    try:
        return load(config, flags, os.environ)
    except ConfigurationError as error:
        raise InvalidConfiguration(error) from None


_FLAGGED = [name for name in NAMES.values() if not name.secret]


def _metavar(name: Name) -> str:
    annotation = name.info.annotation
    if get_origin(annotation) is Literal:
        return "|".join(get_args(annotation))
    if get_origin(annotation) is Mapping:
        return "JSON"
    if get_origin(annotation) is tuple:
        return "LIST"
    if annotation in {int, float}:
        return next((word for ending, word in _METAVARS.items() if f"_{name.field}".endswith(ending)), "NUMBER")
    return "PATH" if Path in get_args(annotation) else "TEXT"


def _default(name: Name) -> str:
    """The default for the help, or "" if it is long: `attribute-worker config` shows that one."""
    if name.info.is_required():
        return "required"
    text = default_text(name)
    return f"default: {text}" if text and len(text) <= _DEFAULT_LENGTH_MAX else ""
