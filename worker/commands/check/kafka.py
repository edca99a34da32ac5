"""Checks of the brokers, the topics, the group and the dead-letter topic. Writes and creates nothing."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from structlog.typing import FilteringBoundLogger

from worker.commands.check.dead_letters import Cluster, check_dead_letters
from worker.commands.check.finding import ASK_SECONDS, Finding
from worker.commands.check.receipts import check_receipts
from worker.commands.check.retention import check_retention
from worker.commands.check.timeouts import check_timeouts
from worker.core.counted import counted
from worker.kafka.access import GroupForbidden, GroupUnavailable, group_members, read_problem
from worker.kafka.configs import broker_configs, group_configs, topic_configs
from worker.kafka.connection import PropertiesRefused
from worker.kafka.properties import uses_kip_848
from worker.kafka.topics import Admin, TopicsUnavailable, partition_counts
from worker.settings.model import Settings
from worker.wiring import parts


def check_kafka(settings: Settings, log: FilteringBoundLogger) -> Iterator[Finding]:
    """Lines on the brokers, their time-outs, the topics, their retention, the group, the dead letters, the receipts."""
    kafka = settings.kafka
    try:
        admin = parts.admin(settings, log)
        metadata = admin.metadata(None, ASK_SECONDS)
    except (TopicsUnavailable, PropertiesRefused) as problem:
        mend = "check WORKER_KAFKA__BOOTSTRAP_SERVERS and WORKER_KAFKA__PROPERTIES"
        yield Finding.fail("brokers", str(problem), mend)
        for check in ("time-outs", "topics", "retention", "group", "dead letters"):
            yield Finding.fail(check, "not checked: no broker answers", "mend 'brokers' first")
        return
    yield Finding.ok("brokers", f"{counted(len(metadata.brokers), 'broker')} in the cluster")
    cluster = Cluster(len(metadata.brokers), broker_configs(admin, min(metadata.brokers), ASK_SECONDS))
    is_new = uses_kip_848(kafka.properties)
    own = group_configs(admin, kafka.group_id, ASK_SECONDS) if is_new else None
    yield from check_timeouts(settings, cluster.configs, own)
    partitions: dict[str, int] = {}
    for topic in kafka.topics:
        finding, found = _topic(admin, topic)
        partitions.update(found)
        yield finding
    if not partitions:
        yield Finding.warn("retention", "not checked: there is no topic to read", "mend 'topics' first")
    yield from check_retention(settings, topic_configs(admin, sorted(partitions), ASK_SECONDS), cluster.configs)
    yield _group(admin, kafka.group_id)
    most = max(partitions.values(), default=1)
    yield from check_dead_letters(admin, kafka, most, cluster)
    yield from check_receipts(admin, settings.receipts.topic, most)


def _topic(admin: Admin, topic: str) -> tuple[Finding, Mapping[str, int]]:
    """The finding, and the number of partitions of each topic that may be read."""
    try:
        counts = partition_counts(admin, [topic], ASK_SECONDS)
    except TopicsUnavailable as problem:
        return Finding.fail("topics", str(problem), "set WORKER_KAFKA__TOPICS to topics that exist"), {}
    if not counts:
        return Finding.warn("topics", f"the pattern {topic} matches no topic yet", "check WORKER_KAFKA__TOPICS"), {}
    unreadable = read_problem(admin, list(counts), ASK_SECONDS)
    if unreadable is not None:
        return Finding.fail("topics", unreadable), {}
    what = f"{topic}: {counted(sum(counts.values()), 'partition')}"
    return Finding.ok("topics", what + (f" in {counted(len(counts), 'topic')}" if topic not in counts else "")), counts


def _group(admin: Admin, group_id: str) -> Finding:
    try:
        members = group_members(admin, group_id, ASK_SECONDS)
    except GroupForbidden as problem:
        return Finding.fail("group", f"{group_id}: {problem}", "grant the worker READ on the group")
    except GroupUnavailable as problem:
        return Finding.warn("group", f"{group_id}: no answer about the group: {problem}")
    if members is None:
        return Finding.ok("group", f"{group_id}: new, so it reads the topics from their beginning unless set otherwise")
    return Finding.ok("group", f"{group_id}: {counted(members, 'member')} now")
