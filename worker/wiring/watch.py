"""Makes a job's progress visible while it runs: on `/metrics`, and wherever OTEL_METRICS_EXPORTER says."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import partial

from structlog.typing import FilteringBoundLogger

from worker.core.model import WorkerIdentity
from worker.jobs.ticker import Stages, Ticker
from worker.ops import exporters
from worker.ops.job_board import JobBoard
from worker.ops.job_telemetry import JobAnswers, JobTelemetry
from worker.ops.server import OpsServer
from worker.settings.model import Settings


def stages(board: JobBoard) -> Stages:
    """Stages that the board shows, too."""
    return partial(Ticker, note=board.advance)


@contextmanager
def watched(
    settings: Settings, who: WorkerIdentity, board: JobBoard, port: int | None, log: FilteringBoundLogger
) -> Iterator[JobBoard]:
    """Shows the board until the end of the block. `port`: where to serve it; None: nowhere.

    Raises:
        ExporterUnusable: The environment names an exporter that the worker does not have.
        AddressUnavailableError: The port is taken.
    """
    exported = exporters.named(version=who.version, instance=who.instance)
    with ExitStack() as stack:
        if port is not None or exported.readers:
            telemetry = JobTelemetry(board, version=who.version, instance=who.instance, readers=exported.readers)
            stack.callback(telemetry.close)
            if port is not None:
                _serve(settings.http.host, port, telemetry, stack, log, who.version)
        stack.callback(board.stop)
        yield board


def _serve(
    host: str, port: int, telemetry: JobTelemetry, stack: ExitStack, log: FilteringBoundLogger, version: str
) -> None:
    server = OpsServer(host, port, answers=JobAnswers(telemetry.registry), port_option="--metrics-port")
    bound_host, bound_port = server.start()
    stack.callback(server.close)
    log.info("serving", host=bound_host, port=bound_port, version=version)
