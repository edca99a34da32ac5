"""Records in: one member of a consumer group."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from threading import Thread
from typing import Any, Final

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition
from structlog.typing import FilteringBoundLogger

from worker.core.model import Partition, Record
from worker.kafka.commits import Commits
from worker.kafka.connection import Connection, connecting, in_words
from worker.kafka.end_offsets import EndOffsets
from worker.kafka.properties import Properties, consumer_properties, uses_kip_848
from worker.kafka.records import record_of
from worker.live.ports import Listener
from worker.logs import LogLimiter

COMMIT_SECONDS: Final = 5.0
"""How long a commit that waits does so, unless told otherwise."""

CLOSE_SECONDS: Final = 10.0

_TOPIC_RECHECK_SECONDS: Final = 10.0
_RECORDS_MAX: Final = 500  # that one `poll` returns
# Classic protocol: in a rebalance the coordinator answers nobody until all have joined, and keeps those that wait.
_COORDINATOR_WAITS: Final = frozenset({"wait-join", "wait-metadata", "wait-sync"})


class SourceFailed(Exception):
    """The consumer cannot go on; only a new one (a restart) can."""


class Subscription:
    """A member of the group, from `subscribe` on. Every method is called from the main thread only.

    Args:
        properties: the user's librdkafka properties with `bootstrap.servers` and `group.id`.
        topics: names; one that starts with `^` is a pattern.
        log: receives rate-limited lines that hold no record's content.
    """

    def __init__(self, properties: Properties, topics: Sequence[str], log: FilteringBoundLogger) -> None:
        self._assignment_seen = False
        self._idle_member = False
        self._in_callback = self._closing = False
        self._kip_848 = uses_kip_848(properties)
        self._heard_at = time.monotonic()
        self._connection = Connection("consumer", log, self._measured, self._topic_gone)
        self._log = log
        self._limit = LogLimiter()
        self._assigned: set[Partition] = set()
        self._paused: set[Partition] = set()
        self._commits = Commits(self._assigned, log)
        self._end_offsets = EndOffsets(properties, log)
        self._topic_problems: dict[str, str] = {}
        self._topics_checked = time.monotonic()
        self._raised: Exception | None = None
        with connecting():
            self._consumer = Consumer(
                {
                    **consumer_properties(properties),
                    **self._connection.callbacks(),
                    "on_commit": self._commits.answered,
                }
            )
        self._commits.begin(self._consumer)
        self._topics = list(topics)
        self._listener: Listener

    def subscribe(self, listener: Listener) -> None:
        """Asks to be let into the group."""
        self._listener = listener
        self._subscribe()

    @property
    def joined(self) -> bool:
        """Whether an assignment (an empty one too) was received, and not lost since."""
        return self._assignment_seen or self._idle_member

    @property
    def silent_seconds(self) -> float:
        """How long the coordinator has been silent, as statistics tell; 0 inside a callback, where they do not come."""
        return 0.0 if self._in_callback else max(0.0, time.monotonic() - self._heard_at)

    @property
    def problem(self) -> str | None:
        """The latest connection, authentication or topic problem in words; None once well again."""
        return self._connection.problem or next(iter(self._topic_problems.values()), None)

    def poll(self, timeout_seconds: float) -> list[Record]:
        """Wait for records, but no longer than needed for the first one.

        Raises:
            SourceFailed: librdkafka met a fatal error.
            Exception: whatever a rebalance callback raised; records fetched by that call are dropped, uncommitted.
        """
        # `consume(n, timeout)` waits for n records or the whole timeout, however few trickle in. So: wait for one,
        # then take what lies in the local queue.
        messages = self._consumer.consume(1, timeout_seconds)
        if messages:
            messages += self._consumer.consume(_RECORDS_MAX - 1, 0)
        self._raise_pending()
        records = [record for message in messages if (record := self._record(message)) is not None]
        if records:
            self._connection.answered()
        self._recheck_topics()
        return records

    def rejoin(self) -> None:
        """Give the membership up and begin a new one: what is held is revoked, and comes back by assignment only."""
        self._consumer.unsubscribe()
        self._subscribe()

    def commit(
        self,
        offsets: Mapping[Partition, int],
        *,
        note: str = "",
        wait: bool = False,
        timeout_seconds: float = COMMIT_SECONDS,
    ) -> None:
        """Commit the next offset to read of each partition, with a note that lies beside it (Kafka's metadata).

        A refusal is logged and otherwise passed over: `committed` does not move, and the next commit covers it.
        With `wait`, returns when the broker has taken it, or after `timeout_seconds`, and sends it again until then.
        In a rebalance callback it is sent once, and returns with the broker's answer, however late.
        """
        waits = wait and not self._closing
        if waits and not self._in_callback:
            self._commits.commit_until_acknowledged(offsets, note, timeout_seconds)
        else:
            self._commits.send(offsets, note, wait=waits)

    def committed(self) -> Mapping[Partition, int]:
        """Offsets that the broker acknowledged or told as committed, for partitions held now."""
        return self._commits.acknowledged

    @property
    def commits_refused(self) -> int:
        """Commits, or partitions of them, that the broker did not take."""
        return self._commits.refused

    def notes(self, partitions: Iterable[Partition]) -> list[str] | None:
        """The notes that were committed beside these partitions' offsets; None where the brokers do not tell in time.

        Not to be called from a rebalance callback.
        """
        return self._commits.notes(partitions)

    def pause(self, partitions: Iterable[Partition]) -> None:
        """Stop fetching; records already fetched of these partitions are fetched again after `resume`.

        A partition that leaves and comes back is not paused any more; one that is not held is passed over.
        """
        held = self._assigned.intersection(partitions)
        self._consumer.pause([TopicPartition(*partition) for partition in held])
        self._paused |= held

    def resume(self, partitions: Iterable[Partition]) -> None:
        """Fetch again; a partition that is not held is passed over."""
        held = self._assigned.intersection(partitions)
        self._consumer.resume([TopicPartition(*partition) for partition in held])
        self._paused -= held

    def end_offsets(self) -> Mapping[Partition, int]:
        """High watermarks as last heard; a partition of which nothing was heard yet is absent. Never waits.

        Those of paused partitions are up to `end_offsets.REFRESH_SECONDS` old.
        """
        asked = self._end_offsets.of(self._paused)
        ends = {}
        for partition in self._assigned:
            _, fetched = self._consumer.get_watermark_offsets(TopicPartition(*partition), cached=True)
            end = max(fetched, asked.get(partition, -1))
            if end >= 0:
                ends[partition] = end
        return ends

    def close(self, timeout_seconds: float = CLOSE_SECONDS) -> None:
        """Leave the group; `on_revoked` is called for what is still held, and its commits are sent but not awaited.

        Returns after `timeout_seconds` at the latest. The member is then left to the process's end, and the group
        to its session time-out.
        """
        deadline = time.monotonic() + timeout_seconds
        self._closing = True
        self._consumer.unsubscribe()
        while self._assigned and time.monotonic() < deadline:
            self._consumer.consume(1, 0.05)  # runs the revoke in this thread; a record is for the next owner
        # librdkafka's close has no time-out: before a frozen broker it waits for answers to commits for minutes.
        closer = Thread(target=self._consumer.close, name="kafka-close", daemon=True)
        closer.start()
        closer.join(max(0.0, deadline - time.monotonic()))
        if closer.is_alive():
            self._log.warning("consumer did not close in time, left behind", waited_seconds=timeout_seconds)
        self._assignment_seen = self._idle_member = False
        self._raise_pending()

    def _subscribe(self) -> None:
        self._consumer.subscribe(self._topics, on_assign=self._gained, on_revoke=self._revoked, on_lost=self._lost)

    def _record(self, message: Message) -> Record | None:
        error = message.error()
        topic = message.topic() or ""
        if error is not None:
            self._failed(topic, error)
            return None
        return record_of(message)

    def _failed(self, topic: str, error: KafkaError) -> None:
        # With `auto.offset.reset` at `error` librdkafka says so once, and reads the partition no more.
        if error.fatal() or error.code() == KafkaError._AUTO_OFFSET_RESET:  # noqa: SLF001 - a public name of the library
            raise SourceFailed(in_words(error))
        if error.code() in {KafkaError.UNKNOWN_TOPIC_OR_PART, KafkaError.TOPIC_AUTHORIZATION_FAILED}:
            self._topic_problems[topic] = f"topic {topic}: {in_words(error)}"
            self._topics_checked = time.monotonic()
            if self._limit.allows((topic, error.code()), time.monotonic()):
                self._log.warning("topic unavailable", topic=topic, error=in_words(error))
        else:
            self._connection.failed(error)

    def _topic_gone(self, error: KafkaError) -> None:
        # Only the error's text says which topic it was: all that are named stand suspected until they were asked for.
        self._topics_checked = float("-inf")
        for topic in self._topics:
            if not topic.startswith("^"):
                self._topic_problems.setdefault(topic, f"topic {topic}: {in_words(error)}")

    def _recheck_topics(self) -> None:
        """Ask about topics that were missing: librdkafka tells when one is found wrong, but not when it is well."""
        now = time.monotonic()
        if not self._topic_problems or now - self._topics_checked < _TOPIC_RECHECK_SECONDS:
            return
        self._topics_checked = now
        for topic in list(self._topic_problems):
            try:
                found = self._consumer.list_topics(topic, timeout=1.0).topics[topic]
            except KafkaException:
                return  # no broker answers: `problem` has that from error_cb
            if found.error is None:
                del self._topic_problems[topic]

    def _measured(self, statistics: Mapping[str, Any]) -> None:
        group = statistics.get("cgrp", {})
        # Under KIP-848 a member that gets no partition hears of no assignment: librdkafka calls back for changes
        # only. It heartbeats as soon as its coordinator is up, and a refusal of those is a `problem`.
        if self._kip_848:
            self._idle_member = group.get("state") == "up" and self.problem is None
        elif group.get("join_state") in _COORDINATOR_WAITS:
            self._heard_at = time.monotonic()
            return
        # By this connection go the group's requests alone, first of all heartbeats. A new one has heard nothing.
        idle_us = statistics["brokers"].get("GroupCoordinator", {}).get("rxidle", -1)
        if idle_us >= 0:
            self._heard_at = (statistics["ts"] - idle_us) / 1e6  # Linux: both are CLOCK_MONOTONIC

    def _gained(self, _: Consumer, partitions: list[TopicPartition]) -> None:
        gained = _plain(partitions)
        self._assigned.update(gained)
        for partition in gained:
            self._topic_problems.pop(partition.topic, None)
        self._assignment_seen = True
        self._connection.answered()
        self._guarded(self._listener.assigned, gained)

    def _revoked(self, _: Consumer, partitions: list[TopicPartition]) -> None:
        self._leave(self._listener.revoked, _plain(partitions))

    def _lost(self, _: Consumer, partitions: list[TopicPartition]) -> None:
        self._assignment_seen = self._idle_member = False
        self._leave(self._listener.lost, _plain(partitions))

    def _leave(self, callback: Callable[[list[Partition]], None], partitions: list[Partition]) -> None:
        self._guarded(callback, partitions)
        self._assigned.difference_update(partitions)
        self._paused.difference_update(partitions)
        self._commits.forget(partitions)

    def _guarded(self, callback: Callable[[list[Partition]], None], partitions: list[Partition]) -> None:
        # An exception that passes through librdkafka skips nothing but is raised by whichever call comes out of C
        # first, together with the loss of its records; kept and raised by us, it comes once and from a known place.
        self._in_callback = True
        try:
            callback(partitions)
        except Exception as raised:  # noqa: BLE001 - raised again as it is by _raise_pending
            self._raised = self._raised or raised
        finally:
            self._in_callback = False
            self._heard_at = time.monotonic()  # what was said meanwhile comes with the next poll

    def _raise_pending(self) -> None:
        if self._raised is not None:
            raised, self._raised = self._raised, None
            raise raised
        if self._connection.fatal is not None:
            raise SourceFailed(self._connection.fatal)


def _plain(partitions: Iterable[TopicPartition]) -> list[Partition]:
    return [Partition(partition.topic, partition.partition) for partition in partitions]
