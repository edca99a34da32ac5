"""`attribute-worker sandbox`: a local stand-in for Attentive's API."""

from __future__ import annotations

import ipaddress
import json
import logging
import signal
import sys
import threading
from pathlib import Path

import click
import yaml

from worker.sandbox.enumerations import EnumerationError, read_enumerations
from worker.sandbox.faults import Fault, FaultError, read_faults
from worker.sandbox.service import DEFAULT_LIMIT, Errors, Key, Settings

_EPILOG = """\b
Examples:
  attribute-worker sandbox --port 8090 --token secret
  attribute-worker sandbox --port 0 --token secret --faults outage.yaml --record

\b
A call:
  curl -H 'Authorization: Bearer secret' -H 'Content-Type: application/json' \\
    -d '{"user": {"phone": "+13115552368"}, "properties": {"Age": "24"}}' \\
    http://127.0.0.1:8090/v1/attributes/custom

\b
What it adds to Attentive's paths (no token needed, so keep it on a loopback address):
  GET  /_sandbox/users         the present state, one JSON object per line
  GET  /_sandbox/stats         counts: requests, by_status, per_second, overlaps, ...
  GET  /_sandbox/requests      with --record: the requests received, above ?since=NUMBER
  GET  /_sandbox/faults        how often each fault was used
  POST /_sandbox/faults        replaces the faults by a list
  POST /_sandbox/tokens        replaces the valid tokens by a list
  POST /_sandbox/reset         restores the state after the start

\b
A fault (the first that matches a request counts; only authorised requests within the limit meet faults):
  match    method, path, user (any identifier), attribute, every: N,
           probability with seed; without match: every request
  status   answers with it, and with body and headers if given. Applies the change
           for a 2xx, but not for another status; apply: true or false overrides
           that (a 500 with apply: true is a change whose answer got lost)
  delay    seconds before the answer; applies the change at once
  drop     true or before: closes the connection, nothing applied;
           after: applied, but not answered
  drip     bytes per second at which the answer comes, including its head
  times    how often; seconds: how long; after: seconds until it begins.
           These times count from the start, or from the POST of the faults
"""


@click.command(epilog=_EPILOG)
@click.option("--port", type=click.IntRange(0, 65535), required=True, help="Port to listen on; 0 picks a free one.")
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option("--token", "tokens", multiple=True, required=True, help="A valid bearer token; may be repeated.")
@click.option(
    "--limit",
    type=click.IntRange(min=0),
    default=DEFAULT_LIMIT,
    show_default=True,
    help="Requests per second for each token and endpoint; 0: no limit, and no rate limit headers.",
)
@click.option("--faults", "faults_file", type=click.Path(path_type=Path), help="Faults, as YAML or JSON (see below).")
@click.option(
    "--enumerations",
    "enumerations_file",
    type=click.Path(path_type=Path),
    help="Attributes with fixed values, as YAML or JSON: a mapping of names to lists.",
)
@click.option(
    "--errors",
    type=click.Choice([mode.value for mode in Errors]),
    default=Errors.NAMED.value,
    show_default=True,
    help="What the body of a 400 says: the attribute, its value too, nothing useful, or no body at all.",
)
@click.option(
    "--no-reads", is_flag=True, help="Refuse GET /v1/attributes/custom with 401, as if reading were not configured."
)
@click.option(
    "--read-key",
    type=click.Choice([key.value for key in Key]),
    default=Key.NAME.value,
    show_default=True,
    help="What GET /v1/attributes/custom calls an attribute's name: Attentive documents both.",
)
@click.option("--record", is_flag=True, help="Keep the latest requests for GET /_sandbox/requests.")
@click.option("--log-requests", is_flag=True, help="Log a line for each request, without identifiers or values.")
def sandbox(  # noqa: PLR0913 - one parameter for each option
    *,
    port: int,
    host: str,
    tokens: tuple[str, ...],
    limit: int,
    faults_file: Path | None,
    enumerations_file: Path | None,
    errors: str,
    no_reads: bool,
    read_key: str,
    record: bool,
    log_requests: bool,
) -> None:
    """A local stand-in for Attentive's Custom Attributes API.

    Serves POST and GET /v1/attributes/custom and GET /v1/me, until SIGTERM or SIGINT. When it is ready, it prints its
    base URL as the only line on stdout; everything else goes to stderr. It keeps all state in memory.
    """
    settings = Settings(
        tokens=tokens,
        limit=limit,
        errors=Errors(errors),
        enumerations=_read_enumerations(enumerations_file),
        faults=_read_faults(faults_file),
        reads=not no_reads,
        read_key=Key(read_key),
        record=record,
    )
    _serve(settings, host=host, port=port, log_requests=log_requests)


def _serve(settings: Settings, *, host: str, port: int, log_requests: bool) -> None:
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda _number, _frame: stop.set())
    from worker.sandbox.server import Sandbox  # noqa: PLC0415 - needs the extra (`worker.cli` says so if it is missing), but `--help` must not

    if log_requests:
        logging.basicConfig(stream=sys.stderr, format="%(asctime)s %(message)s")
        logging.getLogger("worker.sandbox").setLevel(logging.INFO)
    try:
        served = Sandbox(settings, host=host, port=port, log_requests=log_requests)
    except OSError as error:
        message = f"cannot listen on {host} port {port}: {error.strerror}; choose another --port, or 0"
        raise click.ClickException(message) from None
    if not _is_loopback(host):
        click.echo(
            f"sandbox: warning: {host} is no loopback address, and the paths under /_sandbox ask for no token: whoever "
            "reaches this port can read its users, and replace its faults and tokens",
            err=True,
        )
    with served:
        limit = f"{settings.limit} requests per second" if settings.limit else "none"
        click.echo(f"sandbox: serving on {served.url}, limit: {limit}", err=True)
        click.echo(served.url)
        stop.wait()


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _read_file(option: str, path: Path) -> object:
    try:
        # PyYAML does not accept every JSON text.
        text = path.read_text(encoding="utf-8")
        return json.loads(text) if path.suffix == ".json" else yaml.safe_load(text)
    except OSError as error:
        raise click.UsageError(f"{option}: cannot read {path}: {error.strerror}") from None
    except (ValueError, yaml.YAMLError) as error:
        raise click.UsageError(f"{option}: {path} is neither YAML nor JSON: {error}") from None


def _read_faults(path: Path | None) -> tuple[Fault, ...]:
    if path is None:
        return ()
    try:
        return tuple(read_faults(_read_file("--faults", path)))
    except FaultError as error:
        raise click.UsageError(f"--faults: {path}: {error}") from None


def _read_enumerations(path: Path | None) -> dict[str, tuple[str, ...]]:
    if path is None:
        return {}
    try:
        return read_enumerations(_read_file("--enumerations", path))
    except EnumerationError as error:
        raise click.UsageError(f"--enumerations: {path}: {error}") from None
