"""Checks of the brokers, the topics, the group and the dead-letter topic. Writes and creates nothing."""

from __future__ import annotations

from collections.abc import Iterator

from structlog.typing import FilteringBoundLogger

from worker import wiring
from worker.commands.check.finding import ASK_SECONDS, Finding
from worker.kafka.access import (
    GroupForbidden,
    GroupUnavailable,
    creation_problem,
    group_members,
    read_problem,
    write_problem,
)
from worker.kafka.connection import PropertiesRefused
from worker.kafka.topics import Admin, TopicRefused, TopicsUnavailable, compaction_problem, exists, partition_counts
from worker.settings.model import KafkaSettings, Settings


def check_kafka(settings: Settings, log: FilteringBoundLogger) -> Iterator[Finding]:
    """One line each for the brokers, every topic, the group and the dead-letter topic."""
    kafka = settings.kafka
    try:
        admin = wiring.admin(settings, log)
        cluster = admin.metadata(None, ASK_SECONDS)
    except (TopicsUnavailable, PropertiesRefused) as problem:
        mend = "check WORKER_KAFKA__BOOTSTRAP_SERVERS and WORKER_KAFKA__PROPERTIES"
        yield Finding.fail("brokers", str(problem), mend)
        for check in ("topics", "group", "dead letters"):
            yield Finding.fail(check, "not checked: no broker answers", "mend 'brokers' first")
        return
    yield Finding.ok("brokers", f"{_counted(len(cluster.brokers), 'broker')} in the cluster")
    partitions = 1
    for topic in kafka.topics:
        finding, found = _topic(admin, topic)
        partitions = max(partitions, found)
        yield finding
    yield _group(admin, kafka.group_id)
    yield _dead_letters(admin, kafka, partitions)


def _topic(admin: Admin, topic: str) -> tuple[Finding, int]:
    """The finding, and the number of partitions of the largest topic."""
    try:
        counts = partition_counts(admin, [topic], ASK_SECONDS)
    except TopicsUnavailable as problem:
        return Finding.fail("topics", str(problem), "set WORKER_KAFKA__TOPICS to topics that exist"), 0
    if not counts:
        return Finding.warn("topics", f"the pattern {topic} matches no topic yet", "check WORKER_KAFKA__TOPICS"), 0
    unreadable = read_problem(admin, list(counts), ASK_SECONDS)
    if unreadable is not None:
        return Finding.fail("topics", unreadable), 0
    what = f"{topic}: {_counted(sum(counts.values()), 'partition')}"
    return Finding.ok("topics", what + (f" in {len(counts)} topics" if topic not in counts else "")), max(
        counts.values()
    )


def _group(admin: Admin, group_id: str) -> Finding:
    try:
        members = group_members(admin, group_id, ASK_SECONDS)
    except GroupForbidden as problem:
        return Finding.fail("group", f"{group_id}: {problem}", "grant the worker READ on the group")
    except GroupUnavailable as problem:
        return Finding.warn("group", f"{group_id}: no answer about the group: {problem}")
    if members is None:
        return Finding.ok("group", f"{group_id}: new, so it reads the topics from their beginning unless set otherwise")
    return Finding.ok("group", f"{group_id}: {_counted(members, 'member')} now")


def _dead_letters(admin: Admin, kafka: KafkaSettings, partitions: int) -> Finding:
    topic = kafka.dead_letter_topic
    try:
        found = exists(admin, topic, ASK_SECONDS)
    except TopicRefused as problem:
        mend = "grant the worker WRITE on it, and CREATE if it does not exist"
        return Finding.fail("dead letters", str(problem), mend)
    except TopicsUnavailable as problem:
        return Finding.fail("dead letters", str(problem))
    if found:
        why = write_problem(admin, topic, ASK_SECONDS) or compaction_problem(admin, topic, ASK_SECONDS)
        if why is not None:
            return Finding.fail("dead letters", why)
        return Finding.ok("dead letters", f"{topic}: may be written")
    why = creation_problem(admin, topic, partitions, ASK_SECONDS)
    if why is None:
        return Finding.ok("dead letters", f"{topic}: does not exist; the worker may create it, and does when it starts")
    return Finding.fail(
        "dead letters",
        f"{topic}: does not exist, and cannot be created: {why}",
        f"create it with {partitions} partitions, or grant the worker CREATE",
    )


def _counted(number: int, what: str) -> str:
    return f"{number} {what}" + ("" if number == 1 else "s")
