"""A 429 or a Retry-After is the destination's wish, or what one user gets whenever it asks."""

from __future__ import annotations

import itertools
import math
import random
from collections import Counter
from collections.abc import Callable

import pytest

from tests.core.drive import phone
from tests.core.traffic import Traffic, bad_one_in
from worker.core.facts import Halted
from worker.core.model import Call, Reply

pytestmark = pytest.mark.slow  # minutes or megabytes of virtual life each

ONE_USER = 1_000_000  # `bad_one_in` so many: the first user alone


def good_share(traffic: Traffic, bad_one_in: int, seconds: float) -> float:
    """The share of the good users that were delivered while time went on for so long."""
    delivered, users = len(traffic.delivered), traffic.users
    traffic.run(seconds)
    return (len(traffic.delivered) - delivered) / ((traffic.users - users) * (1 - 1 / bad_one_in))


def test_a_pause_holds_for_everybody_once_and_then_for_the_user_that_gets_it() -> None:
    traffic = Traffic(bad_one_in(ONE_USER, Reply(503, retry_after_seconds=120.0)))
    traffic.run(100.0)
    assert len(traffic.delivered) <= 10, "it was news"
    traffic.run(160.0)
    assert len(traffic.delivered) >= 0.95 * (traffic.users - 1)


@pytest.mark.parametrize("status", [400, 413, 404, 409])
def test_a_pause_beside_an_answer_about_one_user_holds_nobody_else(status: int) -> None:
    traffic = Traffic(bad_one_in(ONE_USER, Reply(status, retry_after_seconds=60.0)))
    traffic.run(100.0)
    assert len(traffic.delivered) >= 0.95 * (traffic.users - 1)


def test_one_new_user_in_a_hundred_gets_a_pause() -> None:
    traffic = Traffic(bad_one_in(100, Reply(503, retry_after_seconds=120.0)))
    traffic.run(150.0)
    assert good_share(traffic, 100, 100.0) >= 0.95


@pytest.mark.parametrize(("status", "one_in", "pause"), [(503, 20, 30.0), (503, 20, 120.0), (429, 50, 300.0)])
def test_pauses_of_some_users_stop_everybody_once(status: int, one_in: int, pause: float) -> None:
    """A pause teaches of one user only. So not each of them may cost everybody one."""
    bad = {user for user in range(20_000) if random.Random(user).random() < 1 / one_in}
    answer = Reply(status, retry_after_seconds=pause)
    traffic = Traffic(lambda call, _: answer if int(str(call.user.phone)[5:]) in bad else Reply(200), per_second=20)
    traffic.run(3 * pause)
    assert len(traffic.delivered) >= 0.6 * traffic.users


def test_a_destination_that_asks_for_a_pause_is_left_alone_by_all() -> None:
    """Also the second time, when it is no news that pauses are asked for."""
    calls: list[float] = []

    def answer(_: Call, seconds: float) -> Reply:
        calls.append(seconds)
        return Reply(503, retry_after_seconds=30.0) if int(seconds) in {20, 80} else Reply(200)

    Traffic(answer).run(105.0)
    assert sum(21.0 < at < 50.0 for at in calls) <= 32
    assert sum(81.0 < at < 110.0 for at in calls) <= 64, "a share of the calls must ask for it first"


def test_one_new_user_in_a_hundred_gets_429_and_a_pause_so_long_that_nobody_knows_whose_it_is() -> None:
    traffic = Traffic(bad_one_in(100, Reply(429, retry_after_seconds=120.0)))
    traffic.run(125.0)
    assert good_share(traffic, 100, 100.0) >= 0.6


@pytest.mark.parametrize("one_in", [100, 20])
@pytest.mark.parametrize("reply", [Reply(429), Reply(429, rate_remaining=0)], ids=["bare", "nothing-remains"])
def test_some_new_users_are_always_answered_429(one_in: int, reply: Reply) -> None:
    traffic = Traffic(bad_one_in(one_in, reply))
    traffic.run(60.0)
    assert good_share(traffic, one_in, 60.0) >= 0.9


@pytest.mark.parametrize("bad_share", [0.0, 0.05])
def test_a_rate_that_is_too_high_is_noticed_also_beside_users_that_always_get_429(bad_share: float) -> None:
    """The destination takes 30 calls a second and answers 429 to the rest: the worker learns to make few more."""
    taken: list[float] = []
    calls: list[float] = []

    def answer(call: Call, seconds: float) -> Reply:
        calls.append(seconds)
        # By chance: users come at an even pace, and at even seconds a call would always meet a bad one.
        if random.Random(str(call.user.phone)).random() < bad_share:
            return Reply(429)
        taken[:] = [at for at in taken if at > seconds - 1.0]
        if len(taken) >= 30:
            return Reply(429)
        taken.append(seconds)
        return Reply(200)

    traffic = Traffic(answer, per_second=60)
    traffic.run(90.0)
    late = sum(at > 30.0 for at in calls) / 60.0
    assert late <= 60.0, f"{late:.0f} calls a second, where 30 are taken"
    assert len(traffic.delivered) >= 0.5 * 30 * 90


@pytest.mark.parametrize("retry_after", [None, 1.0], ids=["bare", "with-a-pause"])
def test_a_429_because_another_program_uses_the_token_slows_the_worker_before_there_are_many(
    retry_after: float | None,
) -> None:
    """The destination takes 50 calls in each second of its clock; the other program makes half of them."""
    counts: Counter[int] = Counter()
    answered: list[int] = []

    def answer(_: Call, seconds: float) -> Reply:
        second, part = divmod(seconds + 0.35, 1.0)
        counts[int(second)] += 1
        remaining = 50 - counts[int(second)] - math.ceil(25 * part)
        answered.append(200 if remaining >= 0 else 429)
        pause = retry_after if remaining < 0 else None
        return Reply(answered[-1], retry_after_seconds=pause, rate_limit=50, rate_remaining=max(0, remaining))

    traffic = Traffic(answer, requests_per_second=50.0)
    traffic.run(40.0)
    late = answered[len(answered) // 4 :]
    assert late.count(429) < 0.02 * len(late), (late.count(429), len(late))
    assert len(late) >= 20 * 30


@pytest.mark.parametrize("answers", [(403, 302), (404, 403), (302, 404)])
def test_a_user_that_gets_odd_answers_of_several_kinds_in_turn_ends_as_a_letter(answers: tuple[int, int]) -> None:
    turns = itertools.cycle(answers)
    traffic = Traffic(lambda call, _: Reply(next(turns)) if call.user.phone == phone(7) else Reply(200))
    traffic.run(200.0)
    assert [letter.user and letter.user.phone for letter in traffic.driver.written] == [phone(7)]
    assert len(traffic.driver.told(Halted)) <= 2


def random_share(share: float, reply: Reply) -> Callable[[Call, float], Reply]:
    rng = random.Random(5)
    return lambda _, __: reply if rng.random() < share else Reply(200)


def test_pauses_for_five_calls_in_a_hundred_are_everybodys_and_are_obeyed() -> None:
    traffic = Traffic(random_share(0.05, Reply(503, retry_after_seconds=5.0)))
    traffic.run(60.0)
    assert traffic.driver.written == []
