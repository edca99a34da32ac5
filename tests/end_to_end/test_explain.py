"""`explain` on a real Kafka with a real worker, with receipts and without; and receipts that cannot be written."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import pytest
from confluent_kafka import TopicPartition

from tests.end_to_end.conftest import Lab, final_state
from tests.support.processes import Command, until
from tests.support.producers import ordered_producer
from tests.support.profiles import Change, phone

pytestmark = [pytest.mark.kafka, pytest.mark.slow]

LONG = "n" * 201  # no attribute may be called so


class Explainer:
    """The command, on one lab's topic."""

    def __init__(self, lab: Lab, environment: Mapping[str, str]) -> None:
        self.lab = lab
        self.environment = environment

    def command(self, where: str, *options: str) -> Command:
        return self.lab.command("explain", where, *options, environment=self.environment)

    def __call__(self, offset: int, *options: str) -> dict[str, Any]:
        command = self.command(f"{self.lab.topic}:0:{offset}", "--json", *options)
        assert command.process.returncode == 0, command.log.read_text()
        found: dict[str, Any] = json.loads(command.output.read_text())
        return found

    def fails(self, where: str) -> tuple[int, str]:
        """Its exit status, and what it says."""
        command = self.command(where)
        assert command.output.read_text() == ""
        return command.process.returncode, command.log.read_text()


def states(found: Mapping[str, Any]) -> dict[str, str]:
    return {each["name"]: each["state"] for each in found["attributes"]}


def by(found: Mapping[str, Any], name: str) -> str:
    return next(str(each["by"]) for each in found["attributes"] if each["name"] == name)


def test_a_record_is_followed_to_its_end(lab: Lab) -> None:
    lab.broker.create_topic(lab.topic, 1)
    sandbox = lab.sandbox()
    receipts = {"WORKER_RECEIPTS__TOPIC": f"{lab.topic}.receipts"}
    made = [
        Change(phone(1), {"points": 1, "tier": "silver-secret"}, 0),
        Change(phone(1), {"points": 2}, 1),
        Change(phone(2), {"good": 1, LONG: 1}, 2),
        Change(phone(3), {"nothing": None}, 3),
    ]
    lab.produce(made)
    producer = ordered_producer(lab.broker.bootstrap_servers)
    producer.produce(lab.topic, b"garbage", b"key")
    assert producer.flush(30) == 0
    explain = Explainer(lab, lab.environment(sandbox.base_url, receipts))
    found = explain(0)
    assert (found["state"], states(found)) == ("pending", {"points": "superseded", "tier": "pending"})
    assert explain(4)["state"] == "pending"

    worker = lab.worker(sandbox.base_url, receipts)
    lab.until_committed(60)
    assert worker.stop() == 0
    assert len(worker.events("receipt_topic_created")) == 1
    lab.produce([Change(phone(1), {"tier": "gold"}, 5)])  # nobody reads it any more

    found = explain(0)
    assert (found["state"], states(found)) == ("delivered", {"points": "superseded", "tier": "delivered"})
    assert by(found, "points") == f"{lab.topic}:0:1"
    assert found["detail"] == "a receipt says so"
    (call,) = found["calls"]
    assert (call["outcome"], call["status"], call["attempt"], call["attributes"]) == ("delivered", 200, 1, ["tier"])
    assert states(explain(1)) == {"points": "delivered"}
    found = explain(2)
    assert (found["state"], states(found)) == ("dead_letter", {"good": "delivered", LONG: "dead_letter"})
    letters = {letter["sources"][0]["offset"]: letter["id"] for letter in lab.dead_letters()}  # type: ignore[index]  # a list of objects
    assert found["dead_letters"] == [letters[2]]
    found = explain(3)
    assert (found["state"], states(found)) == ("passed_over", {"nothing": "passed_over"})
    found = explain(4)
    assert (found["state"], found["dead_letters"]) == ("dead_letter", [letters[4]])
    found = explain(5)
    assert (found["state"], found["calls"]) == ("pending", [])
    assert "committed up to 5" in found["detail"]

    without = Explainer(lab, lab.environment(sandbox.base_url))
    found = without(0)
    assert (found["state"], states(found)) == ("superseded", {"points": "superseded", "tier": "superseded"})
    assert by(found, "tier") == f"{lab.topic}:0:5"
    found = without(1)
    assert (found["state"], by(found, "points")) == ("delivered", "committed offset 5")
    assert "no receipts are kept" in found["detail"]

    _check_what_is_shown(explain)
    _check_places_that_hold_nothing(lab, explain)


def _check_what_is_shown(explain: Explainer) -> None:
    """Values and identifiers are shown on demand only, in both forms."""
    where = f"{explain.lab.topic}:0:0"
    for options, expected in (((), False), (("--json",), False), (("--values",), True), (("--json", "--values"), True)):
        shown = explain.command(where, *options).output.read_text()
        assert "tier" in shown
        assert ("silver-secret" in shown, phone(1) in shown) == (expected, expected)


def _check_places_that_hold_nothing(lab: Lab, explain: Explainer) -> None:
    status, said = explain.fails("0:1500")
    assert (status, "write TOPIC:PARTITION:OFFSET" in said) == (2, True)
    status, said = explain.fails("other:0:1")
    assert (status, "not among the topics of WORKER_KAFKA__TOPICS" in said) == (2, True)
    status, said = explain.fails(f"{lab.topic}:7:1")
    assert (status, "no partition 7" in said) == (2, True)
    status, said = explain.fails(f"{lab.topic}:0:99")
    assert (status, "behind the log's end, which is 6" in said) == (2, True)
    for deleted in lab.broker.admin.delete_records([TopicPartition(lab.topic, 0, 2)]).values():
        deleted.result(30)
    status, said = explain.fails(f"{lab.topic}:0:1")
    assert (status, "is deleted: the log begins at 2" in said) == (1, True)


@pytest.mark.long
def test_a_topic_that_takes_no_receipts_stops_no_delivery(lab: Lab) -> None:
    """A compacted topic refuses them: they have no key."""
    lab.broker.create_topic(lab.topic, 1)
    topic = f"{lab.topic}.receipts"
    lab.broker.create_topic(topic, 1, {"cleanup.policy": "compact"})
    sandbox = lab.sandbox()
    receipts = {"WORKER_RECEIPTS__TOPIC": topic, "WORKER_ATTENTIVE__BASE_URL": sandbox.base_url}
    finding = lab.check(sandbox.base_url, receipts)["receipts"]
    assert (finding["level"], "it is compacted" in finding["what"]) == ("warn", True)
    worker = lab.worker(sandbox.base_url, receipts)
    lab.produce([Change(phone(1), {"tier": "gold"}, 0)])
    lab.until_committed(60)
    assert final_state(sandbox) == {phone(1): {"tier": "gold"}}
    until(lambda: worker.status()["receipts"] == {"written": 0, "lost": 1}, 40, "the receipt is counted as lost")
    status = worker.status()
    assert status["problems"] == ["receipts"]
    assert "is it compacted?" in status["problem"]
    assert worker.ready().status_code == 200
    assert [line["problem"] for line in worker.events("receipt_topic_unusable")] == [
        f"topic {topic}: it is compacted, so it takes no record without a key: set its cleanup.policy to delete"
    ]
    assert [line["lost"] for line in worker.events("receipts_lost")] == [1]
    assert worker.stop() == 0
