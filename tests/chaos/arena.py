"""One chaos run: three real brokers, real workers, a destination, and a plan of faults."""

from __future__ import annotations

import heapq
import itertools
import json
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal

from confluent_kafka import KafkaException

from tests.chaos.cast import cast_of
from tests.chaos.commits import read_commits
from tests.chaos.destination import Destination
from tests.chaos.faults import Faults
from tests.chaos.fleet import Fleet
from tests.chaos.judge import Findings, judge
from tests.chaos.letters import read_letters
from tests.chaos.plan import SLOT_COUNT, SLOTS, Fault
from tests.chaos.traffic import Made, Traffic, endless, read_log
from tests.chaos.wires import Wires
from tests.support import topics
from tests.support.cluster import Cluster
from tests.support.processes import until
from tests.support.profiles import schema_directory

TOPIC = "chaos"
DEAD_LETTERS = "chaos.dead-letter"
GROUP = "chaos"
SESSION_MS = 6000  # short, so that a killed or frozen worker's partitions soon move to another worker
LEASE_OF_SESSION = 0.75
PARTITIONS = 8
TICK_SECONDS = 0.02
DRAIN_SECONDS = 4.0  # shorter than the lease, as by default; poison users make a drain last as long
STOP_SECONDS = 60.0

Protocol = Literal["classic", "consumer"]


