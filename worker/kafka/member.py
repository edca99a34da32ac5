"""One member of a consumer group: records, commits and rebalance callbacks."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final

from confluent_kafka import Consumer, KafkaError, Message, TopicPartition
from structlog.typing import FilteringBoundLogger

from worker.core.facts import DeletedUnread
from worker.core.model import Partition, Record
from worker.kafka.closing import close_within
from worker.kafka.commits import Commits
from worker.kafka.connection import Connection, connecting, in_words
from worker.kafka.coordinator import Coordinator
from worker.kafka.missing_topics import MissingTopics
from worker.kafka.paused_logs import PausedLogs
from worker.kafka.positions import Positions
from worker.kafka.properties import Properties, consumer_properties, milliseconds, uses_kip_848
from worker.kafka.records import PollSize, partitions_of, runs_of
from worker.kafka.renewal import Renewal
from worker.kafka.unstarted import Unstarted
from worker.live.ports import Listener

COMMIT_SECONDS: Final = 5.0
"""How long `commit` with `wait` waits, by default."""

CLOSE_SECONDS: Final = 10.0
_BOUNDS_SECONDS: Final = 2.0


class SourceFailed(Exception):
    """The consumer failed for good: only a restart, with a new consumer, helps."""


class Subscription:
    """A member of the group, from `subscribe` on. Main thread only.

    Args:
        properties: the user's librdkafka properties with `bootstrap.servers` and `group.id`.
        topics: names. A name that starts with `^` is a pattern.
        log: gets rate-limited lines without any content of a record.

    Attributes:
        more_waits: whether the latest poll took all that it may take at once. More may be there already.

    Example:
        >>> subscription.subscribe(listener)
        >>> records = subscription.poll(0.1)  # also calls the listener
        >>> subscription.commit({records[-1].partition: records[-1].offset + 1})
        >>> subscription.close()
    """

    def __init__(self, properties: Properties, topics: Sequence[str], log: FilteringBoundLogger) -> None:
        self._in_callback = self._closing = self._rejoining = False
        kip_848 = uses_kip_848(properties)
        self._stays = "group.instance.id" in properties and not kip_848  # in the group, when it closes
        # Under KIP-848 the brokers set it, and librdkafka's default is theirs, too.
        self._session_seconds = milliseconds(properties, "session.timeout.ms") / 1000
        self._coordinator = Coordinator(kip_848=kip_848)
        self._assigned: set[Partition] = set()
        self._missing = MissingTopics(topics, self._assigned, log)
        self._connection = Connection("consumer", log, self._take_statistics, self._missing.suspect)
        self._log = log
        self._poll_size = PollSize()
        self.more_waits = False
        self._paused: set[Partition] = set()
        self._commits = Commits(self._assigned, log)
        self._positions = Positions(lambda partition: self._fetched(partition)[0])
        self._paused_logs = PausedLogs(properties, log)
        self._renewal = Renewal(properties, log)
        self._unstarted = Unstarted(self._assigned, log)
        self._listener_error: Exception | None = None
        with connecting():
            self._consumer = Consumer(
                {**consumer_properties(properties), **self._connection.callbacks(), "on_commit": self._commits.answered}
            )
        self._commits.begin(self._consumer)
        self._topics = list(topics)

    def subscribe(self, listener: Listener) -> None:
        """Joins the group. `poll` then calls the listener."""
        self._listener = listener
        self._subscribe()

    @property
    def joined(self) -> bool:
        """Whether an assignment (perhaps empty) was received, and not lost since.

        False while the coordinator is silent for longer than a session: the group has expelled this member then.
        """
        return self._coordinator.joined and not self._rejoining and self.silent_seconds < self._session_seconds

    @property
    def silent_seconds(self) -> float:
        """How long the coordinator has been silent, by librdkafka's statistics. 0 in a callback: none arrive there."""
        return 0.0 if self._in_callback else self._coordinator.silent_seconds

    @property
    def problem(self) -> str | None:
        """The latest connection, authentication or topic problem in words. None if all is well again."""
        connection = self._connection
        return connection.refusal or connection.problem or self._positions.problem or self._missing.problem

    def poll(self, timeout_seconds: float, records_max: int | None = None) -> list[Record]:
        """Waits up to `timeout_seconds` for the first record. Returns it with others that are there already.

        Returns at most `records_max`, and never more than about 2 MiB. Returns none before that time if a partition's
        end is reached, which `passed` then tells.

        Raises:
            SourceFailed: librdkafka reported a fatal error.
            Exception: whatever the listener raised in a rebalance callback. The records of this call are dropped; they
                stay uncommitted.
        """
        self._rejoin_if_due()
        # `consume(n, timeout)` waits until it has n records, or for the whole timeout. So wait for one record, then
        # take what is in the local queue.
        most = self._poll_size.most(records_max)
        messages = self._consumer.consume(1, timeout_seconds) if timeout_seconds else []
        if most > len(messages) and (messages or not timeout_seconds):
            messages += self._consumer.consume(most - len(messages), 0)
        self.more_waits = len(messages) == most
        self._raise_pending()
        records: list[Record] = []
        for run, end in runs_of(messages):
            self._positions.came(run)
            records += run
            if end is not None:
                self._failed(*end)
        if records:
            self._connection.answered()
            self._poll_size.saw(records)
            self._missing.saw(records)
        self._missing.recheck(self._consumer)
        return records

    def passed(self) -> Mapping[Partition, int]:
        """The next offset to read of each partition that is read to its end, if no record came since.

        It may lie behind the last record: a transaction ends with a control record, and aborted records are left out.
        """
        return self._positions.passed

    def deleted_unread(self) -> Sequence[DeletedUnread]:
        """The records deleted before this member read them, since the last call. Also those of paused partitions."""
        self._positions.begin_later(self._paused_logs.of(self._paused).starts)
        return self._positions.deleted()

    def renewed(self, topic: str) -> None:
        """The topic was deleted and made anew: the next poll begins to read it as a new topic."""
        self._renewal.add(topic)

    def rejoin(self) -> None:
        """Leaves the group. Joins it again once all partitions are revoked; some may be assigned again later.

        Amid a rebalance, librdkafka postpones the leave to its end. A `subscribe` before that would cancel it: the
        member would keep its partitions, and no callback would tell of them again.
        """
        self._rejoining = True
        self._consumer.unsubscribe()

    def assignment(self) -> set[Partition]:
        """The partitions that librdkafka holds for this member."""
        return set(partitions_of(self._consumer.assignment()))

    def commit(
        self,
        offsets: Mapping[Partition, int],
        *,
        note: str = "",
        wait: bool = False,
        timeout_seconds: float = COMMIT_SECONDS,
    ) -> None:
        """Commits each partition's next offset to read, with a note beside it (Kafka's commit metadata).

        Logs a refusal, and does not raise: `committed` does not move, so the next commit covers these offsets. With
        `wait`, commits again and again until the broker acknowledges, for at most `timeout_seconds`. In a rebalance
        callback, `wait` commits once and returns with the broker's answer, however late that is.
        """
        waits = wait and not self._closing
        if waits and not self._in_callback:
            self._commits.commit_until_acknowledged(offsets, note, timeout_seconds)
        else:
            self._commits.send(offsets, note, wait=waits)

    def committed(self) -> Mapping[Partition, int]:
        """The committed offsets of the assigned partitions, as the broker acknowledged or reported them."""
        return self._commits.acknowledged

    @property
    def commits_refused(self) -> int:
        """How many commits the broker refused, counted per partition where it says so."""
        return self._commits.refused

    def notes(self, partitions: Iterable[Partition]) -> list[str] | None:
        """The notes committed beside these partitions' offsets. None if the brokers do not answer in time.

        Don't call it from a rebalance callback.
        """
        notes = self._commits.notes(partitions)
        if notes is not None:
            self._positions.begin(self._commits.acknowledged)
        return notes

    def pause(self, partitions: Iterable[Partition]) -> None:
        """Stops fetching these partitions. Drops their fetched records, and fetches them again after `resume`.

        Ignores a partition that is not assigned. One that is revoked and assigned again is no longer paused.
        """
        assigned = self._assigned.intersection(partitions)
        self._consumer.pause([TopicPartition(*partition) for partition in assigned])
        self._paused |= assigned

    def resume(self, partitions: Iterable[Partition]) -> None:
        """Fetches these partitions again. Ignores a partition that is not assigned."""
        assigned = self._assigned.intersection(partitions)
        self._consumer.resume([TopicPartition(*partition) for partition in assigned])
        self._paused -= assigned

    def end_offsets(self) -> Mapping[Partition, int]:
        """The assigned partitions' end offsets, as last heard. A partition without any yet is absent. Never waits.

        Those of paused partitions are refreshed every `paused_logs.REFRESH_SECONDS`, now and then a turn later.
        """
        asked = self._paused_logs.of(self._paused).ends
        ends = {partition: max(self._fetched(partition)[1], asked.get(partition, -1)) for partition in self._assigned}
        return {partition: end for partition, end in ends.items() if end >= 0}

    def close(self, timeout_seconds: float = CLOSE_SECONDS) -> None:
        """Leaves the group. A static member does not: its partitions wait for it to come back.

        Calls `revoked` for what is assigned; its commits do not wait. Returns after `timeout_seconds` at the latest. A
        consumer that has not closed by then lives until the process ends, and the group waits for its session time-out.
        """
        deadline = time.monotonic() + timeout_seconds
        self._closing = True
        if self._stays:
            self._leave(self._give_up, list(self._assigned))
        else:
            self._consumer.unsubscribe()  # leaves the group, whoever calls it
        while self._assigned and time.monotonic() < deadline:
            self._consumer.consume(1, 0.05)  # runs the revoke in this thread. Drops a record: the next owner reads it
        if not close_within(self._consumer, deadline - time.monotonic()):
            self._log.warning("consumer_left_behind", waited_seconds=timeout_seconds)
        self._coordinator.out()
        self._raise_pending()

    def _subscribe(self) -> None:
        self._consumer.subscribe(
            self._topics, on_assign=self._on_assign, on_revoke=self._on_revoke, on_lost=self._on_lost
        )

    def _rejoin_if_due(self) -> None:
        if (why := self._renewal.forbidden) is not None:
            raise SourceFailed(why)
        if self._renewal.begin(self._assigned, self._bounds) or self._unstarted.overdue():
            self.rejoin()
        if self._rejoining and not self.assignment():
            self._rejoining = False
            self._coordinator.out()
            if self._assigned:  # librdkafka has given them up without a callback
                self._leave(self._listener.lost, list(self._assigned))
            self._subscribe()

    def _fetched(self, partition: Partition) -> tuple[int, int]:
        return self._consumer.get_watermark_offsets(TopicPartition(*partition), cached=True)

    def _bounds(self, partition: Partition) -> tuple[int, int]:
        return self._consumer.get_watermark_offsets(TopicPartition(*partition), timeout=_BOUNDS_SECONDS)

    def _end_reached(self, message: Message) -> None:
        # It comes in order with the records, so all records before this offset were returned.
        topic, number, offset = message.topic(), message.partition(), message.offset()
        if topic is None or number is None or offset is None or offset < 0:
            return
        if (partition := Partition(topic, number)) in self._assigned:
            self._positions.ended(partition, offset)
            self._missing.found([topic])

    def _failed(self, message: Message, error: KafkaError) -> None:
        topic, number = message.topic() or "", message.partition()
        if error.code() == KafkaError._PARTITION_EOF:  # noqa: SLF001 - a public name of the library
            self._end_reached(message)
        # With `auto.offset.reset=error`, librdkafka reports this once and then never reads the partition again.
        elif error.fatal() or error.code() == KafkaError._AUTO_OFFSET_RESET:  # noqa: SLF001 - a public name of the library
            raise SourceFailed(in_words(error))
        elif error.code() in {KafkaError.UNKNOWN_TOPIC_OR_PART, KafkaError.TOPIC_AUTHORIZATION_FAILED}:
            self._missing.add(topic, error)
        elif number is not None and (partition := Partition(topic, number)) in self._assigned:
            self._positions.failed(partition, in_words(error))
        else:
            self._connection.failed(error)

    def _take_statistics(self, statistics: Mapping[str, Any]) -> None:
        self._coordinator.take(statistics, holds=bool(self._assigned), well=self.problem is None)
        self._unstarted.take(statistics)

    def _on_assign(self, _: Consumer, partitions: list[TopicPartition]) -> None:
        gained = partitions_of(partitions)
        self._assigned.update(gained)
        self._positions.forget(gained)
        self._missing.found(partition.topic for partition in gained)
        self._coordinator.assigned()
        self._connection.joined()
        self._call_listener(self._listener.assigned, gained)

    def _on_revoke(self, _: Consumer, partitions: list[TopicPartition]) -> None:
        if not (self._stays and self._closing):  # then `close` has done it
            self._leave(self._give_up, partitions_of(partitions))

    def _give_up(self, partitions: list[Partition]) -> None:
        self._listener.revoked(partitions)
        self._commits.send(self._renewal.take_starts(partitions), "", wait=not self._closing)

    def _on_lost(self, _: Consumer, partitions: list[TopicPartition]) -> None:
        self._coordinator.out()
        self._leave(self._listener.lost, partitions_of(partitions))

    def _leave(self, callback: Callable[[list[Partition]], None], partitions: list[Partition]) -> None:
        self._call_listener(callback, partitions)
        # Else librdkafka would remember the pause, and keep it if it assigns the partition to this member again.
        self.resume(self._paused.intersection(partitions))
        self._assigned.difference_update(partitions)
        self._paused.difference_update(partitions)
        self._positions.forget(partitions)
        self._paused_logs.forget(partitions)
        self._commits.forget(partitions)

    def _call_listener(self, callback: Callable[[list[Partition]], None], partitions: list[Partition]) -> None:
        # If an exception left the callback, the binding would raise it out of whichever consumer call is running, and
        # that call's records would be lost. So keep it: `_raise_pending` raises it once, from a known place.
        self._in_callback = True
        try:
            callback(partitions)
        except Exception as raised:  # noqa: BLE001 - raised again as it is by _raise_pending
            self._listener_error = self._listener_error or raised
        finally:
            self._in_callback = False
            self._coordinator.begin_anew()  # statistics from during the callback come with the next poll

    def _raise_pending(self) -> None:
        if self._listener_error is not None:
            raised, self._listener_error = self._listener_error, None
            raise raised
        if self._connection.fatal is not None:
            raise SourceFailed(self._connection.fatal)
