"""`attribute-worker check`: proves a configuration before a deploy."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict

import click
import structlog

from worker import logs
from worker.commands.check.account import check_account
from worker.commands.check.finding import Finding, Level
from worker.commands.check.kafka import check_kafka
from worker.commands.check.records import check_records
from worker.commands.check.schemas import check_schemas
from worker.settings.flags import SettingsCommand, settings_options
from worker.settings.load import DEFAULT, Loaded
from worker.wiring import parts
from worker.wiring.parts import Unusable

FAILED_EXIT = 1
_COLOURS = {Level.OK: "green", Level.WARN: "yellow", Level.FAIL: "red"}
_CHECK_WIDTH = 14


@click.command(
    cls=SettingsCommand,
    epilog="""\b
Examples:
  attribute-worker check --config worker.yaml
  attribute-worker check --json | jq 'select(.level != "ok")'""",
)
@settings_options
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object a line: level, check, what, mend.")
@click.option(
    "--records",
    type=click.IntRange(0, 10_000),
    metavar="N",
    default=100,
    show_default=True,
    help="Rehearse with the newest N records of each topic; 0 reads none.",
)
def command(loaded: Loaded, *, as_json: bool, records: int) -> None:
    """Prove a configuration before a deploy.

    Asks the brokers, the schema registry and Attentive for everything that `run` needs from them, and looks for
    settings of brokers and topics that would lose something on a bad day. Runs the newest records through decode,
    mapping and rules, and tells what they would become, without a value and without an identifier. Writes, registers
    and creates nothing, makes no call for a user, and commits nothing. Prints a line or more for each check, with `ok`,
    `warn` or `fail`. Makes every check, even if one fails.

    Exit status: 0 no check failed; 1 a check failed; 2 the configuration itself is wrong.
    """
    settings = loaded.settings
    # The checks say in words what the clients would log.
    logs.configure("error", settings.log.format, parts.identity(settings).instance)
    checks: dict[str, Callable[[], Iterator[Finding]]] = {
        "settings": lambda: _check_settings(loaded),
        "brokers": lambda: check_kafka(settings, structlog.get_logger("worker")),
        "schemas": lambda: check_schemas(settings),
        "records": lambda: check_records(settings, records, structlog.get_logger("worker")),
        "token": lambda: check_account(settings),
    }
    failed = False
    for name, check in checks.items():
        for finding in _found(name, check):
            failed |= finding.level is Level.FAIL
            click.echo(json.dumps(asdict(finding), ensure_ascii=False) if as_json else _line(finding))
    sys.exit(FAILED_EXIT if failed else 0)


def _found(name: str, check: Callable[[], Iterator[Finding]]) -> Iterator[Finding]:
    """The check's findings. If the check itself fails, that is one more finding, and the other checks go on."""
    try:
        yield from check()
    except Exception as error:  # noqa: BLE001 - whatever it is, the other checks must still be made
        structlog.get_logger("worker").error("check ended early", check=name, exc_info=error)
        yield Finding.fail(name, f"the check itself failed with {type(error).__name__}", "see the log line on stderr")


def _check_settings(loaded: Loaded) -> Iterator[Finding]:
    settings = loaded.settings
    try:
        parts.preflight(settings)
    except Unusable as error:
        yield Finding.fail("settings", str(error))
        return
    given = sum(source != DEFAULT for source in loaded.sources.values())
    yield Finding.ok("settings", f"{given} set, the others have their defaults; `attribute-worker config` shows them")


def _line(finding: Finding) -> str:
    word = click.style(f"{finding.level:<5}", fg=_COLOURS[finding.level])
    mend = f"; {finding.mend}" if finding.mend else ""
    return f"{word} {finding.check:<{_CHECK_WIDTH}} {finding.what}{mend}"
