"""What is measured side by side, whatever it is: how it is started, watched and ended."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from bench.destination import Counted, Destination
from tests.support.brokers import Broker


class NotMeasured(Exception):
    """The run did not do what it was to measure; the message says what it did instead."""


@dataclass(frozen=True)
class Bench:
    """Where the contenders run: their broker, their destination, and a folder for what they write."""

    broker: Broker
    destination: Destination
    directory: Path


@dataclass(frozen=True)
class Work:
    """What is to be done: so many events of a topic. `settings` are the worker's own, beside those that it needs."""

    topic: str
    events: int
    window_seconds: float
    settings: Mapping[str, str] = field(default_factory=dict)


class Running(Protocol):
    """A contender's process."""

    @property
    def pid(self) -> int:
        """Of the process itself."""

    @property
    def ended(self) -> bool:
        """Whether the process is gone."""

    def assigned(self) -> float | None:
        """When it was given partitions, in seconds since the epoch; None until then."""

    def finished(self) -> float | None:
        """When all was done that it was to do; None until then."""

    def tail(self) -> str:
        """The end of what it wrote, for the message of a failure."""

    def check(self) -> None:
        """Looks at what it did until now.

        Raises:
            NotMeasured: it lost or refused something, or sent it again.
        """

    def finish(self, called: Counted) -> None:
        """Ends it in order, after it has finished.

        Raises:
            NotMeasured: it did something else than each event once.
        """

    def kill(self) -> None:
        """Ends it at once."""


class Contender(Protocol):
    """One way of doing the work."""

    @property
    def name(self) -> str:
        """As the report calls it."""

    def start(self, bench: Bench, work: Work) -> Running:
        """Starts it in a new group, on the core for what is measured."""
