"""What the loop needs of the outside, each part as small as the loop uses it.

The worker fills these with librdkafka, sockets and a registry; the simulation fills them with models in virtual time.
No method waits, except where it says so.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Protocol, TypeAlias

from worker.core.model import Call, Letter, Now, Partition, Record, Reply

Clock: TypeAlias = Callable[[], Now]
"""Tells the present by both clocks."""


class Listener(Protocol):
    """Who hears of changes of the assignment. An exception out of it is raised by the poll that called it."""

    def assigned(self, partitions: list[Partition]) -> None:
        """These came; the list may be empty."""

    def revoked(self, partitions: list[Partition]) -> None:
        """These are about to go.

        They are still owned: commits are accepted until this returns, and no other member gets them before. It may
        take up to `max.poll.interval.ms`.
        """

    def lost(self, partitions: list[Partition]) -> None:
        """These are another member's already: commits for them would be refused."""


class Group(Protocol):
    """This worker's membership of the consumer group."""

    @property
    def joined(self) -> bool:
        """Whether an assignment, maybe an empty one, came and was not lost since."""

    @property
    def problem(self) -> str | None:
        """What is wrong with the brokers or a topic, in words; None when all is well."""

    @property
    def silent_seconds(self) -> float:
        """For how long the coordinator was not heard; 0 inside a callback, where nothing is heard."""

    @property
    def commits_refused(self) -> int:
        """Commits that the brokers did not take, since the start."""

    def subscribe(self, listener: Listener) -> None:
        """Asks to be let in. The listener is called from inside `poll` and `close`."""

    def poll(self, timeout_seconds: float) -> list[Record]:
        """The next records; waits up to `timeout_seconds` for the first."""

    def commit(self, offsets: Mapping[Partition, int], *, note: str = "", wait: bool = False) -> None:
        """Commits the next offset to read of each partition, with a note beside it. With `wait`: until it is taken."""

    def committed(self) -> Mapping[Partition, int]:
        """What the brokers acknowledged, of the partitions that are held."""

    def notes(self, partitions: Iterable[Partition]) -> list[str] | None:
        """The notes beside the committed offsets; None where the brokers do not tell. Waits; not for callbacks."""

    def pause(self, partitions: Iterable[Partition]) -> None:
        """No records of these for now."""

    def resume(self, partitions: Iterable[Partition]) -> None:
        """Records of these again, from where they stopped."""

    def end_offsets(self) -> Mapping[Partition, int]:
        """The end of each held partition's log, as last heard."""

    def rejoin(self) -> None:
        """Gives the membership up and begins another one."""

    def close(self) -> None:
        """Leaves the group. Waits, for seconds at most."""


class Standing(Protocol):
    """How the worker stands in its group, for those who only look."""

    @property
    def joined(self) -> bool:
        """Whether it is a member."""

    @property
    def problem(self) -> str | None:
        """What is wrong with the brokers or a topic, in words."""

    @property
    def draining(self) -> bool:
        """Whether a stop is under way."""

    @property
    def paused(self) -> Collection[Partition]:
        """Partitions of which no records are read for now."""

    def committed(self) -> Mapping[Partition, int]:
        """Committed offsets, as acknowledged."""

    def end_offsets(self) -> Mapping[Partition, int]:
        """The end of each partition's log, as last heard."""


class Reporter(Protocol):
    """Publishes how things stand. Told at every step, and slow only now and then."""

    def report(self, now: Now, standing: Standing) -> None:
        """Looks at the engine and at the membership."""


class Senders(Protocol):
    """The requests in flight."""

    @property
    def free(self) -> int:
        """How many more may be submitted."""

    def submit(self, call: Call) -> None:
        """Sends a call. It comes back from `replies` exactly once."""

    def replies(self, wait_seconds: float = 0.0) -> list[tuple[Call, Reply]]:
        """The calls that ended; waits up to `wait_seconds` for the first where one is in flight."""

    def abort(self, calls: Iterable[Call]) -> None:
        """Writes nothing more of these; their replies say `Failure.ABORTED`, unless they had just ended."""


class DeadLetters(Protocol):
    """The way to the dead-letter topic."""

    def publish(self, letter: Letter) -> None:
        """Sends a letter. What became of it comes from `results`."""

    def results(self) -> list[tuple[Letter, str | None]]:
        """Letters with None where all in-sync replicas have it, else with the error in words."""


class Schemas(Protocol):
    """Where writer schemas come from: answers for the schema ids in records. No method waits for a network."""

    def request(self, schema_id: int) -> None:
        """Asks for a schema. Asking twice is harmless. A full source drops requests, so ask until it has answered."""

    def answers(self) -> list[tuple[int, object | None]]:
        """The answers since the last call: a schema as `json.loads` gives it, or None if the id does not exist."""

    def dead_letter_schema_id(self) -> int | None:
        """The id to frame dead letters with. None while it is not known."""

    def waiting(self) -> str | None:
        """What it waits for, and how to mend it, without secrets. None if it waits for nothing."""

    def close(self) -> None:
        """Stops. There are no answers afterwards."""


class Token(Protocol):
    """The bearer token."""

    def reload(self) -> bool:
        """Reads it again where it lies in a file; whether it is another one now."""
