"""What of a letter is to be sent, why not, and from where the log is read."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace

import pytest

from tests.core.drive import SCHEMA, encode, phone
from worker.core.events.decode import Decoder
from worker.core.events.mapping import Mapping as FieldMapping
from worker.core.letters.values import Json
from worker.core.model import Letter, LostAttribute, Now, Partition, Reason, Source, User
from worker.core.replay.errand import Errand
from worker.core.rules.identity import IdentityRules
from worker.core.rules.policy import AttributeRules
from worker.core.rules.preflight import Preflight
from worker.jobs.redrive import errands as words
from worker.jobs.redrive.errands import Decoding, Errands, Skipped, Unchecked
from worker.jobs.redrive.live_workers import BEHIND, LiveWorkers
from worker.jobs.redrive.mail import Mail
from worker.jobs.redrive.sources import Reach, Sources

TOPIC = "profile-changes"
P0, P1 = Partition(TOPIC, 0), Partition(TOPIC, 1)
SPOT = Source(P0, 50, 1_000)
LETTER = Letter(
    Reason.REJECTED,
    "refused",
    2_000,
    3,
    (SPOT,),
    User(phone(1)),
    (LostAttribute("tier", "silver", 900, P0, 50), LostAttribute("points", 7, 900, P0, 50)),
    record_key=b"key",
    id="id",
)


def sources(*, begin: int = 0, topics: Mapping[str, int] | None = None) -> Sources:
    """A topic with two partitions, each up to offset 100."""

    def at(partitions: Iterable[Partition], since_ms: int) -> Mapping[Partition, int | None]:
        return dict.fromkeys(partitions, None if since_ms > 5000 else 30)

    counts = {TOPIC: 2} if topics is None else topics
    return Sources(counts, counts, lambda asked: {each: Reach(begin, 100) for each in asked}, at)


def live_workers(*answers: Mapping[Partition, int] | None, stopped: bool = False) -> tuple[LiveWorkers, list[float]]:
    """Workers that read one of the partitions and have committed this. The last answer stays. And what it slept."""
    left, slept = list(answers), list[float]()
    looks = lambda: left.pop(0) if len(left) > 1 else left[0]  # noqa: E731 - shorter than a function
    return LiveWorkers([P0], looks, lambda: stopped, slept.append), slept


def errands(
    *,
    of: Sources | None = None,
    committed: int = 100,
    raw: bool = False,
    force: bool = False,
    deny: tuple[str, ...] = (),
) -> Errands:
    workers, _ = live_workers({P0: committed})
    preflight = Preflight(IdentityRules(), AttributeRules(deny=("@forbidden", *deny)))
    decoding = Decoding(Decoder(FieldMapping(), writer_schema=SCHEMA), None, lambda: False)
    return Errands(preflight, of or sources(), workers, decoding if raw else None, force=force)


def wanted(found: object) -> Errand:
    assert isinstance(found, tuple), found
    _, errand = found
    assert isinstance(errand, Errand)
    return errand


def test_a_letter_becomes_what_is_to_be_sent() -> None:
    errand = wanted(errands().of(LETTER))
    assert {name: part.value for name, part in errand.parts.items()} == {"tier": "silver", "points": 7}
    assert {part.source for part in errand.parts.values()} == {SPOT}
    assert (errand.user, errand.beside, errand.letter.id) == (LETTER.user, [], "id")


@pytest.mark.parametrize(
    ("letter", "why"),
    [
        (replace(LETTER, cut=("attributes.value",)), words.CUT),
        (replace(LETTER, attributes=()), words.EMPTY),
        (replace(LETTER, user=None), words.NOBODY),
        (replace(LETTER, reason=Reason.INVALID_IDENTITY, user=User("123")), words.NOBODY),
        (replace(LETTER, reason=Reason.SENSITIVE_DATA), words.WITHHELD),
        (
            replace(LETTER, reason=Reason.NO_IDENTITY, attributes=(LostAttribute("tier", None, None, P0, 50),)),
            words.WITHHELD,
        ),
        (replace(LETTER, attributes=(LostAttribute("list", Json("[1]"), None, P0, 50),)), words.NOTHING_TO_SEND),
        (replace(LETTER, reason=Reason.UNDECODABLE, attributes=(), record_value=b"x"), words.UNDECODED),
    ],
)
def test_a_letter_that_cannot_be_delivered_is_skipped_for_a_reason(letter: Letter, why: Skipped) -> None:
    assert errands(force=True).of(letter) == why


def test_what_todays_rules_refuse_becomes_a_letter_of_its_own() -> None:
    errand = wanted(errands(deny=("points",)).of(LETTER))
    assert list(errand.parts) == ["tier"]
    [beside] = errand.beside
    assert (beside.reason, beside.id, beside.attempts, beside.answer) == (Reason.SENSITIVE_DATA, "", 0, None)
    assert beside.attributes == (LostAttribute("points", None, 900, P0, 50),)


def test_a_record_that_could_not_be_decoded_is_decoded_again() -> None:
    raw = replace(LETTER, reason=Reason.UNDECODABLE, user=None, attributes=(), attempts=0)
    errand = wanted(errands(raw=True).of(replace(raw, record_value=encode(1, {"tier": "gold", "password": "x"}))))
    assert {name: part.value for name, part in errand.parts.items()} == {"tier": "gold"}
    assert errand.parts["tier"].lost == LostAttribute("tier", "gold", 1_700_000_000_000, P0, 50)
    assert [letter.reason for letter in errand.beside] == [Reason.SENSITIVE_DATA]
    assert errand.letter.record_value is None
    assert errands(raw=True).of(replace(raw, record_value=b"\xff")) == words.STILL_UNDECODABLE
    assert errands(raw=True).of(raw) == words.STILL_UNDECODABLE


@pytest.mark.parametrize(
    ("of", "why"),
    [
        (sources(begin=51), "begins at offset 51"),
        (sources(topics={"another": 1}), "does not exist"),
        (sources(topics={TOPIC: 0, "another": 1}), "has no partition 0"),
    ],
)
def test_where_the_log_does_not_reach_back_a_letter_is_unchecked_unless_forced(of: Sources, why: str) -> None:
    found = errands(of=of).of(LETTER)
    assert isinstance(found, Unchecked)
    assert why in found.why
    assert wanted(errands(of=of, force=True).of(LETTER)).parts.keys() == {"tier", "points"}


@pytest.mark.parametrize(("committed", "done"), [(0, False), (50, False), (51, True)])
def test_a_letter_whose_records_are_not_committed_is_unchecked_unless_forced(committed: int, *, done: bool) -> None:
    found = errands(committed=committed).of(LETTER)
    assert isinstance(found, tuple) if done else found == Unchecked(BEHIND)
    assert wanted(errands(committed=committed, force=True).of(LETTER)).parts.keys() == {"tier", "points"}


def test_a_record_that_could_not_be_decoded_waits_for_live_workers_too() -> None:
    """Older values of its user may still wait for their call."""
    raw = replace(LETTER, reason=Reason.UNDECODABLE, attributes=(), record_value=encode(1, {"tier": "gold"}))
    assert errands(raw=True, committed=50).of(raw) == Unchecked(BEHIND)
    assert wanted(errands(raw=True, committed=51).of(raw)).parts.keys() == {"tier"}


def test_live_workers_are_waited_for() -> None:
    workers, slept = live_workers({}, {P0: 50}, {P0: 51})
    assert workers.fault([SPOT]) is None
    assert len(slept) == 2


def test_nobody_is_waited_for_in_a_group_without_members() -> None:
    workers, slept = live_workers({}, None)
    assert workers.fault([SPOT]) is None
    assert len(slept) == 1


def test_live_workers_are_waited_for_about_ten_seconds_in_all() -> None:
    workers, slept = live_workers({})
    for offset in (50, 60):
        assert workers.fault([replace(SPOT, offset=offset)]) == BEHIND
    assert 9 < sum(slept) < 11


def test_whoever_is_stopped_does_not_wait_for_live_workers() -> None:
    workers, slept = live_workers({}, stopped=True)
    assert workers.fault([SPOT]) == BEHIND
    assert not slept


def test_nobody_is_waited_for_where_live_workers_do_not_read() -> None:
    workers, slept = live_workers({})
    assert workers.fault([replace(SPOT, partition=P1)]) is None
    assert not slept


def test_every_record_of_a_letter_must_be_committed() -> None:
    workers, _ = live_workers({P0: 51})
    assert workers.fault([SPOT, replace(SPOT, offset=51)]) == BEHIND


def test_a_record_behind_the_end_is_of_a_topic_that_was_made_anew() -> None:
    """Whatever that topic holds came later, though its offsets are lower."""
    late = replace(SPOT, offset=100)
    assert "made anew" in str(sources().fault([late]))
    assert sources().place(late).partition not in sources().partitions
    assert sources().fault([SPOT]) is None
    assert sources().place(SPOT) == SPOT


def test_without_any_log_even_force_sends_nothing() -> None:
    assert isinstance(errands(of=sources(topics={}), force=True).of(LETTER), Unchecked)


def test_the_log_is_read_from_the_letters_on_and_elsewhere_from_their_time() -> None:
    assert sources().starts({P0: 20}, 1_000) == {P0: 20, P1: 30}
    assert sources().starts({P0: 50}, 6_000) == {P0: 50, P1: 100}
    assert sources(begin=40).starts({P0: 20}, 1_000) == {P0: 40, P1: 40}


class Producer:
    """A producer by hand: each letter has the next of these outcomes."""

    def __init__(self, *outcomes: str | None) -> None:
        self.outcomes = list(outcomes)
        self.published: list[Letter] = []
        self.waiting: list[Letter] = []

    def publish(self, letter: Letter) -> None:
        self.published.append(letter)
        self.waiting.append(letter)

    def results(self) -> list[tuple[Letter, str | None]]:
        found = [(letter, self.outcomes.pop(0)) for letter in self.waiting]
        self.waiting = []
        return found


class Keeping:
    """The part of a redrive that its mail knows: it keeps what is said of `tier`."""

    def __init__(self) -> None:
        self.due: list[Letter] = []
        self.told: list[tuple[Letter, bool]] = []

    def keep(self, letter: Letter) -> Letter | None:
        rest = tuple(each for each in letter.attributes if each.name != "tier")
        return replace(letter, attributes=rest) if rest else None

    def letters(self, _: Now) -> list[Letter]:
        due, self.due = self.due, []
        return due

    def written(self, letter: Letter, _: Now) -> None:
        self.told.append((letter, True))

    def failed(self, letter: Letter, _: Now) -> None:
        self.told.append((letter, False))


def test_mail_keeps_what_is_said_of_letters_under_way_and_writes_the_rest() -> None:
    producer, keeping = Producer("down", None, None), Keeping()
    mail = Mail(producer, keeping, lambda: Now(0.0, 0))  # type: ignore[arg-type]  # a part of a redrive
    kept = replace(LETTER, attributes=LETTER.attributes[:1])
    mail.publish(kept)
    assert (mail.results(), producer.published) == ([(kept, None)], [])
    mail.publish(LETTER)
    assert [each.name for each in producer.published[0].attributes] == ["points"]
    assert mail.results() == [(LETTER, "down")]  # the engine gives it again
    mail.publish(LETTER)
    keeping.due = [kept]
    mail.post()
    assert mail.results() == [(LETTER, None)]
    assert keeping.told == [(kept, True)]
