"""The checks on a redrive, beside those on every job: each letter ends as it must, and none is forgotten."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

from tests.simulation.lanes import Lane
from tests.simulation.plan import NUMBERS
from tests.simulation.promises import PromiseBroken
from tests.simulation.replay_check import ReplayCheck
from tests.simulation.senders import Flight
from worker.core.letters.folding import DELIVERED, OPEN, REFUSED_AGAIN, SUPERSEDED, Folding, Place
from worker.core.model import LOSSES, Letter, Reason

if TYPE_CHECKING:
    from tests.simulation.job import Job

_SENT = {Reason.REJECTED, Reason.NOT_FOUND, Reason.SERVER_ERROR, Reason.UNEXPECTED_STATUS}


class RedriveCheck(ReplayCheck):
    """Watches the processes of redrives, one after the other."""

    _topic: list[Letter]

    def starts(self, topic: list[Letter]) -> None:
        """A process starts, and finds these records."""
        self._topic = topic
        self._begun: dict[object, str] = {}  # by user: the letter that the process has marked, until it is ended
        self._again: dict[str, int] = {}  # letters that the process has written again, and with how many attempts

    def _count_repeats(self, flight: Flight) -> None:
        """A letter is a call: what `written` counts is enough."""

    def killed(self, job: Job, concurrency: int) -> None:
        """A process is killed, or has ended."""
        super().killed(job, concurrency)
        self._begun = {}

    def published(self, letter: Letter, reach: Mapping[int, int], now: float) -> None:
        """The job hands a record to its producer."""
        if letter.reason is Reason.BEGUN:
            user = self._original(letter).user
            other = self._begun.setdefault(user, letter.id)
            if other != letter.id:
                raise PromiseBroken("one letter", f"user {NUMBERS.get(user)}: the next one begins before one is ended")  # type: ignore[arg-type]  # a letter that is sent has a user
        elif letter.reason is not Reason.RESOLVED:
            if letter.id:
                self._original(replace(letter, attempts=letter.attempts - 1))
                if self._again.setdefault(letter.id, letter.attempts) != letter.attempts:
                    raise PromiseBroken("attempts", f"a letter is refused again twice in a run: {letter}")
            super().published(letter, reach, now)

    def written(self, letter: Letter) -> None:
        """A record is in the dead-letter topic."""
        if letter.reason is Reason.RESOLVED:
            self._resolved(letter)
        elif letter.reason is not Reason.BEGUN:
            super().written(letter)

    def _resolved(self, end: Letter) -> None:
        letter = self._original(end)
        self._begun = {user: known for user, known in self._begun.items() if known != letter.id}
        if end.detail == REFUSED_AGAIN:
            if not any(each.id == end.id and each.attempts == end.attempts + 1 for each in self._topic):
                raise PromiseBroken("resolution", f"nothing is left of a letter that was refused again: {letter}")
            return
        newest = 0
        for lane, index in self._values(letter):
            last = index == len(lane.values) - 1
            newest += last
            where = f"user {lane.user}, {lane.name}: change {index}"
            if last and end.detail == DELIVERED and max(lane.replayed, lane.applied) < index:
                raise PromiseBroken("resolution", f"{where} counts as delivered")
            if lane.replayed == lane.stands == index < lane.highest:
                raise PromiseBroken("left behind", f"{where} stands after {lane.highest}, and its letter is ended")
        if end.detail == SUPERSEDED and newest:
            raise PromiseBroken("resolution", f"a letter counts as superseded, and has a newest value: {letter}")

    def ends(self, topic: list[Letter]) -> None:
        """The last redrive is done: no older value stands, and every letter that can be delivered is ended."""
        for lane in self._oracle.lanes.values():
            if lane.given_up < 0 and lane.stands < lane.highest and lane.replayed == lane.stands:
                what = f"change {lane.stands} after {lane.highest}"
                raise PromiseBroken("left behind", f"user {lane.user}, {lane.name}: the job leaves {what}")
        folding = Folding()
        for offset, letter in enumerate(topic):
            folding.take(letter, Place(0, offset))
        for offset, letter in enumerate(topic):
            if not folding.stands(letter, Place(0, offset)) or folding.state(letter.id) != OPEN:
                continue
            if letter.reason in _SENT and not self._is_refused(self._values(letter)):
                raise PromiseBroken("left open", f"a letter that can be delivered: {letter}")

    def _is_refused(self, values: Iterable[tuple[Lane, int]]) -> bool:
        return any(self._attentive.refuses(lane.name, lane.values[index]) for lane, index in values)

    def _values(self, letter: Letter) -> Iterator[tuple[Lane, int]]:
        for lost in letter.attributes:
            lane = self._lane(lost)
            if lane is not None:
                yield lane, self._index(lane, lost)

    def _original(self, told: Letter) -> Letter:
        """The letter that a record tells of."""
        for letter in self._topic:
            if letter.reason in LOSSES and (letter.id, letter.attempts) == (told.id, told.attempts):
                return letter
        raise PromiseBroken("resolution", f"there is no letter that this tells of: {told}")
