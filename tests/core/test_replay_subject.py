"""What a replay keeps of a user, against a model that folds every record at once."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from hypothesis import given
from hypothesis import strategies as st

from worker.core.model import Now, Partition, Scalar, User, UserKey
from worker.core.replay.index import Index
from worker.core.replay.said import Said
from worker.core.replay.scope import PLACES, Offsets, Scope
from worker.core.replay.subject import Subject

KEY, USER = UserKey("phone", "", "+13115552368"), User("+13115552368")
PARTITIONS = [Partition("profile-changes", number) for number in range(3)]
NOW = Now(100.0, 1_000_000)


@dataclass
class Model:
    """Of each attribute where the newest value lies, and the values to send, the newest last: each with its partition.

    Values count as equal only if they are of one type: `True` is not `1`.
    """

    latest: dict[str, Said] = field(default_factory=dict)
    told: dict[str, list[tuple[Scalar, Partition]]] = field(default_factory=dict)

    def take(self, said: Said, *, send: bool, all_names: bool) -> None:
        for name, value in said.values.items():
            known = self.latest.get(name)
            if known is None and not all_names:
                continue
            told = self.told.setdefault(name, [])
            if known is not None and not later(said, known):
                told[:-1] = [each for each in told[:-1] if each[1] != said.partition]
                continue
            self.latest[name] = said
            told[:] = [*told, (value, said.partition)] if send else []

    def sent(self) -> dict[str, list[Scalar]]:
        """Of equal values the last one counts."""
        return {
            name: [
                value for at, (value, _) in enumerate(told) if not any(same(value, each) for each, _ in told[at + 1 :])
            ]
            for name, told in self.told.items()
            if told
        }


def same(one: Scalar, other: Scalar) -> bool:
    return one == other and type(one) is type(other)


def later(this: Said, other: Said) -> bool:
    if this.partition == other.partition:
        return this.offset > other.offset
    return this.timestamp_ms >= other.timestamp_ms


@dataclass(frozen=True)
class Step:
    """A record, as it is drawn."""

    partition: int
    timestamp_ms: int
    values: dict[str, Scalar]
    covered: bool


VALUES = st.sampled_from([0, 1, 2, True, False, "", "gold"])
STEPS = st.lists(
    st.builds(
        Step,
        st.integers(0, 2),
        st.integers(0, 5),
        st.dictionaries(st.sampled_from(["tier", "store", "points"]), VALUES, min_size=1),
        st.booleans(),
    ),
    max_size=12,
)


def said(step: Step, offset: int) -> Said:
    return Said(KEY, USER, step.values, PARTITIONS[step.partition], offset, step.timestamp_ms, b"key")


def histories(subject: Subject) -> dict[str, list[Scalar]]:
    """The values that its entry would send, each after the one before it was refused; newest last."""
    found: dict[str, list[Scalar]] = {}
    entry = subject.begin(0.0)
    entry.begin()
    for name, newest in entry.fold().items():
        values = [newest]
        while entry.step_back(name):
            values.append(entry.fold()[name])
        found[name] = values[::-1]
    return found


@given(STEPS, st.booleans(), st.booleans(), st.booleans())
def test_it_sends_what_a_model_sends_that_folds_at_once(steps: list[Step], sent: bool, fold: bool, back: bool) -> None:  # noqa: FBT001 - drawn
    subject, model = Subject(KEY, lambda _: None), Model()
    subject.sent = sent
    for offset, step in enumerate(steps):
        one = said(step, offset)
        newest = subject.newest(one, one.values) if step.covered else subject.newer(one)
        model.take(said(step, offset), send=step.covered or sent, all_names=step.covered)
        subject.fold(one, newest, send=step.covered or sent)
        if fold:
            subject.fold_equals()
    expected = model.sent()
    assert subject.attributes == len(expected)
    assert {name: spot.offset for name, spot in subject.latest.items()} == {
        name: each.offset for name, each in model.latest.items()
    }
    if back and subject.told:
        subject.take_back(subject.begin(0.0))
        assert not subject.unsettled
    assert (histories(subject) if subject.told else {}) == expected


@given(STEPS)
def test_its_size_follows_from_what_it_keeps(steps: list[Step]) -> None:
    subject = Subject(KEY, lambda _: None)
    for offset, step in enumerate(steps):
        one = said(step, offset)
        newest = subject.newest(one, one.values) if step.covered else subject.newer(one)
        subject.fold(one, newest, send=step.covered)
    kept = sum(each.size_bytes for each in subject.told)
    least = Subject(KEY, lambda _: None).measure() + kept
    assert least <= subject.measure() <= least + len(subject.latest) * 200
    for name in list(subject.latest):
        subject.pass_by(Said(KEY, USER, {}, PARTITIONS[0], 1_000, 1_000), [name])
    assert not subject.told
    assert subject.measure() <= Subject(KEY, lambda _: None).measure() + len(subject.latest) * 200


def test_equal_values_make_room_before_users_do() -> None:
    """A user who says the same again and again takes the memory of one change."""
    scope = Scope({PARTITIONS[0]: Offsets(0, 10_000)})
    index = Index(scope, lower=0, doubtful=(), unverified=(), max_bytes=20_000, on_settled=lambda _: None)
    for offset in range(1_000):
        who = f"+1311555{offset % 5:04d}"
        one = Said(UserKey("phone", "", who), User(who), {"tier": "gold"}, PARTITIONS[0], offset, 0)
        index.take([one], NOW)
        assert index.size_bytes <= 20_000
    assert len(index.subjects) == 5
    assert all(histories(subject) == {"tier": ["gold"]} for subject in index.subjects.values())
    assert index.changes == 1_000


TEXTS = st.text(st.characters(codec="utf-8"), max_size=40)


@given(st.dictionaries(st.sampled_from(["tier", "store", "points"]), VALUES | TEXTS, min_size=1), st.none() | TEXTS)
def test_what_a_record_takes_at_most_follows_from_its_bytes(values: dict[str, Scalar], event_id: str | None) -> None:
    texts = [text for text in (*values.values(), event_id) if isinstance(text, str)]
    record_bytes = len(b"key") + sum(len(text.encode()) for text in texts)
    one = Said(KEY, None, values, PARTITIONS[0], 0, 0, b"key", (), None, event_id, record_bytes)
    assert one.size_bytes <= one.size_bytes_at_most
    custom = User(custom=tuple((f"name-{number}", "7") for number in range(1_000)))
    assert replace(one, sent=custom).size_bytes_at_most > 100_000, "its identifiers are not among the values"


def filled(max_bytes: int, users: int) -> Index:
    """An index that got one record of each user, in two polls, with what its texts take at most."""
    scope = Scope({PARTITIONS[0]: Offsets(0, users)})
    index = Index(scope, lower=0, doubtful=(), unverified=(), max_bytes=max_bytes, on_settled=lambda _: None)
    keys = [UserKey("phone", "", f"+1311555{number:04d}") for number in range(users)]
    told = [Said(key, None, {"a": number}, PARTITIONS[0], number, 0) for number, key in enumerate(keys)]
    for each in told:
        each.record_bytes = 1_000
    index.take(told[: users // 2], NOW)
    index.take(told[users // 2 :], NOW)
    return index


def test_nobody_is_left_to_another_pass_before_memory_is_full() -> None:
    """What a record takes is found out exactly only when that matters."""
    index = filled(max_bytes=145_000, users=100)
    assert index.upper == PLACES
    assert index.size_bytes <= 145_000
    assert index.single == 100
    users = index.ordered(NOW)
    assert len(users) == len({user.key for user in users}) == 100
    assert [user.place for user in users] == sorted(user.place for user in users)
    assert {user.changed_at for user in users} == {-900.0}


def test_a_full_memory_leaves_the_users_with_the_highest_places_to_another_pass() -> None:
    index = filled(max_bytes=100_000, users=100)
    assert index.size_bytes <= 100_000
    assert index.changes == 100
    users = index.ordered(NOW)
    assert 50 <= len(users) < 80
    assert max(user.place for user in users) < index.upper < PLACES


def test_a_later_record_narrows_what_the_only_one_of_a_user_says() -> None:
    scope = Scope({PARTITIONS[0]: Offsets(0, 1)})
    index = Index(scope, lower=0, doubtful=(), unverified=(), max_bytes=20_000, on_settled=lambda _: None)
    index.take([Said(KEY, None, {"tier": "gold", "store": "North"}, PARTITIONS[0], 0, 900_000)], NOW)
    index.take([Said(KEY, None, {"tier": "silver", "points": 1}, PARTITIONS[0], 1, 990_000)], NOW)
    [subject] = index.ordered(NOW)
    assert subject.values == 2
    assert subject.changed_at == 90.0
    assert histories(subject) == {"store": ["North"]}
