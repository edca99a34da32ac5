"""The judge of a chaos run finds each broken promise, and accepts what is allowed."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from itertools import islice

import pytest

from tests.chaos.cast import POISON, Cast, cast_of
from tests.chaos.commits import Commit
from tests.chaos.destination import Exchange
from tests.chaos.judge import AGE_SECONDS_MAX, AGE_SECONDS_MEDIAN_MAX, LEAVING_SECONDS, Findings, Life, judge
from tests.chaos.letters import Letter
from tests.chaos.plan import Kind, make
from tests.chaos.traffic import REJECTED, SENSITIVE_DATA, SERVER_ERROR, Logged, endless

USER = "+13110000001"
GOOD = Cast(users=1)


def logged(*versions: int, bad: Sequence[int] = (), reason: str = REJECTED) -> list[Logged]:
    """A user's changes, one a second."""
    return [
        Logged(0, number, float(number), USER, {"version": number}, {"version": reason} if number in bad else {})
        for number in versions
    ]


def sent(life: str, version: int, at: float, *, until: float | None = None, status: int | None = 200) -> Exchange:
    ended = at + 0.1 if until is None else until
    return Exchange(at, life, USER, {"version": version}, status, applied=status == 200, ended_at=ended)


def letter(version: int, reason: str = REJECTED, *, at: float = 5.0, user: str = USER, value: object = ...) -> Letter:
    lost = version if value is ... else value
    return Letter(f"{reason} {version}", at, reason, user, {(0, version, "version"): lost}, [(0, version)])


def judged(
    exchanges: Sequence[Exchange],
    assigned: Mapping[str, list[float]] = {"a": [0.0]},
    *,
    final: int | None = 3,
    log: Sequence[Logged] | None = None,
    letters: Sequence[Letter] = (),
    commits: Sequence[Commit] = (),
    cast: Cast = GOOD,
) -> Findings:
    """What the judge says of the user's three changes, or of `log`, when the user ends with the version `final`."""
    lives = {name: Life(name, at) for name, at in assigned.items()}
    state = {} if final is None else {USER: {"version": final}}
    return judge(exchanges, logged(1, 2, 3) if log is None else log, state, lives, letters, commits, cast, 1.0)


def test_one_owner_that_sends_in_order_breaks_no_promise() -> None:
    found = judged([sent("a", 1, 2), sent("a", 3, 4)])
    assert not found.broken
    assert found.repeated == 0
    assert found.age_seconds_max == 2  # version 2 came at 2 and went with version 3 at 4


def test_a_new_owner_may_send_the_uncommitted_range_again() -> None:
    found = judged([sent("a", 1, 2), sent("a", 3, 4), sent("b", 1, 11), sent("b", 3, 12)], {"a": [0.0], "b": [10.0]})
    assert not found.broken
    assert found.repeated == 2


def test_a_former_owner_that_sends_is_a_regression() -> None:
    found = judged([sent("a", 1, 2), sent("b", 3, 11), sent("a", 2, 12)], {"a": [0.0], "b": [10.0]}, final=2)
    assert len(found.stale) == 1
    assert len(found.lost) == 1
    assert len(found.broken) == 2


def test_a_former_owner_that_was_assigned_the_partition_again_may_send() -> None:
    found = judged([sent("a", 1, 2), sent("b", 2, 11), sent("a", 3, 14)], {"a": [0.0, 13.0], "b": [10.0]})
    assert not found.broken


def test_a_poison_user_s_older_value_may_follow_one_that_was_refused_even_before_its_letter_is_written() -> None:
    """Its owner lost the partition while no letter could be written."""
    poison = Cast(users=1, always={USER: 403})
    refused = [sent("a", 1, 1), sent("a", 3, 2, status=403), sent("a", 2, 3, status=403)]
    assert not judged(refused, cast=poison, final=None).steps_back
    assert judged(refused, final=None).steps_back, "403 is no answer to a good user's value"
    lost_reply = [sent("a", 3, 2, status=None), sent("a", 2, 3, status=403)]
    assert judged(lost_reply, cast=poison, final=None).steps_back, "it may have been applied"
    accepted = [sent("a", 3, 2), sent("a", 2, 3, status=403)]
    assert judged(accepted, cast=poison, final=None).steps_back


def test_a_step_back_within_an_assignment_is_found() -> None:
    found = judged([sent("a", 2, 2), sent("a", 1, 3), sent("a", 3, 4)])
    assert len(found.steps_back) == 1


def test_a_value_that_its_user_never_got_and_one_that_must_not_be_sent_are_found() -> None:
    assert len(judged([sent("a", 7, 2, status=400), sent("a", 3, 4)]).invented) == 1
    log = logged(1, 2, 3, bad=[2], reason=SENSITIVE_DATA)
    exchanges = [sent("a", 2, 2), sent("a", 3, 4)]
    assert len(judged(exchanges, log=log, letters=[letter(2, SENSITIVE_DATA, value=None)]).invented) == 1


