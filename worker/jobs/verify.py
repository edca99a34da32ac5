"""Compares what the topic says with what the destination holds, user by user. If wanted, mends what differs."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from worker.core.held import gives_back
from worker.core.model import Checked, Event, Partition, Source, User
from worker.jobs.asking import Asking, Held, lookup_of
from worker.jobs.findings import Finding, Kind, Tally, Wrong
from worker.jobs.repair import Refused, Repair
from worker.jobs.sample import Last, Sample, Subject
from worker.jobs.ticker import Stages, Ticker
from worker.jobs.topic import Topic

GRACE_MS: Final = 30_000
"""How long a change may take to arrive, beside the window."""
_TOGETHER: Final = 100  # users who are asked for before the topic is read on and they are judged
_READ_BACK_AFTER_SECONDS: Final = (0.0, 3.0)  # Attentive does not say how soon it gives back what it took


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

    Args:
        topic: what the topic says.
        asking: what the destination holds.
        wish: what to compare.
        repair: mends what differs. None: it only looks.

    Attributes:
        tally: what was compared so far.
        passes: how often the topic was read from its start.
    """

    def __init__(
        self,
        topic: Topic,
        asking: Asking,
        wish: Wish,
        repair: Repair | None = None,
        sleep: Callable[[float], object] = time.sleep,
        stages: Stages = Ticker,
    ) -> None:
        self._topic = topic
        self._stages = stages
        self._asking = asking
        self._wish = wish
        self._repair = repair
        self._sleep = sleep
        self.tally = Tally()
        self.passes = 0
        self._has_asked = False

    @property
    def unreadable_records(self) -> int:
        """Records of the latest pass that cannot be decoded."""
        return self._topic.unreadable

    def run(self, stopped: Callable[[], bool]) -> Iterator[Finding]:
        """What differs, as it is found. What is to be mended is mended after that. Ends early once `stopped`.

        Raises:
            DestinationFailed: As `Asking.each`.
            Unfinished, RangeFailed, TopicsUnavailable: As `Topic.read` and `Repair.send`.
            SendersStoppedError: As `Repair.send`.
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
            wrong: list[Wrong] = []
            for finding in self._compare(sample, stopped):
                if self._repair is not None and finding.last is not None:
                    wrong.append(Wrong(finding.subject, finding.attribute, finding.last))
                yield finding
            if self._repair is not None and not stopped():
                self._mend(self._repair, sample, wrong, stopped)
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
                self._ask([subject], stopped)  # reading may take hours: show at once if the account may not ask

        self._topic.read(take, stopped)

    def _compare(self, sample: Sample, stopped: Callable[[], bool]) -> Iterator[Finding]:
        subjects = [each for each in sample if lookup_of(each)]
        self.tally.users += len(sample)
        self.tally.nameless += len(sample) - len(subjects)
        self.tally.left = len(subjects)
        for held, read_before in self._held(sample, subjects, "asking", stopped):
            self.tally.left -= 1
            yield from self._judge(held, read_before)

    def _held(
        self, sample: Sample, subjects: Iterable[Subject], stage: str, stopped: Callable[[], bool]
    ) -> Iterator[tuple[Held, Mapping[Partition, int]]]:
        """What is held of each, once the topic is read on; and up to where that was read before the question."""
        ordered = sorted(subjects, key=lambda each: each.place)
        ticker = self._stages(stage)
        for first in range(0, len(ordered), _TOGETHER):
            ticker.show(first, len(ordered), unit="users")
            read_before = dict(self._topic.positions)
            helds = self._ask(ordered[first : first + _TOGETHER], stopped)
            self._read(sample, stopped)  # what came while they were asked for
            if stopped():
                break
            for held in helds:
                yield held, read_before
            ticker.show(min(first + _TOGETHER, len(ordered)), len(ordered), unit="users")
        ticker.end()

    def _ask(self, subjects: Sequence[Subject], stopped: Callable[[], bool]) -> list[Held]:
        return sorted(self._asking.each(subjects, stopped), key=lambda held: held.subject.place)

    def _judge(self, held: Held, read_before: Mapping[Partition, int]) -> Iterator[Finding]:
        if held.attributes is None:
            self.tally.failed[held.problem] += 1
            return
        subject = held.subject
        for name, last in sorted(subject.last.items()):
            if _is_held(held, name, last):
                self.tally.equal += 1
            elif self._is_young(last, held, read_before):
                self.tally.young += 1
                continue
            else:
                kind = Kind.DIFFERENT if name in held.attributes else Kind.MISSING
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

    def _mend(self, repair: Repair, sample: Sample, wrong: Sequence[Wrong], stopped: Callable[[], bool]) -> None:
        """Sends what is still the last word, and sees whether the destination holds it then."""
        sent = [each for each in wrong if each.is_last]
        self.tally.overtaken += len(wrong) - len(sent)
        if not sent:
            return
        refused = repair.send(sent, dict(self._topic.positions), stopped)
        for seconds in _READ_BACK_AFTER_SECONDS:
            if sent and not stopped():
                self._sleep(seconds)
                sent = self._read_back(sample, sent, refused, stopped)
        if sent and not stopped():
            self.tally.unmended["Attentive still holds something else, or nothing"] += len(sent)

    def _read_back(
        self, sample: Sample, sent: Sequence[Wrong], refused: Refused, stopped: Callable[[], bool]
    ) -> list[Wrong]:
        """Asks for their users, and counts what is mended. Returns the others of which another look may tell more."""
        waiting: dict[Subject, list[Wrong]] = defaultdict(list)
        for each in sent:
            waiting[each.subject].append(each)
        open_still: list[Wrong] = []
        for held, _ in self._held(sample, list(waiting), "reading back", stopped):
            for each in waiting[held.subject]:
                reason = refused.get((each.subject.key, each.attribute))
                if not each.is_last:
                    self.tally.overtaken += 1
                elif held.attributes is None:
                    self.tally.unmended[f"it could not be read again: {held.problem}"] += 1
                elif _is_held(held, each.attribute, each.last):
                    self.tally.repaired += 1
                elif reason is not None:
                    self.tally.unmended[f"it became a dead letter ({reason}), see `dead-letters list`"] += 1
                else:
                    open_still.append(each)
        return open_still


def _is_held(held: Held, name: str, last: Last) -> bool:
    attributes = held.attributes or {}
    return name in attributes and gives_back(last.value, attributes[name])
