"""Begins each kind of fault, and ends it again."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from functools import partial

from confluent_kafka import ElectionType, KafkaException, TopicPartition

from tests.chaos.fleet import Fleet
from tests.chaos.link import Link
from tests.chaos.plan import BROKERS_LATER_SECONDS, NODES, SPARE, Fault, Kind
from tests.chaos.wires import Wires
from tests.support.cluster import Cluster, Node

BROKER_WAIT_SECONDS = 2.0
BROKER_WAITS_MAX = 15
STOP_SECONDS = 5.0  # a stopping broker needs less than this to hand its leaderships over


class Faults:
    """Injects faults. It calls `later(seconds, act)` to have `act` called after so many seconds."""

    def __init__(
        self, cluster: Cluster, wires: Wires, fleet: Fleet, later: Callable[[float, Callable[[], None]], None]
    ) -> None:
        self._cluster = cluster
        self._wires = wires
        self._fleet = fleet
        self._later = later
        self.injected: Counter[str] = Counter()

    def inject(self, fault: Fault, waited: int = 0) -> None:
        """Begins a fault, and plans its end. `waited`: how often a broker's fault was put off already."""
        kind = fault.kind.name
        if kind.startswith("BROKER_") and not self._whole():
            # With two brokers lost the cluster has no majority, and no worker could go on. So wait until all replicas
            # are in sync again.
            if waited < BROKER_WAITS_MAX:
                self._later(BROKER_WAIT_SECONDS, lambda: self.inject(fault, waited + 1))
            return
        self.injected[kind] += 1
        if kind.startswith("BROKER_"):
            self._broker(fault, self._cluster.nodes[fault.target or 0])
        elif kind.startswith("WORKER"):
            self._worker(fault, SPARE if fault.target is None else fault.target)
        elif fault.kind is Kind.ISOLATION:
            self._isolate(fault.target or 0, fault.seconds)
        elif kind.startswith("KAFKA_"):
            self._network(fault, self._wires.brokers[fault.target or 0])
        elif kind.startswith("DESTINATION_"):
            self._network(fault, [self._wires.destinations[fault.target or 0]])
        elif fault.kind is Kind.LEADERS_MOVE:
            self._move_leaders()
        else:
            self._weather(fault)

    def _worker(self, fault: Fault, slot: int) -> None:
        fleet = self._fleet
        match fault.kind:
            case Kind.WORKER_KILL:
                fleet.kill(slot, fault.seconds)
            case Kind.WORKER_FREEZE_SHORT | Kind.WORKER_FREEZE_LONG:
                fleet.freeze(slot)
                self._later(fault.seconds, partial(fleet.thaw, slot))
            case Kind.WORKER_STOP:
                fleet.stop(slot, restart=True)
            case Kind.WORKERS_ROLL:
                fleet.roll()
            case _:
                fleet.join(slot)
                self._later(fault.seconds, partial(fleet.stop, slot, restart=False))

    def _network(self, fault: Fault, links: list[Link]) -> None:
        manner = fault.kind.name.partition("_")[2]
        for link in links:
            if manner == "CUT":
                self._for(fault.seconds, partial(link.swallow, on=True), partial(link.swallow, on=False))
            elif manner == "REFUSE":
                self._for(fault.seconds, partial(link.refuse, on=True), partial(link.refuse, on=False))
            elif manner == "RESET":
                self._wires.call(link.reset)
            elif manner == "HALF_CLOSE":
                self._wires.call(link.half_close)
            else:
                self._for(fault.seconds, partial(link.slow_down, fault.amount), partial(link.slow_down, 0.0))

    def _isolate(self, slot: int, seconds: float) -> None:
        for link in self._wires.brokers[slot]:
            self._for(seconds + BROKERS_LATER_SECONDS, partial(link.swallow, on=True), partial(link.swallow, on=False))
        link = self._wires.destinations[slot]
        self._for(seconds, partial(link.swallow, on=True), partial(link.swallow, on=False))

    def _broker(self, fault: Fault, node: Node) -> None:
        if fault.kind is Kind.BROKER_FREEZE:
            node.pause()
            self._later(fault.seconds, node.resume)
        elif fault.kind is Kind.BROKER_KILL:
            node.kill()
            self._later(fault.seconds, node.spawn)
        else:
            node.terminate()
            self._later(STOP_SECONDS, partial(_started_again, node))

    def _weather(self, fault: Fault) -> None:
        destination = self._wires.destination
        if fault.kind is Kind.NEW_TOKEN:
            generation = destination.generation + 1
            self._wires.call(partial(setattr, destination, "generation", generation))
            self._later(fault.seconds, partial(self._fleet.new_token, generation))
            return
        weather = destination.weather
        if fault.kind.name.startswith("POISON_"):
            status = int(fault.kind.name.removeprefix("POISON_"))
            self._for(fault.seconds, partial(weather.poison.add, status), partial(weather.poison.discard, status))
            return
        name, value = {
            Kind.ERRORS: ("errors", fault.amount),
            Kind.OUTAGE: ("outage", 1.0),
            Kind.THROTTLE: ("throttled", fault.amount),
            Kind.UNAVAILABLE: ("unavailable", fault.amount),
            Kind.PAGES: ("pages", fault.amount),
            Kind.HANG: ("hangs", fault.amount),
            Kind.LOST_REPLIES: ("lost_replies", fault.amount),
        }[fault.kind]
        self._for(fault.seconds, partial(setattr, weather, name, value), partial(setattr, weather, name, 0.0))

    def _for(self, seconds: float, begin: Callable[[], None], end: Callable[[], None]) -> None:
        self._wires.call(begin)
        self._later(seconds, lambda: self._wires.call(end))

    def _whole(self) -> bool:
        """Whether every partition has all its replicas in sync."""
        try:
            known = self._cluster.admin.list_topics(timeout=2).topics
        except KafkaException:
            return False
        return all(len(partition.isrs) == NODES for topic in known.values() for partition in topic.partitions.values())

    def _move_leaders(self) -> None:
        try:
            known = self._cluster.admin.list_topics(timeout=5).topics
        except KafkaException:
            return  # the broker that was asked is just going down or coming up: the leaders move anyway
        every = [TopicPartition(topic, number) for topic, found in known.items() for number in found.partitions]
        # The result is ignored: the election fails for partitions whose preferred broker is down, which does no harm.
        self._cluster.admin.elect_leaders(ElectionType.PREFERRED, every)


def _started_again(node: Node) -> None:
    node.kill()  # in case it has not ended by itself
    node.spawn()
