"""The way to the dead-letter topic for a redrive: its own letters, and what is left of the engine's."""

from __future__ import annotations

from worker.core.model import Letter
from worker.core.replay.redrive import Redrive
from worker.live.ports import Clock, DeadLetters


class Mail:
    """Stands between the engine and the producer. To the engine it is the producer.

    What the engine says of letters under way becomes part of one letter later, so it counts as written at once.
    """

    def __init__(self, producer: DeadLetters, redrive: Redrive, clock: Clock) -> None:
        self._producer = producer
        self._redrive = redrive
        self._clock = clock
        self._kept: list[Letter] = []
        self._instead: dict[Letter, Letter] = {}
        self._ours: set[Letter] = set()

    def publish(self, letter: Letter) -> None:
        """A letter of the engine."""
        rest = self._redrive.keep(letter)
        if rest is None:
            self._kept.append(letter)
        else:
            self._instead[rest] = letter
            self._producer.publish(rest)

    def results(self) -> list[tuple[Letter, str | None]]:
        """What became of the engine's letters since the last call. Tells the redrive what became of its own."""
        found: list[tuple[Letter, str | None]] = [(letter, None) for letter in self._kept]
        self._kept.clear()
        for letter, error in self._producer.results():
            if letter not in self._ours:
                found.append((self._instead.pop(letter), error))
                continue
            self._ours.discard(letter)
            if error is None:
                self._redrive.written(letter, self._clock())
            else:
                self._redrive.failed(letter, self._clock())
        return found

    def post(self) -> None:
        """Sends the letters that the redrive wants written."""
        for letter in self._redrive.letters(self._clock()):
            self._ours.add(letter)
            self._producer.publish(letter)
