"""Live traffic: changes at a steady rate, each of which says when it was made."""

from __future__ import annotations

import time
from collections.abc import Callable

from confluent_kafka import Producer

from bench.loads import PARTITIONS
from tests.support.brokers import Broker
from tests.support.profiles import Change, encode, phone

_LATE_SECONDS_MAX = 1.0


class Late(Exception):
    """The traffic did not keep to its rate, so what was measured is of another one."""


def send(broker: Broker, topic: str, *, per_second: int, seconds: float, user_of: Callable[[int], int]) -> None:
    """Changes of the users that `user_of` names, at so many a second for so long.

    Raises:
        Late: the machine was too busy for the rate.
        RuntimeError: the broker did not take all of it.
    """
    producer = Producer({"bootstrap.servers": broker.bootstrap_servers, "linger.ms": 0, "log_level": 2})
    started = time.monotonic()
    for number in range(int(per_second * seconds)):
        early = started + number / per_second - time.monotonic()
        if early > 0:
            time.sleep(early)
        elif early < -_LATE_SECONDS_MAX:
            raise Late(f"after {number} events the traffic is {-early:.1f} s late")
        user = user_of(number)
        change = Change(phone(user), {"loyalty_points": number, "sent_us": time.time_ns() // 1000}, number)
        producer.produce(topic, encode(change), change.phone.encode(), user % PARTITIONS)
        producer.poll(0)
    if producer.flush(60):
        raise RuntimeError("the broker did not take all of the traffic")
