"""How every bounded command begins and ends: its log, its stop, and the exit status of what may go wrong."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

import click
import structlog
from structlog.typing import FilteringBoundLogger

from worker import collector, logs
from worker.attentive.senders import SendersStoppedError
from worker.commands.fatal import Fatal
from worker.commands.stop import Stop
from worker.jobs.unfinished import Unfinished
from worker.jobs.when import Unreadable
from worker.kafka.committed import GroupUnavailable
from worker.kafka.connection import PropertiesRefused
from worker.kafka.range import RangeFailed
from worker.kafka.topics import TopicRefused, TopicsUnavailable
from worker.ops.exporters import ExporterUnusable
from worker.ops.server import AddressUnavailableError
from worker.settings.model import Settings
from worker.wiring import parts
from worker.wiring.parts import Unusable

UNFINISHED_EXIT: Final = 1
UNUSABLE_EXIT: Final = 2

metrics_port_option: Final = click.option(
    "--metrics-port",
    type=click.IntRange(0, 65_535),
    metavar="N",
    help="Serve /metrics and /livez on this port while it runs; 0 picks a free one, and logs it. Default: no port.",
)
"""Where a job that may take long can be watched."""


@dataclass(frozen=True, slots=True)
class Job:
    """What a bounded command has from its start: a log, and whether a signal has asked for a stop."""

    log: FilteringBoundLogger
    stop: Stop

    def stopped(self) -> bool:
        """Whether a stop was requested."""
        return self.stop.requested


@contextmanager
def job(settings: Settings, name: str, *, advice: str = "") -> Iterator[Job]:
    """Begins the command of this name. What goes wrong in it ends the program with a message on stderr.

    Exit status 1 is for what may go well another time; there `advice` follows the message. 2 is for what was typed or
    configured.
    """
    logs.configure(settings.log.level, settings.log.format, parts.identity(settings).instance)
    collector.settle()
    try:
        yield Job(structlog.get_logger(f"worker.{name}"), Stop())
    except (Unreadable, Unusable, PropertiesRefused, TopicRefused, ExporterUnusable, AddressUnavailableError) as error:
        raise Fatal(str(error), UNUSABLE_EXIT, settings) from None
    except (
        Unfinished,
        GroupUnavailable,
        RangeFailed,
        SendersStoppedError,
        TimeoutError,
        TopicsUnavailable,
    ) as error:
        raise Fatal(f"{error}{advice}", UNFINISHED_EXIT, settings) from None
