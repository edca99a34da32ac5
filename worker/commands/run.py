"""`attribute-worker run`: the long-running worker, until SIGTERM or SIGINT."""

from __future__ import annotations

import sys

import click
import structlog
from structlog.typing import FilteringBoundLogger

from worker import logs
from worker.attentive.senders import SendersStoppedError
from worker.commands.fatal import Fatal
from worker.commands.job import UNFINISHED_EXIT, UNUSABLE_EXIT
from worker.commands.stop import Stop
from worker.kafka.connection import PropertiesRefused
from worker.kafka.member import SourceFailed
from worker.live.startup import DeadLetterTopicUnusable
from worker.ops.exporters import ExporterUnusable
from worker.ops.server import AddressUnavailableError
from worker.registry.stopped import SchemasStopped
from worker.settings.flags import SettingsCommand, settings_options
from worker.settings.load import Loaded
from worker.wiring import parts
from worker.wiring.parts import Unusable
from worker.wiring.worker import worker


@click.command(
    cls=SettingsCommand,
    epilog="""\b
Examples:
  attribute-worker run --config worker.yaml
  WORKER_KAFKA__BOOTSTRAP_SERVERS=broker:9092 WORKER_SCHEMAS__REGISTRY_URL=http://registry:8081 \\
  WORKER_ATTENTIVE__TOKEN_FILE=/run/secrets/attentive attribute-worker run""",
)
@settings_options
def command(loaded: Loaded) -> None:
    """Run the worker, until SIGTERM or SIGINT.

    It reads the topic, coalesces each user's changes within the window, makes one call per user, and commits an offset
    only when everything before it is delivered or an acknowledged dead letter. On SIGTERM it flushes and drains within
    WORKER_SHUTDOWN__DRAIN_SECONDS. Exit status 1 means that something was left for the next start.
    """
    settings = loaded.settings
    identity = parts.identity(settings)
    logs.configure(settings.log.level, settings.log.format, identity.instance)
    log: FilteringBoundLogger = structlog.get_logger("worker")
    stop = Stop()
    try:
        finished = worker(settings, identity, log).run(lambda: stop.requested)
    except (Unusable, PropertiesRefused, ExporterUnusable, AddressUnavailableError, DeadLetterTopicUnusable) as error:
        raise Fatal(str(error), UNUSABLE_EXIT, settings) from None
    except (SourceFailed, SendersStoppedError, SchemasStopped) as error:
        log.error("stopped", error=str(error))  # noqa: TRY400 - the message says where; a traceback may hold values
        sys.exit(UNFINISHED_EXIT)
    sys.exit(0 if finished else UNFINISHED_EXIT)
