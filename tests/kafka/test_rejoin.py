"""A member that rejoins while its group rebalances: it gives up all that it held, and hears of all that it gets."""

from __future__ import annotations

from collections.abc import Mapping
from threading import Event

import pytest

from tests.kafka.member import DEADLINE_SECONDS, Member, until
from tests.support.brokers import unique_name
from tests.support.lossy_broker import LossyBroker
from worker.core.model import Partition

pytestmark = [pytest.mark.kafka, pytest.mark.slow]

JOIN_GROUP, SYNC_GROUP, CONSUMER_GROUP_HEARTBEAT = 11, 14, 68
"""API keys of the requests by which a member takes part in a rebalance."""


class Door:
    """Holds a kind of request up at the broker's door, once it is `shut` and until it is `open`."""

    def __init__(self, broker: LossyBroker) -> None:
        self.reached = Event()
        self.open = Event()
        self._broker = broker

    def shut(self, api_key: int) -> None:
        def waits(asked: int) -> bool:
            if asked == api_key:
                self.reached.set()
                assert self.open.wait(DEADLINE_SECONDS)
            return False

        self._broker.loses = waits


@pytest.mark.parametrize(
    ("protocol", "api_key"),
    [
        pytest.param({}, JOIN_GROUP, id="cooperative-join"),
        pytest.param({}, SYNC_GROUP, id="cooperative-sync"),
        pytest.param({"partition.assignment.strategy": "range"}, JOIN_GROUP, id="eager-join"),
        pytest.param({"group.protocol": "consumer"}, CONSUMER_GROUP_HEARTBEAT, id="kip-848"),
    ],
)
def test_a_rejoin_amid_a_rebalance_gives_up_all_partitions(
    lossy_broker: LossyBroker, protocol: Mapping[str, str], api_key: int
) -> None:
    """Librdkafka postpones the leave to the end of the rebalance: to subscribe before that would cancel it.

    A topic made anew needs the revoke, too: that is when the offset to begin at is committed.
    """
    broker, door = lossy_broker, Door(lossy_broker)
    topic, group = unique_name("rejoin"), unique_name("group")
    broker.create_topic(topic, 4)
    everything = {Partition(topic, number) for number in range(4)}
    with Member(broker, topic, group, {**protocol, "bootstrap.servers": broker.lossy}) as first:
        until(lambda: first.held == everything, first)
        door.shut(api_key)
        with Member(broker, topic, group, protocol) as second:
            until(door.reached.is_set, first, second)
            first.subscription.rejoin()
            first.held.clear()  # as the membership does when its lease runs out
            door.open.set()
            until(lambda: first.subscription.joined and len(second.held) == 2, first, second)
            until(lambda: first.held | second.held == everything, first, second)
            assert first.subscription.assignment() == first.held
        given_up = [partitions for word, partitions in first.events if word == "revoked"]
        assert everything == frozenset().union(*given_up)
