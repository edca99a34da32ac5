"""Compares what the topic says with what the destination holds, user by user."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

from worker.core.held import gives_back
from worker.core.model import Checked, Event, Partition, Source, User
from worker.jobs.asking import Asking, Held, lookup_of
from worker.jobs.sample import Last, Sample, Subject
from worker.jobs.ticker import Ticker
from worker.jobs.topic import Topic

GRACE_MS: Final = 30_000
"""How long a change may take to arrive, beside the window."""
_TOGETHER: Final = 100  # users who are asked for before the topic is read on and they are judged


class Kind(StrEnum):
    """How an attribute differs."""

    MISSING = "missing"
    DIFFERENT = "different"
    UNEXPECTED = "unexpected"  # the destination holds it, and the topic does not say it


@dataclass(frozen=True, slots=True)
class Finding:
    """An attribute that differs. `last` is what the topic says, None for an unexpected one."""

    subject: Subject
    attribute: str
    kind: Kind
    last: Last | None = None
    returned: object = field(default=None, repr=False)


@dataclass(slots=True)
class Tally:
    """What was compared.

    Attributes:
        users: those chosen, also those that cannot be read.
        attributes: those of the topic that were judged: equal, missing or different.
        equal: of these, those that are the same.
        found: how many differ, by kind.
        young: changes that may still be on their way: not judged.
        nameless: users without a phone and an email.
        failed: users for whom the destination gave no usable answer, by its words.
        left: users that were chosen and not compared, because the job was stopped.
    """

    users: int = 0
    attributes: int = 0
    equal: int = 0
    found: Counter[Kind] = field(default_factory=Counter)
    young: int = 0
    nameless: int = 0
    failed: Counter[str] = field(default_factory=Counter)
    left: int = 0

    @property
    def unreadable(self) -> int:
        """Users that could not be compared."""
        return self.nameless + self.failed.total()


@dataclass(frozen=True, slots=True)
class Wish:
    """What to compare.

    Attributes:
        includes: whether a user is to be compared.
        matches: whether an attribute is, by its name.
        users_max: how many users, as a sample. None: all that are included.
        bytes_max: the memory for what the topic says of them.
        grace_ms: a change younger than this is not judged.
        belongs: whether an attribute that the topic does not say may be called unexpected. None if the log does not
            reach back to its beginning, so that nobody knows.
    """

    includes: Callable[[User], bool]
    matches: Callable[[str], bool]
    users_max: int | None
    bytes_max: int
    grace_ms: int
    belongs: Callable[[str], bool] | None


class Verify:
    """One run.

    Attributes:
        tally: what was compared so far.
        passes: how often the topic was read from its start.
    """

    def __init__(self, topic: Topic, asking: Asking, wish: Wish) -> None:
        self._topic = topic
        self._asking = asking
        self._wish = wish
        self.tally = Tally()
        self.passes = 0
        self._has_asked = False

    @property
    def unreadable_records(self) -> int:
        """Records of the latest pass that cannot be decoded."""
        return self._topic.unreadable

    def run(self, stopped: Callable[[], bool]) -> Iterator[Finding]:
        """What differs, as it is found. Ends early once `stopped`.

        Raises:
            DestinationFailed: As `Asking.each`.
            Standstill, RangeFailed, TopicsUnavailable: As `Topic.read`.
        """
        wish, after, left = self._wish, -1, self._wish.users_max
        while True:
            sample = Sample(left, wish.bytes_max, after)
            self.passes += 1
            self._topic.restart()
            self._read(sample, stopped)
            if stopped():
                return
            sample.close()
            yield from self._compare(sample, stopped)
            left = None if left is None else left - len(sample)
            after = sample.last_place
            if stopped() or not sample.cut or left == 0:
                return

    def _read(self, sample: Sample, stopped: Callable[[], bool]) -> None:
        """Into the sample, what stands in the topic up to its present end."""

        def take(event: Event, checked: Checked, source: Source) -> None:
            if checked.key is None or not self._wish.includes(event.user):
                return
            attributes = {name: value for name, value in checked.accepted.items() if self._wish.matches(name)}
            subject = sample.take(checked.key, checked.user, attributes, source) if attributes else None
            if not self._has_asked and subject is not None and lookup_of(subject):
                self._has_asked = True
                self._held([subject], stopped)  # reading may take hours: show at once if the account may not ask

        self._topic.read(take, stopped)

    def _compare(self, sample: Sample, stopped: Callable[[], bool]) -> Iterator[Finding]:
        subjects = sorted((each for each in sample if lookup_of(each)), key=lambda each: each.place)
        self.tally.users += len(sample)
        self.tally.nameless += len(sample) - len(subjects)
        self.tally.left = len(subjects)
        ticker = Ticker("asking")
        for first in range(0, len(subjects), _TOGETHER):
            ticker.show(len(subjects) - self.tally.left, len(subjects))
            read_before = dict(self._topic.positions)
            helds = self._held(subjects[first : first + _TOGETHER], stopped)
            self._read(sample, stopped)  # what came while they were asked for
            if stopped():
                break
            self.tally.left -= len(helds)
            for held in helds:
                yield from self._judge(held, read_before)
        ticker.end()

    def _held(self, subjects: Sequence[Subject], stopped: Callable[[], bool]) -> list[Held]:
        return sorted(self._asking.each(subjects, stopped), key=lambda held: held.subject.place)

    def _judge(self, held: Held, read_before: Mapping[Partition, int]) -> Iterator[Finding]:
        if held.attributes is None:
            self.tally.failed[held.problem] += 1
            return
        subject = held.subject
        for name, last in sorted(subject.last.items()):
            is_held = name in held.attributes
            if is_held and gives_back(last.value, held.attributes[name]):
                self.tally.equal += 1
            elif self._is_young(last, held, read_before):
                self.tally.young += 1
                continue
            else:
                kind = Kind.DIFFERENT if is_held else Kind.MISSING
                yield self._found(Finding(subject, name, kind, last, held.attributes.get(name)))
            self.tally.attributes += 1
        for name in sorted(held.attributes.keys() - subject.last.keys()):
            if self._wish.belongs is not None and self._wish.matches(name) and self._wish.belongs(name):
                yield self._found(Finding(subject, name, Kind.UNEXPECTED, None, held.attributes[name]))

    def _is_young(self, last: Last, held: Held, read_before: Mapping[Partition, int]) -> bool:
        """Whether the change may have been on its way when the destination was asked."""
        source = last.source
        came_later = source.offset >= read_before[source.partition]
        return came_later or source.timestamp_ms > held.asked_ms - self._wish.grace_ms

    def _found(self, finding: Finding) -> Finding:
        self.tally.found[finding.kind] += 1
        return finding
