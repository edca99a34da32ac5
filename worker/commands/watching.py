"""The option of every job that may take long: a port to watch it by."""

from __future__ import annotations

from typing import Final

import click

from worker.ops.exporters import ExporterUnusable
from worker.ops.server import AddressUnavailableError

UNWATCHABLE: Final = (ExporterUnusable, AddressUnavailableError)
"""It cannot be watched as asked for: bad usage."""

metrics_port_option: Final = click.option(
    "--metrics-port",
    type=click.IntRange(0, 65_535),
    metavar="N",
    help="Serve /metrics and /livez on this port while it runs; 0 picks a free one, and logs it. Default: no port.",
)