@dataclass(frozen=True, slots=True)
class Setup:
    """What a run consists of.

    Attributes:
        seconds: how long changes are produced and faults begin.
        settle_seconds: after the last fault, everything must be delivered and committed within this.
        session_ms: on a machine short of CPU a short session ends without a fault, so runs without kills and freezes
            should take a long one.
        poison: whether some users' calls always fail.
    """

    seed: int
    seconds: float
    protocol: Protocol = "classic"
    users: int = 400
    per_second: float = 120.0
    window_seconds: float = 1.0
    settle_seconds: float = 180.0
    session_ms: int = SESSION_MS
    poison: bool = False


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of a run.

    Attributes:
        faults: how often each kind was injected.
        bad: how many values were bad.
        poison: how many users were poison, always or at times.
        letters: how many dead letters there are, by their reason.
        settled_seconds: from the last fault until everything was committed; None if that took too long.
        lives: how many worker processes there were.
        stopped: how many workers drained after a SIGTERM.
        cut: workers that a SIGTERM ended with work left.
        ended: workers that ended without being asked.
        unauthorized: how many requests were answered 401.
    """

    setup: Setup
    faults: Mapping[str, int]
    findings: Findings
    events: int
    bad: int
    poison: int
    letters: Mapping[str, int]
    commits: int
    settled_seconds: float | None
    lives: int
    stopped: int
    cut: Sequence[str]
    ended: Sequence[str]
    unauthorized: int

    @property
    def problems(self) -> list[str]:
        """The promises that did not hold; empty where all did."""
        found = list(self.findings.broken)
        if self.settled_seconds is None:
            found.append(f"not all committed {self.setup.settle_seconds:g} s after the last fault")
        return [*found, *(f"a worker ended by itself: {who}" for who in self.ended)]


class Arena:
    """All processes of one run. Call `start` and `run` once, and `close` in any case.

    The thread that calls `start` must outlive the run: the kernel ends the brokers with the thread that started them.
    """

    def __init__(self, setup: Setup, directory: Path, say: Callable[[str], None]) -> None:
        """Prepares the run; starts no broker and no worker yet.

        Raises:
            Unavailable: this machine has no Java or no Kafka.
        """
        self._setup = setup
        self._say = say
        self._agenda: list[tuple[float, int, Callable[[], None]]] = []
        self._order = itertools.count()
        self._begun = 0.0
        self._schemas = schema_directory(directory / "schemas")
        self.cluster = Cluster(directory / "kafka", tuple(f"SLOT{slot}" for slot in range(SLOT_COUNT)))
        self._cast = cast_of(setup.seed, setup.users, poison=setup.poison)
        destination = Destination(setup.seed, self._cast)
        self.wires = Wires(destination)
        self.fleet = Fleet(directory / "workers", self._environment)
        self._faults = Faults(self.cluster, self.wires, self.fleet, self._later)

    def start(self) -> None:
        """Starts the brokers and the workers, and waits until each worker has partitions."""
        advertised = {}
        for slot, node in itertools.product(range(SLOT_COUNT), self.cluster.nodes):
            link = self.wires.brokers[slot][node.number - 1]
            link.lead_to(node.address(f"SLOT{slot}"))
            advertised[node.number, f"SLOT{slot}"] = f"127.0.0.1:{link.port}"
        self.cluster.start(advertised)
        for topic in (TOPIC, DEAD_LETTERS):
            until(partial(self._created, topic), 60, f"topic {topic}")
        for slot in range(SLOTS):
            self.fleet.start(slot)
        until(self._assigned, 90, "every worker has partitions", pause=0.3)

    def run(self, plan: Sequence[Fault]) -> Outcome:
        """Runs the plan under traffic, waits until all faults are over and all is committed, and judges."""
        setup = self._setup
        traffic = Traffic(self.cluster.bootstrap_servers, TOPIC, endless(setup.seed, self._cast), setup.per_second)
        self._begun = time.monotonic()
        for fault in plan:
            self._put(fault.at, partial(self._inject, fault))
        while self._elapsed() < setup.seconds or self._agenda or self.fleet.rolling:
            assert self._elapsed() < setup.seconds + setup.settle_seconds, "a fault of the plan does not end"
            self._turn()
            traffic.turn(min(self._elapsed(), setup.seconds))
        self._say(f"{self._elapsed():6.1f} s  healed")
        traffic.finish()
        self.wires.call(self.wires.destination.heal)
        settled = self._settle()
        self._say(f"{self._elapsed():6.1f} s  settled")
        self.fleet.stop_all(STOP_SECONDS)
        return self._judge(traffic.made, settled)

    def close(self) -> None:
        self.fleet.kill_all()
        self.wires.close()
        self.cluster.stop()

    def _turn(self) -> None:
        while self._agenda and self._agenda[0][0] <= self._elapsed():
            heapq.heappop(self._agenda)[2]()
        self.fleet.turn()
        time.sleep(TICK_SECONDS)

    def _inject(self, fault: Fault) -> None:
        self._say(str(fault))
        self._faults.inject(fault)

    def _later(self, seconds: float, act: Callable[[], None]) -> None:
        self._put(self._elapsed() + seconds, act)

    def _put(self, at: float, act: Callable[[], None]) -> None:
        heapq.heappush(self._agenda, (at, next(self._order), act))

    def _elapsed(self) -> float:
        return time.monotonic() - self._begun

    def _settle(self) -> float | None:
        """Waits until everything is committed. Returns the seconds it took, or None if that was too long."""
        healed = time.monotonic()
        while (spent := time.monotonic() - healed) < self._setup.settle_seconds:
            looked = time.monotonic()
            try:
                if topics.all_committed(self.cluster.bootstrap_servers, GROUP, TOPIC):
                    return spent
            except KafkaException:
                pass  # a broker is on its way back
            while time.monotonic() < looked + 1.0:
                self._turn()
        return None

    def _judge(self, made: Sequence[Made], settled: float | None) -> Outcome:
        servers = self.cluster.bootstrap_servers
        destination = self.wires.destination
        self.fleet.read_logs()
        log, letters = read_log(servers, TOPIC, made), read_letters(servers, DEAD_LETTERS)
        commits = read_commits(servers, GROUP, TOPIC)
        findings = judge(
            destination.exchanges,
            log,
            destination.state,
            self.fleet.lives,
            letters,
            commits,
            self._cast,
            self._setup.window_seconds,
        )
        return Outcome(
            setup=self._setup,
            faults=dict(sorted(self._faults.injected.items())),
            findings=findings,
            events=len(log),
            bad=sum(len(change.bad) for change in log),
            poison=self._cast.poison,
            letters=dict(sorted(Counter(letter.reason for letter in letters).items())),
            commits=len(commits),
            settled_seconds=settled,
            lives=len(self.fleet.lives),
            stopped=len(self.fleet.stopped),
            cut=list(self.fleet.cut),
            ended=list(self.fleet.ended),
            unauthorized=destination.unauthorized,
        )

    def _created(self, topic: str) -> bool:
        """Creates the topic; whether it exists now. A cluster that has just formed may still lack brokers for it."""
        try:
            self.cluster.create_topic(topic, PARTITIONS)
        except KafkaException as failure:
            return bool(failure.args[0].name() == "TOPIC_ALREADY_EXISTS")
        return True

    def _assigned(self) -> bool:
        self.fleet.read_logs()
        return sum(bool(life.assigned_at) for life in self.fleet.lives.values()) >= SLOTS

    def _environment(self, slot: int) -> Mapping[str, str]:
        links = self.wires.brokers[slot]
        properties: dict[str, object] = {"reconnect.backoff.max.ms": 1000}
        if self._setup.protocol == "consumer":  # the brokers set the session time-out: tests/support/cluster.py
            properties["group.protocol"] = "consumer"
        else:
            properties |= {"session.timeout.ms": self._setup.session_ms, "heartbeat.interval.ms": 1000}
        return {
            "WORKER_KAFKA__BOOTSTRAP_SERVERS": ",".join(f"127.0.0.1:{link.port}" for link in links),
            "WORKER_KAFKA__TOPICS": TOPIC,
            "WORKER_KAFKA__DEAD_LETTER_TOPIC": DEAD_LETTERS,
            "WORKER_KAFKA__GROUP_ID": GROUP,
            "WORKER_KAFKA__PROPERTIES": json.dumps(properties),
            "WORKER_KAFKA__LEASE_SECONDS": str(self._setup.session_ms * LEASE_OF_SESSION / 1000),
            "WORKER_SCHEMAS__DIRECTORY": str(self._schemas),
            "WORKER_ATTENTIVE__BASE_URL": f"http://127.0.0.1:{self.wires.destinations[slot].port}/v1",
            "WORKER_ATTENTIVE__TIMEOUT_SECONDS": "4",
            "WORKER_ATTENTIVE__SERVER_ERROR_SECONDS": "20",
            "WORKER_ATTENTIVE__RETRY_MAX_SECONDS": "4",
            "WORKER_ATTENTIVE__PROBE_MAX_SECONDS": "3",
            "WORKER_SHUTDOWN__DRAIN_SECONDS": str(DRAIN_SECONDS),
            "WORKER_WINDOW__SECONDS": str(self._setup.window_seconds),
        }
