"""The worker as a contender: `attribute-worker run`, configured by environment variables."""

from __future__ import annotations

from datetime import datetime

from bench import cores
from bench.contenders import Bench, NotMeasured, Work
from bench.destination import Counted
from bench.loads import PARTITIONS
from tests.support.brokers import unique_name
from tests.support.processes import TOKEN, WorkerCommand
from tests.support.profiles import schema_directory

REQUESTS_PER_SECOND = 10_000  # the most that the settings accept, so that the rate is not the limit


class Worker:
    """`attribute-worker run`."""

    name = "worker"

    def start(self, bench: Bench, work: Work) -> RunningWorker:
        """As `Contender.start`."""
        return self.join(new_group(bench), bench, work)

    def join(self, group: str, bench: Bench, work: Work) -> RunningWorker:
        """Starts it in this group, which `new_group` has made."""
        with cores.measured():
            command = WorkerCommand(bench.directory / unique_name(group), environment(bench, work, group))
        return RunningWorker(command, work)


def new_group(bench: Bench) -> str:
    """Makes a name, and the dead-letter topic of a group of that name."""
    group = unique_name("worker")
    bench.broker.create_topic(f"{group}.dead-letter", PARTITIONS)
    return group


def environment(bench: Bench, work: Work, group: str) -> dict[str, str]:
    """The settings of a worker."""
    return {
        "WORKER_KAFKA__BOOTSTRAP_SERVERS": bench.broker.bootstrap_servers,
        "WORKER_KAFKA__TOPICS": work.topic,
        "WORKER_KAFKA__GROUP_ID": group,
        "WORKER_KAFKA__DEAD_LETTER_TOPIC": f"{group}.dead-letter",
        "WORKER_SCHEMAS__DIRECTORY": str(schema_directory(bench.directory / "schemas")),
        "WORKER_ATTENTIVE__BASE_URL": bench.destination.base_url,
        "WORKER_ATTENTIVE__TOKEN": TOKEN,
        "WORKER_ATTENTIVE__REQUESTS_PER_SECOND": str(REQUESTS_PER_SECOND),
        "WORKER_WINDOW__SECONDS": str(work.window_seconds),
        **work.settings,
    }


class RunningWorker:
    """The worker's process; all is known from its log and its status."""

    def __init__(self, command: WorkerCommand, work: Work) -> None:
        self.command = command
        self._work = work
        self.pid = command.process.pid

    @property
    def ended(self) -> bool:
        """Whether the process is gone."""
        return self.command.ended

    def assigned(self) -> float | None:
        """As `Running.assigned`."""
        gained = (line["timestamp"] for line in self.command.events("assigned") if line["gained"])
        return next((datetime.fromisoformat(each).timestamp() for each in gained), None)

    def finished(self) -> float | None:
        """When the last call was made is for the destination to say: that it has ended is seen some time later."""
        status = self.command.status()
        done = status["totals"]["records"] >= self._work.events and not status["open_entries"]
        return float("inf") if done else None

    def tail(self) -> str:
        """As `Running.tail`."""
        return self.command.log.read_text(errors="replace")[-2000:]

    def check(self) -> None:
        """As `Running.check`."""
        totals = self.command.status()["totals"]
        if totals["retries"] or any(totals["dead_letters"].values()):
            raise NotMeasured(f"something was refused or sent again, the worker says {totals}")

    def finish(self, called: Counted) -> None:
        """As `Running.finish`."""
        self.check()
        totals, events = self.command.status()["totals"], self._work.events
        odd = {
            "records": totals["records"] != events,
            "changes": totals["changes"] != events,
            "calls": totals["calls"] != called.calls,
        }
        if any(odd.values()):
            raise NotMeasured(f"of {events} events and {called.calls} calls seen, the worker says {totals}")
        if self.command.stop() != 0:
            raise NotMeasured(f"the worker did not stop in order: {self.tail()}")

    def kill(self) -> None:
        """As `Running.kill`."""
        self.command.kill()


WORKER = Worker()
