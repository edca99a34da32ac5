"""What `check` says of settings of topics and brokers that would lose something on a bad day."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

import pytest
from confluent_kafka.admin import AlterConfigOpType, ConfigEntry, ConfigResource, NewTopic

from tests.commands.checking import findings
from tests.support.absent import absent
from tests.support.brokers import LocalBroker, RunningBroker, unique_name
from tests.support.cluster import Cluster
from tests.support.java import Unavailable

pytestmark = pytest.mark.kafka

DAY_MS = 24 * 3_600_000
Found = list[tuple[str, str]]


def of(check: str, found: list[dict[str, Any]]) -> Found:
    """Level and text of what one check found. Every finding that is not ok says how to mend it."""
    assert all(one["mend"] for one in found if one["level"] != "ok")
    return [(one["level"], f"{one['what']}; {one['mend']}") for one in found if one["check"] == check]


def said(found: Found, level: str, *texts: str) -> bool:
    return len(found) == 1 and found[0][0] == level and all(text in found[0][1] for text in texts)


def with_properties(settings: Mapping[str, str], properties: Mapping[str, object]) -> dict[str, str]:
    return {**settings, "WORKER_KAFKA__PROPERTIES": json.dumps(properties)}


@pytest.mark.parametrize(
    ("config", "level", "texts"),
    [
        (
            {"retention.ms": "60000"},
            "fail",
            ("60 s", "window, drain and session time-out together are 70 s", "86400000"),
        ),
        ({"retention.ms": "3600000"}, "warn", ("60 minutes only", "Attentive is out for longer", "86400000")),
        ({"retention.ms": str(7 * DAY_MS)}, "ok", ("keeps its records for 7 days",)),
        ({"retention.ms": "-1"}, "ok", ("keeps all records",)),
        (
            {"retention.ms": "-1", "retention.bytes": "1000000"},
            "warn",
            ("1000000 bytes", "set its retention.bytes to -1"),
        ),
        ({"cleanup.policy": "compact"}, "warn", ("only the latest remains", "min.compaction.lag.ms")),
        ({"cleanup.policy": "compact", "min.compaction.lag.ms": str(DAY_MS)}, "ok", ("keeps all records",)),
        (
            {"cleanup.policy": "compact", "min.compaction.lag.ms": str(DAY_MS), "retention.ms": "1"},
            "ok",
            ("keeps all",),
        ),
    ],
)
def test_a_source_topic_that_forgets_too_soon_is_found(
    sound: dict[str, str], real_kafka: RunningBroker, config: dict[str, str], level: str, texts: tuple[str, ...]
) -> None:
    topic = unique_name("short")
    real_kafka.create_topic(topic, 1, config)
    found = of("retention", findings(sound | {"WORKER_KAFKA__TOPICS": topic}, int(level == "fail")))
    assert said(found, level, f"{topic}: ", *texts), found


def test_a_longer_window_needs_a_longer_retention(sound: dict[str, str], real_kafka: RunningBroker) -> None:
    topic = unique_name("window")
    real_kafka.create_topic(topic, 1, {"retention.ms": str(DAY_MS)})
    window = {"WORKER_KAFKA__TOPICS": topic, "WORKER_WINDOW__SECONDS": "86400"}
    assert said(of("retention", findings(sound | window, 1)), "fail", "one crash may lose changes")


def test_the_topics_of_a_pattern_share_a_line(sound: dict[str, str], real_kafka: RunningBroker) -> None:
    stem = unique_name("many")
    for number in range(5):
        real_kafka.create_topic(f"{stem}-{number}", 1, {"retention.ms": str(3_600_000 if number else -1)})
    found = of("retention", findings(sound | {"WORKER_KAFKA__TOPICS": f"^{stem}-.*"}, 0))
    assert [level for level, _ in found] == ["ok", "warn"]
    assert f"{stem}-1, {stem}-2, {stem}-3 and 1 more: keeps its records for 60 minutes" in found[1][1]


@pytest.mark.parametrize(
    ("config", "level", "texts"),
    [
        ({"cleanup.policy": "compact"}, "fail", ("it would keep one letter per user", "cleanup.policy to delete")),
        (
            {"min.insync.replicas": "2"},
            "fail",
            ("replication factor 1, but min.insync.replicas 2", "offsets stand still"),
        ),
        ({"retention.ms": "3600000"}, "warn", ("60 minutes", "604800000")),
        ({"retention.bytes": "5000000"}, "warn", ("above 5000000 bytes", "retention.bytes to -1")),
        ({"max.message.bytes": "5000"}, "fail", ("5000 bytes", "could never be written", "1048588")),
        ({"max.message.bytes": "50000"}, "warn", ("50000 bytes", "larger ones are cut", "1048588")),
    ],
)
def test_a_dead_letter_topic_that_loses_or_refuses_letters_is_found(
    sound: dict[str, str], real_kafka: RunningBroker, config: dict[str, str], level: str, texts: tuple[str, ...]
) -> None:
    real_kafka.create_topic(sound["WORKER_KAFKA__DEAD_LETTER_TOPIC"], 1, config)
    may_be_written, *found = of("dead letters", findings(sound, int(level == "fail")))
    assert may_be_written[0] == "ok"
    assert said(found, level, sound["WORKER_KAFKA__DEAD_LETTER_TOPIC"], *texts), found


def test_the_clients_own_bound_of_a_letter_counts_as_well(sound: dict[str, str], real_kafka: RunningBroker) -> None:
    real_kafka.create_topic(sound["WORKER_KAFKA__DEAD_LETTER_TOPIC"], 1)
    _, *found = of("dead letters", findings(with_properties(sound, {"message.max.bytes": 100_000}), 0))
    assert said(found, "warn", "100000 bytes a letter (message.max.bytes in WORKER_KAFKA__PROPERTIES)")


@pytest.mark.parametrize(
    ("properties", "texts"),
    [
        ({"session.timeout.ms": 400, "heartbeat.interval.ms": 100}, ("below", "group.min.session.timeout.ms (0.5 s)")),
        (
            {"session.timeout.ms": 1_900_000, "max.poll.interval.ms": 2_000_000},
            ("above", "group.max.session.timeout.ms (30 minutes)"),
        ),
    ],
)
def test_a_session_time_out_that_the_brokers_refuse_is_found(
    sound: dict[str, str], properties: Mapping[str, object], texts: tuple[str, ...]
) -> None:
    short = {"WORKER_ATTENTIVE__TIMEOUT_SECONDS": "0.3", "WORKER_SHUTDOWN__DRAIN_SECONDS": "1"}
    found = of("time-outs", findings(with_properties(sound | short, properties), 1))
    assert said(found, "fail", "will not let the worker join", *texts), found


def test_the_groups_session_time_out_bounds_lease_and_calls_under_kip_848(
    sound: dict[str, str], real_kafka: RunningBroker
) -> None:
    """The test broker's is 3 s, which the group may override."""
    kip_848 = with_properties(sound, {"group.protocol": "consumer"})
    found = of("time-outs", findings(kip_848, 1))
    assert [level for level, _ in found] == ["fail", "fail"]
    assert "kafka.lease_seconds is 42, not below the group's consumer.session.timeout.ms (3 s)" in found[0][1]
    assert "attentive.timeout_seconds is 10, not below" in found[1][1]
    mended = {"WORKER_KAFKA__LEASE_SECONDS": "2.5", "WORKER_ATTENTIVE__TIMEOUT_SECONDS": "2"}
    assert said(of("time-outs", findings(kip_848 | mended, 0)), "ok", "fit each other")
    longer = ConfigEntry("consumer.session.timeout.ms", "50000", incremental_operation=AlterConfigOpType.SET)
    group = ConfigResource(ConfigResource.Type.GROUP, sound["WORKER_KAFKA__GROUP_ID"], incremental_configs=[longer])
    real_kafka.admin.incremental_alter_configs([group])[group].result(10)
    assert said(of("time-outs", findings(kip_848, 0)), "ok", "fit each other")


