"""What is judged while the topic goes on, without a broker or a destination."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import cast

from tests.core.drive import P0
from worker.core.model import Checked, Event, Partition, Reason, Scalar, Source, User, UserKey
from worker.jobs.asking import Asking, Held
from worker.jobs.findings import Finding, Kind, Wrong
from worker.jobs.repair import Positions, Refused, Repair
from worker.jobs.sample import Subject
from worker.jobs.topic import Take, Topic
from worker.jobs.verify import Verify, Wish

ANNA = User(phone="+13115552368")
KEY = UserKey("phone", "", "+13115552368")
ASKED_MS = 1_700_000_000_000
LONG_AGO_MS = ASKED_MS - 3_600_000
GRACE_MS = 35_000

Written = tuple[Mapping[str, Scalar], int]
"""A change of Anna, and its time."""


class FakeTopic:
    """Hands out changes, a batch for each `read`."""

    unreadable = 0

    def __init__(self, *batches: Sequence[Written]) -> None:
        self._batches = batches
        self._reads = 0
        self._offset = 0

    @property
    def positions(self) -> Mapping[Partition, int]:
        return {P0: self._offset}

    def restart(self) -> None:
        self._reads = self._offset = 0

    def read(self, take: Take, _: Callable[[], bool]) -> None:
        for attributes, at_ms in self._batches[self._reads] if self._reads < len(self._batches) else ():
            take(Event(ANNA, attributes), Checked(KEY, ANNA, attributes), Source(P0, self._offset, at_ms))
            self._offset += 1
        self._reads += 1


class FakeAsking:
    """Holds the same of everybody."""

    def __init__(self, attributes: Mapping[str, object]) -> None:
        self._attributes = attributes
        self.asked: list[int] = []

    def each(self, subjects: Sequence[Subject], _: Callable[[], bool]) -> Iterator[Held]:
        self.asked.append(sum(len(each.last) for each in subjects))
        for subject in subjects:
            yield Held(subject, self._attributes, ASKED_MS)


class FakeRepair:
    """Notes what is to be sent; `then` is what happens meanwhile."""

    def __init__(self, then: Callable[[], object] = lambda: None, refused: Refused | None = None) -> None:
        self._then = then
        self._refused = refused or {}
        self.sent: list[tuple[str, Scalar]] = []

    def send(self, wrong: Sequence[Wrong], _: Positions, __: Callable[[], bool]) -> Refused:
        self.sent += [(each.attribute, each.last.value) for each in wrong]
        self._then()
        return self._refused


def verify(
    topic: FakeTopic, held: Mapping[str, object], *, is_whole: bool = True, repair: FakeRepair | None = None
) -> tuple[Verify, list[Finding]]:
    wish = Wish(
        includes=lambda _: True,
        matches=lambda _: True,
        users_max=10,
        bytes_max=10**6,
        grace_ms=GRACE_MS,
        belongs=(lambda name: name != "theirs") if is_whole else None,
    )
    mending, pauses = cast("Repair | None", repair), list[float]()
    job = Verify(cast("Topic", topic), cast("Asking", FakeAsking(held)), wish, mending, pauses.append)
    return job, list(job.run(lambda: False))


def kinds(findings: Sequence[Finding]) -> dict[str, Kind]:
    return {finding.attribute: finding.kind for finding in findings}


def test_a_change_is_judged_once_it_is_old_enough() -> None:
    for age_ms, expected in ((GRACE_MS - 1, {}), (GRACE_MS, {"tier": Kind.DIFFERENT})):
        job, findings = verify(FakeTopic([({"tier": "gold"}, ASKED_MS - age_ms)]), {"tier": "silver"})
        assert kinds(findings) == expected
        assert job.tally.young == (not expected)
        assert job.tally.attributes == len(expected)


def test_a_young_change_that_has_arrived_is_equal() -> None:
    job, findings = verify(FakeTopic([({"tier": "gold"}, ASKED_MS)]), {"tier": "gold"})
    assert not findings
    assert (job.tally.equal, job.tally.young) == (1, 0)


def test_a_change_that_comes_while_the_destination_is_asked_is_no_difference() -> None:
    """Whatever the time of its record: a producer may write the time of long ago."""
    topic = FakeTopic([({"tier": "gold", "vip": True}, LONG_AGO_MS)], [({"tier": "silver", "new": 1}, LONG_AGO_MS)])
    job, findings = verify(topic, {"tier": "silver", "vip": "false", "new": "1"})
    assert kinds(findings) == {"vip": Kind.DIFFERENT}
    assert job.tally.equal == 2

    job, findings = verify(topic, {"tier": "gold", "vip": "true"})
    assert not findings
    assert (job.tally.equal, job.tally.young) == (1, 2)


def test_unexpected_is_only_what_could_be_known() -> None:
    topic, held = FakeTopic([({"tier": "gold"}, LONG_AGO_MS)]), {"tier": "gold", "colour": "red", "theirs": "x"}
    assert kinds(verify(topic, held)[1]) == {"colour": Kind.UNEXPECTED}
    assert kinds(verify(topic, held, is_whole=False)[1]) == {}


def test_it_asks_for_the_first_user_before_it_reads_on() -> None:
    """An account that may not read shows at once, and not after hours of reading."""
    asking = FakeAsking({})
    topic = FakeTopic([({"tier": "gold"}, LONG_AGO_MS), ({"points": 1}, LONG_AGO_MS)])
    everything = Wish(lambda _: True, lambda _: True, None, 10**6, GRACE_MS, None)
    findings = list(Verify(cast("Topic", topic), cast("Asking", asking), everything).run(lambda: False))
    assert asking.asked == [1, 2]
    assert kinds(findings) == {"tier": Kind.MISSING, "points": Kind.MISSING}


def test_the_last_of_several_values_counts() -> None:
    topic = FakeTopic([({"points": number}, LONG_AGO_MS) for number in range(3)])
    job, findings = verify(topic, {"points": "1"})
    [finding] = findings
    assert finding.last is not None
    assert (finding.last.value, finding.last.source.offset, finding.returned) == (2, 2, "1")
    assert job.tally.found == {Kind.DIFFERENT: 1}


def test_a_repair_sends_what_differs_and_counts_what_is_held_then() -> None:
    held: dict[str, object] = {"tier": "silver", "vip": "true", "colour": "red"}
    repair = FakeRepair(lambda: held.update(tier="gold", points="1"))
    topic = FakeTopic([({"tier": "gold", "vip": True, "points": 1}, LONG_AGO_MS)])
    job, findings = verify(topic, held, repair=repair)
    assert kinds(findings) == {"points": Kind.MISSING, "tier": Kind.DIFFERENT, "colour": Kind.UNEXPECTED}
    assert repair.sent == [("points", 1), ("tier", "gold")]
    assert (job.tally.repaired, job.tally.undecided, job.tally.unmended) == (2, 0, {})
    assert job.tally.differs, "the unexpected value stays"


def test_a_later_change_that_comes_during_a_repair_is_no_difference() -> None:
    """That change is a live worker's, and on its way, or the repair has sent it as well."""
    said: Mapping[str, Scalar] = {"tier": "gold", "vip": True}
    topic = FakeTopic([(said, LONG_AGO_MS)], [], [({"tier": "new"}, LONG_AGO_MS)])
    held: dict[str, object] = {}
    job, _ = verify(topic, held, repair=FakeRepair(lambda: held.update(vip="TRUE")))
    assert (job.tally.overtaken, job.tally.repaired, job.tally.differs) == (1, 1, False)


def test_what_is_not_mended_has_a_reason() -> None:
    topic = FakeTopic([({"tier": "gold", "points": 1}, LONG_AGO_MS)])
    job, _ = verify(topic, {}, repair=FakeRepair(refused={(KEY, "tier"): Reason.REJECTED}))
    refused, other = sorted(job.tally.unmended, reverse=True)
    assert "it became a dead letter (rejected)" in refused
    assert "still holds something else" in other
    assert (job.tally.repaired, job.tally.undecided) == (0, 0)
