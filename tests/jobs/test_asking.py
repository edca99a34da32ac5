"""Asking the destination: within the rate, patient with it, and clear about what it cannot mend."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence

import pytest

from worker.core.delivery.rate import Rate
from worker.core.delivery.verdict import Verdict
from worker.core.facts import CallEnded, Fact
from worker.core.model import Failure, Reply, User, UserKey
from worker.jobs.asking import NOT_ENABLED, Asking, DestinationFailed, Held, lookup_of
from worker.jobs.sample import Subject

OK = Reply(200, body='[{"name": "tier", "value": "gold"}]')
SERVER_ERROR = Reply(503)


def subject(number: int) -> Subject:
    phone = f"+1311{number:07d}"
    return Subject(UserKey("phone", "", phone), number, User(phone=phone))


class Scene:
    """A destination that answers by script, and a clock that only sleeping moves."""

    def __init__(self, script: Callable[[int, int], Reply], *, problem: str | None = None, rate: float = 100.0) -> None:
        """`script` gives the reply from the user's number and how often it was asked for before."""
        self._script = script
        self._problem = problem
        self.now = 1_000.0
        self.asked: list[tuple[float, int]] = []
        self.proofs = 0
        self.verdicts: list[Verdict] = []
        limit = Rate(rate, self.now)
        limit.share(1.0, self.now)
        self._asking = Asking(
            self,
            limit,
            at_once=8,
            backoff=float,
            retry_after_max_seconds=300.0,
            clock=lambda: self.now,
            sleep=self._sleep,
            observer=self,
        )

    def run(self, users: int = 1) -> Mapping[int, Held]:
        found = self._asking.each([subject(number) for number in range(users)], lambda: False)
        return {held.subject.place: held for held in found}

    def ask(self, users: Sequence[User], _: Callable[[], bool]) -> list[Reply]:
        numbers = [int((user.phone or "")[5:]) for user in users]
        replies = [self._script(number, sum(each == number for _, each in self.asked)) for number in numbers]
        self.asked += [(self.now, number) for number in numbers]
        return replies

    def problem(self) -> str | None:
        self.proofs += 1
        return self._problem

    def observe(self, fact: Fact) -> None:
        assert isinstance(fact, CallEnded)
        self.verdicts.append(fact.verdict)

    def _sleep(self, seconds: float) -> None:
        self.now += seconds


def test_everybody_is_asked_for_once_within_the_rate() -> None:
    scene = Scene(lambda *_: OK, rate=10.0)
    found = scene.run(100)
    assert [found[number].attributes for number in range(100)] == [{"tier": "gold"}] * 100
    assert len(scene.asked) == 100
    for began, _ in scene.asked:
        assert sum(began <= at < began + 1.0 for at, _ in scene.asked) <= 11
    assert scene.proofs == 0


def test_after_a_429_it_slows_down_and_asks_again() -> None:
    scene = Scene(lambda number, before: Reply(429) if number < 3 and not before else OK)
    assert all(held.attributes for held in scene.run(10).values())
    assert len(scene.asked) == 13
    assert all(at == 1_000.0 or at >= 1_001.0 for at, _ in scene.asked), "no further call within that second"


def test_a_retry_after_holds_for_everybody() -> None:
    scene = Scene(lambda number, before: Reply(429, retry_after_seconds=30.0) if (number, before) == (0, 0) else OK)
    assert len(scene.run(20)) == 20
    assert all(at == 1_000.0 or at >= 1_030.0 for at, _ in scene.asked)


@pytest.mark.parametrize("failed", [SERVER_ERROR, Reply(None, Failure.TIMEOUT), Reply(None, Failure.CONNECT)])
def test_a_failure_is_tried_again_after_a_pause_that_grows(failed: Reply) -> None:
    scene = Scene(lambda _, before: failed if before < 3 else OK)
    assert scene.run()[0].attributes == {"tier": "gold"}
    times = [at for at, _ in scene.asked]
    assert [later - earlier >= pause for pause, earlier, later in zip((1, 2, 3), times, times[1:], strict=False)] == [
        True
    ] * 3