@pytest.fixture(scope="module")
def odd_broker(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalBroker]:
    """A broker whose defaults are bad for the worker."""
    properties = {
        "offsets.retention.minutes": "60",
        "group.coordinator.rebalance.protocols": "classic",
        "transaction.max.timeout.ms": str(2 * DAY_MS),
        "log.cleanup.policy": "compact",
        "log.retention.ms": "86400000",
        "message.max.bytes": "60000",
    }
    try:
        broker = LocalBroker(tmp_path_factory.mktemp("odd"), properties)
        broker.start()
    except Unavailable as reason:
        absent(request.config, "REQUIRE_KAFKA", "local Kafka", reason)
    yield broker
    broker.stop()


@pytest.fixture
def odd(sound: dict[str, str], odd_broker: LocalBroker) -> dict[str, str]:
    topic = unique_name("odd")
    odd_broker.create_topic(topic, 1, {"cleanup.policy": "delete"})
    return sound | {
        "WORKER_KAFKA__BOOTSTRAP_SERVERS": odd_broker.bootstrap_servers,
        "WORKER_KAFKA__TOPICS": topic,
    }


def test_brokers_that_soon_forget_offsets_are_found(odd: dict[str, str]) -> None:
    assert said(of("time-outs", findings(odd, 1)), "warn", "after 60 minutes (offsets.retention.minutes)")


