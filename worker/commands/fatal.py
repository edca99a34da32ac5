"""Why a command ends, told in the form of its log: one line where that is JSON, else a sentence for people."""

from __future__ import annotations

import os
import sys

import click
import structlog

from worker import logs
from worker.settings.flags import InvalidConfiguration
from worker.settings.model import Settings
from worker.settings.names import NAMES

_FORMAT = NAMES["log.format"]


class Fatal(click.ClickException):
    """A command cannot begin, or cannot go on. Its exit status says which."""

    def __init__(self, message: str, exit_status: int, settings: Settings) -> None:
        super().__init__(message)
        self.exit_code = exit_status  # type: ignore[misc]  # click declares it for the class, and reads it here
        self.log_format: str = settings.log.format


def tell(error: click.ClickException, command: str | None) -> None:
    """Logs the error as JSON and exits with its status, if that is the form of this command's log. Else does nothing.

    What stderr holds is `run`'s log. Of the others it is what people read, unless JSON is wanted by its name.
    """
    form = _log_format(error)
    if form == "json" or (form == "auto" and command == "run" and not sys.stderr.isatty()):
        logs.configure("error", "json", logs.instance_name())
        structlog.get_logger("worker").error("stopped", error=error.format_message())
        raise click.exceptions.Exit(error.exit_code)


def _log_format(error: click.ClickException) -> str:
    if isinstance(error, Fatal):
        return error.log_format
    if isinstance(error, InvalidConfiguration) and error.loaded is not None:
        return error.loaded.settings.log.format
    return os.environ.get(_FORMAT.variable, "auto")  # the arguments or the file could not be read
