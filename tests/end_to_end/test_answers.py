"""Answers that are cut short or sent twice: none is taken for what it is not, and no change is lost by it."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Callable

import pytest

from tests.attentive.scripted import OK, Connection, Received, serving
from tests.end_to_end.conftest import Lab
from tests.support.profiles import changes, fold

pytestmark = [pytest.mark.kafka, pytest.mark.slow]

SEED = 17
USERS = 60
CUT = b"HTTP/1.1 200 OK\r\nContent-Length: 64\r\n\r\n" + b"x" * 8
BUSY = b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n"


class Destination:
    """Holds what it has applied, by phone. Its scripts decide what a connection does."""

    def __init__(self) -> None:
        self.users: dict[str, dict[str, object]] = defaultdict(dict)
        self._met: set[str] = set()

    def cuts(self, connection: Connection) -> None:
        """Of every third user, the first answer is cut short or drips, and the call is not applied."""
        while (received := connection.receive()) is not None:
            phone = _phone(received)
            is_first = phone not in self._met
            self._met.add(phone)
            if is_first and int(phone[-2:]) % 3 == 0:
                connection.send(CUT)
                if int(phone[-2:]) % 2:
                    connection.hold()
                return
            self._apply(received)
            connection.send(OK)

    def doubles(self, connection: Connection) -> None:
        """A connection's first answer is sent twice. Later requests on it are refused, and not applied."""
        received = connection.receive()
        if received is None:
            return
        self._apply(received)
        connection.send(OK + OK)
        while connection.receive() is not None:
            connection.send(BUSY)

    def _apply(self, received: Received) -> None:
        self.users[_phone(received)].update(json.loads(received.body)["properties"])


@pytest.mark.parametrize("script", [Destination.cuts, Destination.doubles])
def test_every_change_is_applied_in_the_end(lab: Lab, script: Callable[[Destination, Connection], None]) -> None:
    lab.broker.create_topic(lab.topic, 3)
    destination = Destination()
    made = list(changes(SEED, events=300, users=USERS))
    lab.produce(made)
    with serving(lambda connection: script(destination, connection)) as server:
        fast = {"WORKER_WINDOW__SECONDS": "0.2", "WORKER_ATTENTIVE__TIMEOUT_SECONDS": "1"}
        worker = lab.worker(server.base_url, fast)
        lab.until_committed(60)
        assert lab.dead_letters() == []
        assert worker.stop() == 0
    assert destination.users == fold(made)


def _phone(received: Received) -> str:
    return str(json.loads(received.body)["user"]["phone"])