def test_brokers_that_do_not_offer_the_new_protocol_are_found(odd: dict[str, str]) -> None:
    lease = {"WORKER_KAFKA__LEASE_SECONDS": "2", "WORKER_ATTENTIVE__TIMEOUT_SECONDS": "2"}
    found = of("time-outs", findings(with_properties(odd | lease, {"group.protocol": "consumer"}), 1))
    assert [level for level, _ in found] == ["fail", "warn"]
    assert "group.coordinator.rebalance.protocols is classic" in found[0][1]


def test_transactions_that_may_outlast_the_retention_are_found(odd: dict[str, str]) -> None:
    assert said(of("retention", findings(odd, 1)), "warn", "transaction open for 2 days (the brokers' transaction.max")
    dirty = with_properties(odd, {"isolation.level": "read_uncommitted"})
    assert said(of("retention", findings(dirty, 1)), "ok")


def test_a_dead_letter_topic_that_is_still_to_be_made_is_judged_by_the_brokers_defaults(odd: dict[str, str]) -> None:
    may_be_made, *found = of("dead letters", findings(odd, 1))
    assert may_be_made[0] == "ok"
    assert [level for level, _ in found] == ["fail", "warn", "warn"]
    texts = ("is compacted", "keeps its letters for 24 hours", "takes 60000 bytes a letter")
    for (_, what), text in zip(found, texts, strict=True):
        assert f"by the brokers' defaults: {text}" in what


@pytest.mark.slow
def test_a_dead_letter_topic_with_too_few_copies_is_found(
    request: pytest.FixtureRequest, sound: dict[str, str], tmp_path_factory: pytest.TempPathFactory
) -> None:
    try:
        cluster = Cluster(tmp_path_factory.mktemp("cluster"))
        cluster.start()
    except Unavailable as reason:
        absent(request.config, "REQUIRE_KAFKA", "local Kafka", reason)
    try:
        cluster.create_topic(sound["WORKER_KAFKA__TOPICS"], 1)
        for replicas, in_sync, level, text in (
            (1, 1, "warn", "replication factor 1: while that broker is out"),
            (3, 1, "warn", "min.insync.replicas 1"),
            (2, 2, "warn", "2 replicas, and min.insync.replicas wants all"),
            (3, 2, None, ""),
        ):
            topic = unique_name("copies")
            wanted = NewTopic(topic, 1, replicas, config={"min.insync.replicas": str(in_sync)})
            cluster.admin.create_topics([wanted])[topic].result(30)
            settings = sound | {
                "WORKER_KAFKA__BOOTSTRAP_SERVERS": cluster.bootstrap_servers,
                "WORKER_KAFKA__DEAD_LETTER_TOPIC": topic,
            }
            _, *found = of("dead letters", findings(settings, 0))
            assert said(found, level, text) if level else not found, found
    finally:
        cluster.stop()