def test_an_overlap_is_found_unless_the_older_ones_sender_is_frozen() -> None:
    exchanges = [sent("a", 1, 2, until=20.0, status=None), sent("b", 3, 11)]
    lives = {"a": Life("a", [0.0]), "b": Life("b", [10.0])}
    state = {USER: {"version": 3}}
    assert len(judge(exchanges, logged(1, 3), state, lives, (), (), GOOD, 1.0).overlaps) == 1
    lives["a"].frozen.append((1.5, 19.0))
    found = judge(exchanges, logged(1, 3), state, lives, (), (), GOOD, 1.0)
    assert not found.broken
    assert found.overlaps_of_frozen == 1


def test_a_request_may_overtake_the_end_of_the_one_that_its_client_gave_up() -> None:
    """But not one that was answered later."""
    late = 4.0 + LEAVING_SECONDS / 2
    assert not judged([sent("a", 1, 2), sent("a", 3, 2.5, until=late, status=None), sent("a", 3, 4)]).broken
    assert judged([sent("a", 1, 2), sent("a", 3, 2.5, until=late, status=500), sent("a", 3, 4)]).overlaps


REFUSED = [sent("a", 1, 2), sent("a", 3, 4, status=400), sent("a", 2, 4.5)]


def test_a_refused_value_ends_in_its_letter_and_the_one_before_it_stands() -> None:
    """The older value is sent after the newer one: that is no step back, as the newer one is refused."""
    found = judged(REFUSED, final=2, log=logged(1, 2, 3, bad=[3]), letters=[letter(3)])
    assert not found.broken


def test_a_refused_value_without_a_letter_is_a_loss() -> None:
    found = judged(REFUSED, final=2, log=logged(1, 2, 3, bad=[3]))
    assert len(found.lost) == 1


def test_a_good_value_that_a_refused_one_pushed_aside_is_a_loss() -> None:
    found = judged(REFUSED[:2], final=1, log=logged(1, 2, 3, bad=[3]), letters=[letter(3)])
    assert len(found.lost) == 2  # it was not delivered, and the user did not end with it


def test_a_refused_value_that_a_good_one_superseded_needs_no_letter() -> None:
    found = judged([sent("a", 1, 2), sent("a", 3, 4)], log=logged(1, 2, 3, bad=[2]))
    assert not found.broken


def test_what_is_refused_before_any_call_needs_its_letter_whatever_follows() -> None:
    log = logged(1, 2, 3, bad=[2], reason=SENSITIVE_DATA)
    exchanges = [sent("a", 1, 2), sent("a", 3, 4)]
    assert len(judged(exchanges, log=log).lost) == 1
    assert not judged(exchanges, log=log, letters=[letter(2, SENSITIVE_DATA, value=None)]).broken


def test_a_bad_value_that_was_applied_is_a_difference() -> None:
    found = judged([sent("a", 3, 4)], final=3, log=logged(1, 2, 3, bad=[3]), letters=[letter(3)])
    assert any("ended with" in difference for difference in found.lost)


@pytest.mark.parametrize(
    "wrong",
    [
        letter(2),  # good
        letter(4),  # not in the topic
        letter(3, SERVER_ERROR),
        letter(3, user="+13110000002"),
        letter(3, value=4),
        letter(3, value=None),
        Letter("sources", 5.0, REJECTED, USER, {(0, 3, "version"): 3}, [(0, 2)]),
        Letter("rejected 3", 6.0, REJECTED, USER, {}, []),  # the id of another letter
    ],
)
def test_a_wrong_letter_is_found(wrong: Letter) -> None:
    found = judged(REFUSED, final=2, log=logged(1, 2, 3, bad=[3]), letters=[letter(3), wrong])
    assert len(found.wrong_letters) == 1
    assert len(found.broken) == 1


def test_a_letter_that_is_written_again_is_counted() -> None:
    found = judged(REFUSED, final=2, log=logged(1, 2, 3, bad=[3]), letters=[letter(3), letter(3, at=9.0)])
    assert not found.broken
    assert found.letters_repeated == 1


@pytest.mark.parametrize(("status", "reason"), [(500, SERVER_ERROR), (429, SERVER_ERROR), (403, REJECTED)])
def test_a_poison_users_good_value_may_end_in_a_letter_once_it_was_answered_so(status: int, reason: str) -> None:
    poison = Cast(users=1, always={USER: status})
    exchanges = [sent("a", 1, 2), sent("a", 3, 4, status=status)]
    assert not judged(exchanges, final=1, letters=[letter(3, reason)], cast=poison).broken
    assert judged(exchanges, final=1, letters=[letter(3, reason)], cast=GOOD).broken
    assert judged(exchanges, final=1, letters=[letter(3, reason, at=3.0)], cast=poison).broken
    assert judged(exchanges, final=1, letters=[letter(3, "not_found")], cast=poison).broken
    assert judged(exchanges, final=1, cast=poison).broken


