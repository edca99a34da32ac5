"""Protocols of the parts that the loop uses, each as small as the loop needs.

The worker implements them with librdkafka, sockets and a registry, the simulation with models in virtual time. No
method blocks, unless it says that it waits.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Protocol, TypeAlias

from worker.core.facts import DeletedUnread
from worker.core.model import Call, Letter, Now, Partition, Record, Reply, SchemaId

Clock: TypeAlias = Callable[[], Now]
"""Returns the present by both clocks."""


class Listener(Protocol):
    """Gets changes of the assignment. If it raises, the `poll` that called it raises the same."""

    def assigned(self, partitions: list[Partition]) -> None:
        """These were assigned. The list may be empty."""

    def revoked(self, partitions: list[Partition]) -> None:
        """These are about to go.

        They stay this member's until this returns: the brokers accept commits, and no other member gets them. It may
        take up to `max.poll.interval.ms`.
        """

    def lost(self, partitions: list[Partition]) -> None:
        """Another member has these already: the brokers would refuse commits."""


class Group(Protocol):
    """This worker's membership of the consumer group."""

    @property
    def joined(self) -> bool:
        """Whether an assignment (perhaps empty) was received, and not lost since."""

    @property
    def problem(self) -> str | None:
        """What is wrong with the brokers or a topic, in words. None if all is well."""

    @property
    def silent_seconds(self) -> float:
        """How long the coordinator has been silent. 0 inside a callback, where the client cannot know."""

    @property
    def commits_refused(self) -> int:
        """The number of commits that the brokers refused since the start."""

    @property
    def more_waits(self) -> bool:
        """Whether the latest poll took all that it may take at once. More may be there already."""

    def subscribe(self, listener: Listener) -> None:
        """Joins the group. `poll` and `close` call the listener."""

    def poll(self, timeout_seconds: float, records_max: int | None = None) -> list[Record]:
        """The next records, at most `records_max`; waits up to `timeout_seconds` for the first."""

    def passed(self) -> Mapping[Partition, int]:
        """The next offset of each partition that is read to its end: what lies before it is no record, or was polled.

        Only of partitions from which no record was polled since.
        """

    def deleted_unread(self) -> Sequence[DeletedUnread]:
        """The records that were deleted before this member read them, since the last call."""

    def commit(self, offsets: Mapping[Partition, int], *, note: str = "", wait: bool = False) -> None:
        """Commits each partition's next offset to read, with a note beside it. With `wait`, waits for the answer."""

    def committed(self) -> Mapping[Partition, int]:
        """The assigned partitions' committed offsets that the brokers acknowledged."""

    def notes(self, partitions: Iterable[Partition]) -> list[str] | None:
        """The notes beside the committed offsets. None if the brokers do not answer. Waits; not for callbacks."""

    def pause(self, partitions: Iterable[Partition]) -> None:
        """Stops fetching these partitions."""

    def resume(self, partitions: Iterable[Partition]) -> None:
        """Fetches these partitions again, from where they stopped."""

    def end_offsets(self) -> Mapping[Partition, int]:
        """The assigned partitions' end offsets, as last heard."""

    def assignment(self) -> set[Partition]:
        """The partitions that the client holds, by its own account. Not for callbacks."""

    def rejoin(self) -> None:
        """Leaves the group, and joins it again once all partitions are revoked or lost."""

    def close(self) -> None:
        """Leaves the group. Waits, for seconds at most."""


class Standing(Protocol):
    """The worker's standing in its group, read-only."""

    @property
    def joined(self) -> bool:
        """Whether it is a member."""

    @property
    def problem(self) -> str | None:
        """What is wrong with the brokers or a topic, in words. None if all is well."""

    @property
    def draining(self) -> bool:
        """Whether a stop is under way."""

    @property
    def paused(self) -> Collection[Partition]:
        """The paused partitions."""

    def committed(self) -> Mapping[Partition, int]:
        """The committed offsets that the brokers acknowledged."""

    def end_offsets(self) -> Mapping[Partition, int]:
        """The end offsets, as last heard."""


class Reporter(Protocol):
    """Publishes the worker's status. Called at every step, so it must be cheap most of the time."""

    def report(self, now: Now, standing: Standing) -> None:
        """Reports the engine's status and the membership's standing."""


class Senders(Protocol):
    """The requests in flight."""

    @property
    def free(self) -> int:
        """How many more may be submitted."""

    def submit(self, call: Call) -> None:
        """Sends a call. It comes back from `replies` exactly once."""

    def rest(self, seconds: float) -> None:
        """Waits for so long. Requests go on meanwhile."""

    def replies(self, wait_seconds: float = 0.0) -> list[tuple[Call, Reply]]:
        """The calls that ended. If any is in flight, waits up to `wait_seconds` for the first."""

    def abort(self, calls: Iterable[Call]) -> None:
        """Cuts these calls short. Their replies say `Failure.ABORTED`, unless they had just ended."""


class DeadLetters(Protocol):
    """The way to the dead-letter topic."""

    def publish(self, letter: Letter) -> None:
        """Sends a letter. `results` returns the outcome."""

    def results(self) -> list[tuple[Letter, str | None]]:
        """The outcomes since the last call: None if all in-sync replicas have the letter, else the error in words."""


class Receipts(Protocol):
    """The writer of receipts, as the status shows it."""

    @property
    def written(self) -> int:
        """Receipts that the brokers acknowledged."""

    @property
    def lost(self) -> int:
        """Receipts that were given up."""

    @property
    def problem(self) -> str | None:
        """Why the latest one was lost. None once one was written again."""

    def step(self) -> None:
        """Takes the delivery reports that have come."""


class Schemas(Protocol):
    """Where writer schemas come from: answers for the schema ids in records. No method waits for a network."""

    def request(self, schema_id: SchemaId) -> None:
        """Asks for a schema. Asking twice is harmless. A full source drops requests, so ask until it has answered."""

    def answers(self) -> list[tuple[SchemaId, object | None]]:
        """The answers since the last call: a schema as `json.loads` gives it, or None if the id does not exist."""

    def dead_letter_schema_id(self) -> int | None:
        """The id to frame dead letters with. None while it is not known."""

    def receipt_schema_id(self) -> int | None:
        """The id to frame receipts with. None while it is not known."""

    def waiting(self) -> str | None:
        """What it waits for, and how to mend it, without secrets. None if it waits for nothing."""

    def close(self) -> None:
        """Stops. There are no answers afterwards."""


class Token(Protocol):
    """The bearer token."""

    def reload(self) -> bool:
        """Reads the token file again, if there is one. Returns whether the token has changed."""
