"""One user's trouble stays that user's, and an answer that cannot come from the API costs nobody a letter."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from itertools import islice

import pytest

from tests.end_to_end.conftest import Lab, final_state
from tests.support.processes import SandboxCommand, WorkerCommand, until
from tests.support.profiles import Change, changes, fold, phone

pytestmark = [pytest.mark.kafka, pytest.mark.slow]

SEED = 11
USERS = 200
BAD = [phone(user) for user in range(0, USERS, 50)]
BATCH = 20
FAST = {"WORKER_WINDOW__SECONDS": "0.2", "WORKER_ATTENTIVE__SERVER_ERROR_SECONDS": "8"}
PAGE = {"status": 403, "headers": {"Content-Type": "text/html"}, "body": "<html>Request blocked</html>"}


class Stream:
    """Changes that go on coming, a few at each look, as long as a test waits for something."""

    def __init__(self, lab: Lab) -> None:
        self.made: list[Change] = []
        self._lab = lab
        self._source = changes(SEED, events=100_000, users=USERS)

    def until(self, condition: Callable[[], object], seconds: float, what: str) -> None:
        def look() -> object:
            batch = list(islice(self._source, BATCH))
            self.made += batch
            self._lab.produce(batch)
            return condition()

        until(look, seconds, what, pause=0.3)


def started(lab: Lab) -> tuple[SandboxCommand, WorkerCommand, Stream]:
    """A worker that has delivered for a while."""
    lab.broker.create_topic(lab.topic, 3)
    sandbox = lab.sandbox()
    worker = lab.worker(sandbox.base_url, FAST)
    stream = Stream(lab)
    stream.until(lambda: worker.status()["totals"]["delivered_entries"] > 50, 60, "the first deliveries")
    return sandbox, worker, stream


def lettered(lab: Lab) -> set[str]:
    return {str(letter["user"]["phone"]) for letter in lab.dead_letters()}  # type: ignore[index]  # a record as a dict


@pytest.mark.parametrize(
    ("answer", "reasons"),
    [({"status": 500}, {"server_error"}), (PAGE, {"rejected"}), ({"status": 429}, {"server_error"})],
    ids=["500", "403-page", "429"],
)
def test_users_that_always_fail_become_letters_and_hold_nobody_up(
    lab: Lab, answer: Mapping[str, object], reasons: set[str]
) -> None:
    sandbox, worker, stream = started(lab)
    sandbox.faults([{"match": {"user": user}, **answer} for user in BAD])
    stream.until(lambda: lettered(lab) >= set(BAD), 90, "a letter for each bad user")
    sandbox.faults([])
    lab.until_committed(60)
    assert {str(letter["reason"]) for letter in lab.dead_letters()} == reasons
    assert lettered(lab) == set(BAD)
    expected, found = fold(stream.made), final_state(sandbox)
    assert {user: found[user] for user in expected.keys() - set(BAD)} == {
        user: expected[user] for user in expected.keys() - set(BAD)
    }
    assert worker.ready().status_code == 200
    assert worker.stop() == 0


@pytest.mark.parametrize("body", ["404 page not found", ""])
def test_a_path_that_is_missing_for_a_while_costs_no_letter(lab: Lab, body: str) -> None:
    """An ingress during a deploy: some seconds of 404 as plain text, amid traffic."""
    sandbox, worker, stream = started(lab)
    ends = time.monotonic() + 8
    sandbox.faults([{"status": 404, "headers": {"Content-Type": "text/plain"}, "body": body}])
    stream.until(lambda: worker.status()["halt"], 20, "a halt")
    assert worker.status()["halt"]["reason"] == "wrong_url"
    stream.until(lambda: time.monotonic() > ends, 20, "the deploy")
    sandbox.faults([])
    lab.until_committed(60)
    assert lab.dead_letters() == []
    assert final_state(sandbox) == fold(stream.made)
    assert worker.stop() == 0


def test_a_wrong_url_whose_host_answers_405_is_a_halt_from_the_start(lab: Lab) -> None:
    lab.broker.create_topic(lab.topic, 3)
    sandbox = lab.sandbox()
    sandbox.faults([{"status": 405}])
    worker = lab.worker(sandbox.base_url, FAST)
    made: Iterable[Change] = list(changes(SEED, events=200, users=100))
    lab.produce(made)
    until(lambda: worker.status()["halt"], 40, "a halt")
    halt = worker.status()["halt"]
    assert halt["reason"] == "wrong_url"
    assert "405" in halt["detail"]
    assert lab.dead_letters() == []
    sandbox.faults([])
    lab.until_committed(60)
    assert final_state(sandbox) == fold(made)
    assert worker.stop() == 0
