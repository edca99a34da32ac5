"""The `attribute-worker` program: its commands, and its exit status.

Exit status: 0 done; 1 the job could not be finished; 2 bad usage or configuration. Data goes to stdout, everything else
to stderr.
"""

from __future__ import annotations

import difflib
import importlib
import io
import os
import signal
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any, Final, NoReturn, TextIO

import click
from click.shell_completion import CompletionItem

import worker

_PROGRAM: Final = "attribute-worker"

SERVING: Final = "Serving"
LOOKING: Final = "Looking (changes nothing)"
MENDING: Final = "Mending"
_GROUPS: Final = (SERVING, LOOKING, MENDING)


@dataclass(frozen=True, slots=True)
class Entry:
    """A command. It is imported only when it is used: `--help` needs no broker client."""

    module: str
    attribute: str
    group: str
    summary: str


_COMMANDS: Final[Mapping[str, Entry]] = {
    "run": Entry("worker.commands.run", "command", SERVING, "Run the worker, until SIGTERM or SIGINT."),
    "sandbox": Entry(
        "worker.commands.sandbox", "sandbox", SERVING, "Serve a local stand-in of the Custom Attributes API."
    ),
    "demo": Entry("worker.commands.demo", "command", LOOKING, "See it work, with no infrastructure."),
    "replay": Entry("worker.commands.replay", "command", MENDING, "Send again what a range of the topic says."),
    "plan": Entry("worker.commands.plan", "command", LOOKING, "Tell what windows would cost on this topic."),
    "check": Entry("worker.commands.check", "command", LOOKING, "Prove a configuration before a deploy."),
    "verify": Entry(
        "worker.commands.verify",
        "command",
        LOOKING,
        "Compare the topic with what the destination holds; only --repair sends.",
    ),
    "explain": Entry("worker.commands.explain", "command", LOOKING, "Say what became of one record."),
    "config": Entry(
        "worker.commands.config", "command", LOOKING, "Show the effective settings and where each came from."
    ),
    "rewind": Entry("worker.commands.rewind", "command", MENDING, "Move the group's offsets while it is stopped."),
    "dead-letters": Entry(
        "worker.commands.dead_letters", "group", MENDING, "List, show, send again (redrive) and dismiss dead letters."
    ),
}

# The modules that each optional extra installs.
_EXTRAS: Final[Mapping[str, tuple[str, ...]]] = {
    "sandbox": ("starlette", "uvicorn", "httptools"),
    "demo": ("rich",),
    "plot": ("matplotlib",),
}


class MissingExtra(click.ClickException):
    """A command needs an extra that is not installed."""

    exit_code = 2

    def __init__(self, extra: str, missing: str) -> None:
        super().__init__(
            f"{missing} is not installed. This command needs the extra '{extra}': "
            f"in the folder that the worker was installed from, run pip install '.[{extra}]'"
        )


class LazyGroup(click.Group):
    """Lists all commands without importing any, and imports one when it is used."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        """The names, in the order in which a newcomer needs them."""
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002 - click's signature
        """Imports the command. None for an unknown name."""
        entry = _COMMANDS.get(cmd_name)
        if entry is None:
            return None
        try:
            module = importlib.import_module(entry.module)
        except ModuleNotFoundError as error:
            _raise_missing_extra(error, cmd_name)
        command: click.Command = getattr(module, entry.attribute)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Suggests the nearest command for an unknown name."""
        given = args[0]
        if given not in _COMMANDS and not given.startswith("-"):
            near = difflib.get_close_matches(given, _COMMANDS, n=1, cutoff=0.5)
            hint = f"Did you mean '{near[0]}'?" if near else f"Commands: {', '.join(_COMMANDS)}."
            raise click.UsageError(f"There is no command '{given}'. {hint}", ctx)
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002 - click's signature
        """Writes the list of commands, by what one wants, without importing them."""
        for group in _GROUPS:
            listed = [(name, entry.summary) for name, entry in _COMMANDS.items() if entry.group == group]
            if listed:
                with formatter.section(group):
                    formatter.write_dl(listed)

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        """Completes a command's name without importing any."""
        names = [name for name in _COMMANDS if name.startswith(incomplete)]
        found = [CompletionItem(name, help=_COMMANDS[name].summary) for name in names]
        return [*found, *click.Command.shell_complete(self, ctx, incomplete)]

    def invoke(self, ctx: click.Context) -> Any:  # noqa: ANN401 - click's signature
        """Runs the command. A missing extra may show only now; the message is the same.

        An error is told as a line of the log, where that is JSON.
        """
        try:
            try:
                return super().invoke(ctx)
            except ModuleNotFoundError as error:
                _raise_missing_extra(error, ctx.invoked_subcommand or "")
        except click.ClickException as error:
            importlib.import_module("worker.commands.fatal").tell(error, ctx.invoked_subcommand)
            raise


def _raise_missing_extra(error: ModuleNotFoundError, command: str) -> NoReturn:
    """Raises MissingExtra if an extra would install the module. Else raises the error itself: it is a defect."""
    root = (error.name or "").partition(".")[0]
    extra = next((extra for extra, modules in _EXTRAS.items() if root in modules), None)
    if extra is None:
        raise error
    raise MissingExtra(command if command in _EXTRAS else extra, root) from None


@click.group(
    cls=LazyGroup,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="""\b
Examples:
  attribute-worker demo                   see it work, no Kafka needed
  attribute-worker config                 what is set, and where it came from
  attribute-worker check                  prove the configuration
  attribute-worker run                    run the worker""",
)
@click.version_option(worker.__version__, prog_name=_PROGRAM)
@click.pass_context
def group(ctx: click.Context) -> None:
    """Reads a Kafka topic of profile changes, and sets users' custom attributes in Attentive with few calls.

    Exit status: 0 done; 1 the job could not be finished; 2 bad usage or configuration.
    """
    if os.environ.get("NO_COLOR"):
        ctx.color = False


def _abort(_: int, __: FrameType | None) -> NoReturn:
    raise SystemExit("Aborted!")  # Python prints it to stderr, and exits with 1


def _nowhere() -> TextIO:
    return Path(os.devnull).open("w", encoding="utf-8")


def main() -> None:
    """Runs the command line, then exits."""
    # Until a command brings handlers of its own. Without any, the first process of a container would never notice
    # SIGTERM; and Python's own for SIGINT ends with 130 instead of 1 if the signal comes while a module is imported.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, _abort)
    # OpenTelemetry reads this one while it is imported, and prints a traceback at a name that it does not know. The
    # worker needs the context that it has without it.
    os.environ.pop("OTEL_PYTHON_CONTEXT", None)
    # Python has None for a stream that was closed before it started, as by `>&-`.
    sys.stdout, sys.stderr = sys.stdout or _nowhere(), sys.stderr or _nowhere()
    if isinstance(sys.stdout, io.TextIOWrapper):
        # A terminal that cannot show a character is no reason for a traceback.
        sys.stdout.reconfigure(errors="backslashreplace")
    try:
        try:
            group.main(prog_name=_PROGRAM)
        finally:
            sys.stdout.flush()
    except OSError as failure:  # most likely a full disk: click handles a closed pipe
        click.echo(f"Error: the output cannot be written: {failure.strerror}", err=True)
        os._exit(1)  # at once, because flushing the rest would fail again
