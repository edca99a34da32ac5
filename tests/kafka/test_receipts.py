"""The writer of receipts: it is bounded, it waits for nothing, and it counts what it could not write."""

from __future__ import annotations

import time

import pytest

from tests.kafka.member import LOG
from tests.support.brokers import Broker
from worker.core.delivery.verdict import Verdict
from worker.core.facts import CallEnded
from worker.core.model import Partition
from worker.core.receipts.receipt import Positions, Receipt
from worker.kafka import receipts as module
from worker.kafka.receipts import Receipts

pytestmark = pytest.mark.slow

NAMES = tuple((f"name{number}", number) for number in range(99))
ENDED = CallEnded(
    Verdict.DELIVERED, 200, None, 0.1, receipt=Receipt(0, 1, None, (Positions(Partition("changes", 0), 0, NAMES),))
)


def test_what_the_brokers_acknowledge_is_written(broker: Broker, topic: str) -> None:
    receipts = Receipts({"bootstrap.servers": broker.bootstrap_servers}, topic, lambda *_: b"receipt", LOG)
    for _ in range(50):
        receipts.observe(ENDED)
    receipts.close(20)
    assert (receipts.written, receipts.lost, receipts.problem) == (50, 0, None)


def test_what_waits_for_its_schema_is_bounded_and_the_rest_is_lost() -> None:
    receipts = Receipts({"bootstrap.servers": "127.0.0.1:1"}, "receipts", lambda *_: None, LOG)
    fit = module.WAITING_MAX // (len(NAMES) + 1)
    for _ in range(fit + 3):
        receipts.observe(ENDED)
    assert (receipts.written, receipts.lost) == (0, 3)
    assert "calls go on" in str(receipts.problem)
    receipts.close(0)
    assert receipts.lost == fit + 3


def test_without_a_broker_nothing_waits() -> None:
    receipts = Receipts({"bootstrap.servers": "127.0.0.1:1"}, "receipts", lambda *_: b"receipt", LOG)
    began = time.monotonic()
    for _ in range(12_000):
        receipts.observe(ENDED)
        receipts.step()
    assert time.monotonic() - began < 10
    receipts.close(0)
    assert receipts.lost == 12_000