def test_one_user_who_always_fails_does_not_stop_the_others() -> None:
    scene = Scene(lambda number, _: SERVER_ERROR if number == 4 else OK)
    found = scene.run(10)
    assert found[4].attributes is None
    assert found[4].problem == "status 503"
    assert all(held.attributes for number, held in found.items() if number != 4)
    assert len(scene.asked) == 9 + 6


def test_an_outage_ends_the_job_after_two_minutes() -> None:
    scene = Scene(lambda *_: SERVER_ERROR)
    with pytest.raises(DestinationFailed, match="status 503, and no other answer for two minutes"):
        scene.run(5)
    assert 1_120 < scene.now < 1_150


def test_a_long_retry_after_is_no_outage() -> None:
    scene = Scene(lambda _, before: OK if before == 3 else Reply(503, retry_after_seconds=100.0))
    assert scene.run()[0].attributes == {"tier": "gold"}
    assert scene.now >= 1_300


def test_a_refused_token_is_told_apart_from_an_account_that_may_not_read() -> None:
    for status in (401, 403):
        with pytest.raises(DestinationFailed, match=f"status {status}. the token is wrong"):
            Scene(lambda *_, status=status: Reply(status), problem="the token is wrong").run()
        with pytest.raises(DestinationFailed) as failed:
            Scene(lambda *_, status=status: Reply(status)).run()
        assert NOT_ENABLED in str(failed.value)


def test_a_404_is_a_user_without_attributes_if_the_url_is_right() -> None:
    scene = Scene(lambda number, _: Reply(404) if number < 5 else OK)
    found = scene.run(10)
    assert [number for number, held in found.items() if held.attributes == {}] == list(range(5))
    assert scene.proofs == 1
    scene = Scene(lambda number, _: Reply(404) if number else OK)
    assert scene.run(3)[2].attributes == {}
    assert scene.proofs == 0, "an answer has shown that the URL is right"
    with pytest.raises(DestinationFailed, match="check the URL"):
        Scene(lambda *_: Reply(404), problem="check the URL").run()


@pytest.mark.parametrize("reply", [Reply(404, no_such_path=True), Reply(302), Reply(200, web_page=True, body="<html>")])
def test_an_answer_that_is_not_the_apis_is_a_wrong_url(reply: Reply) -> None:
    with pytest.raises(DestinationFailed, match="WORKER_ATTENTIVE__BASE_URL"):
        Scene(lambda *_: reply).run()


@pytest.mark.parametrize("reply", [Reply(400), Reply(200, body="{}"), Reply(200, body='[{"name": "a", "val')])
def test_a_user_that_cannot_be_read_is_told_with_the_reason(reply: Reply) -> None:
    found = Scene(lambda number, _: reply if number == 1 else OK).run(3)
    assert found[1].attributes is None
    assert found[1].problem
    assert found[2].attributes == {"tier": "gold"}


def test_a_user_is_asked_for_by_what_names_it_or_by_the_phone() -> None:
    both = User(phone="+13115552368", email="a@x.com", client_user_id="c")
    assert lookup_of(Subject(UserKey("phone", "", ""), 0, both)) == User(phone=both.phone)
    assert lookup_of(Subject(UserKey("email", "", ""), 0, both)) == User(email=both.email)
    assert lookup_of(Subject(UserKey("client_user_id", "", ""), 0, both)) == User(phone=both.phone)
    assert lookup_of(Subject(UserKey("custom", "a", ""), 0, User(custom=(("a", "b"),)))) is None


def test_an_observer_is_told_of_every_answer_and_that_nobody_is_known_is_one() -> None:
    scene = Scene(lambda number, before: Reply(404) if number else SERVER_ERROR if before < 2 else OK)
    assert scene.run(2)[1].attributes == {}
    assert Counter(scene.verdicts) == {Verdict.DELIVERED: 2, Verdict.RETRY: 2}