def test_a_poison_users_value_may_be_applied_although_it_is_in_a_letter() -> None:
    """The next owner read it again, and by then the user was poison no more. But nothing older may come after it."""
    poison = Cast(users=1, always={USER: 500})
    exchanges = [sent("a", 1, 2), sent("a", 3, 4, status=500), sent("b", 3, 11)]
    owners = {"a": [0.0], "b": [10.0]}
    assert not judged(exchanges, owners, letters=[letter(3, SERVER_ERROR)], cast=poison).broken
    late = [*exchanges, sent("b", 2, 12)]
    assert judged(late, owners, final=2, letters=[letter(3, SERVER_ERROR)], cast=poison).steps_back


def test_good_users_who_wait_too_long_are_found_and_poison_users_are_not() -> None:
    log = logged(1, 2, 3, 4, 5)
    late = [sent("a", 1, 1.5), sent("a", 2, 2.5), sent("a", 3, 3.5), sent("a", 5, 5 + 1.0 + AGE_SECONDS_MAX)]
    assert [each.partition(" of")[0] for each in judged(late, final=5, log=log).late] == ["version '4'"]
    poison = Cast(users=1, at_times={USER: 429})
    assert not judged(late, final=5, log=log, cast=poison).broken


def test_an_age_that_most_good_users_share_is_found() -> None:
    slow = [sent("a", 1, 2), sent("a", 3, 4.5 + AGE_SECONDS_MEDIAN_MAX)]
    assert [each.startswith("half") for each in judged(slow).late] == [True]


def test_a_commit_may_pass_what_is_delivered_superseded_or_in_a_letter_by_then() -> None:
    commits = [Commit(0, 2, 2.5), Commit(0, 4, 6.0)]
    assert not judged(REFUSED, final=2, log=logged(1, 2, 3, bad=[3]), letters=[letter(3)], commits=commits).broken
    # Version 2 lay in the topic: whoever begins at its offset reads it, so version 1 needs no call of its own.
    assert not judged([sent("a", 3, 4)], commits=[Commit(0, 2, 2.5)]).broken


@pytest.mark.parametrize(
    ("commit", "early"),
    [
        (Commit(0, 4, 4.9), 1),  # before the letter was written
        (Commit(0, 4, 4.2), 2),  # and before version 2 was delivered
        (Commit(0, 2, 1.5), 1),  # before version 1 was delivered, and version 2 was not there yet
    ],
)
def test_a_commit_that_is_too_early_is_found(commit: Commit, early: int) -> None:
    found = judged(REFUSED, final=2, log=logged(1, 2, 3, bad=[3]), letters=[letter(3)], commits=[commit])
    assert len(found.early) == early
    assert len(found.broken) == 1


def test_a_denied_value_is_in_no_letter_also_of_a_record_that_names_nobody() -> None:
    log = [Logged(0, 2, 2.0, "", {"ssn": "078-05-1120"}, {"ssn": "no_identity"})]
    for value, wrong in ((None, 0), ("078-05-1120", 1)):
        found = Letter("id", 5.0, "no_identity", "", {(0, 2, "ssn"): value}, [(0, 2)])
        assert len(judged([], log=log, letters=[found], final=None).wrong_letters) == wrong


def test_a_seed_makes_the_same_plan_every_time_and_it_holds_every_kind() -> None:
    plan = make(7, 300)
    assert plan == make(7, 300)
    assert {fault.kind for fault in plan} == set(Kind)
    assert all(early.at <= late.at for early, late in itertools.pairwise(plan))
    assert plan[-1].at + plan[-1].seconds <= 300


def test_a_seed_makes_the_same_users_and_changes_every_time_and_they_hold_every_kind_of_bad() -> None:
    cast = cast_of(7, 400, poison=True)
    assert cast == cast_of(7, 400, poison=True)
    assert set(cast.always.values()) == set(cast.at_times.values()) == set(POISON)
    assert not cast.refused & (cast.always.keys() | cast.at_times.keys())
    changes = list(islice(endless(7, cast), 5_000))
    assert changes == list(islice(endless(7, cast), 5_000))
    assert {reason for change in changes for reason in change.bad.values()} == {
        REJECTED,
        SENSITIVE_DATA,
        "invalid_attribute_name",
        "unsupported_value",
        "no_identity",
        "invalid_identity",
        "undecodable",
    }
