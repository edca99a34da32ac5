"""Which topics a pattern matches: the same here as in librdkafka, and as in the brokers under KIP-848."""

from __future__ import annotations

import pytest
import structlog

from tests.kafka.member import Member, until
from tests.support.brokers import RunningBroker, unique_name
from worker.kafka.patterns import matcher
from worker.kafka.topics import Admin, PartitionTotal, partition_counts

NAMES = ("crm-1", "crm-22", "crm-x", "crm.a", "crm.a.b", "x-crm-1", "CRM-1")
PATTERNS = {
    "^crm-": {"classic": {"crm-1", "crm-22", "crm-x"}, "consumer": set()},
    "^crm-.*": {"classic": {"crm-1", "crm-22", "crm-x"}, "consumer": {"crm-1", "crm-22", "crm-x"}},
    "^crm-[[:digit:]]+$": {"classic": {"crm-1", "crm-22"}, "consumer": {"crm-1", "crm-22"}},
    "^crm-[[:digit:]x]": {"classic": {"crm-1", "crm-22", "crm-x"}, "consumer": {"crm-1", "crm-x"}},
    r"^crm\.\w": {"classic": {"crm.a", "crm.a.b"}, "consumer": {"crm.a"}},
    "^nothing|crm-1": {"classic": {"crm-1", "x-crm-1"}, "consumer": {"crm-1"}},
}
"""Pattern -> protocol -> the names that it matches."""

cases = pytest.mark.parametrize("protocol", ["classic", "consumer"])


@cases
@pytest.mark.parametrize("pattern", PATTERNS)
def test_a_pattern_matches_what_its_matcher_says(pattern: str, protocol: str) -> None:
    matches = matcher(pattern, kip_848=protocol == "consumer")
    assert {name for name in NAMES if matches(name)} == PATTERNS[pattern][protocol]


@pytest.mark.kafka
@pytest.mark.slow
@cases
def test_the_partitions_that_are_counted_are_those_that_a_member_gets(real_kafka: RunningBroker, protocol: str) -> None:
    prefix = unique_name("p").replace("-", "")
    for name in NAMES:
        real_kafka.create_topic(prefix + name, 1)
    properties = {"bootstrap.servers": real_kafka.bootstrap_servers, "group.protocol": protocol}
    admin = Admin(properties, structlog.get_logger())
    for pattern, expected in PATTERNS.items():
        if "|" in pattern:
            continue  # it would also match other tests' topics
        ours = pattern.replace("^", f"^{prefix}")
        wanted = {prefix + name for name in expected[protocol]}
        counts = partition_counts(admin, [ours])
        assert counts.keys() == wanted
        with Member(real_kafka, ours, unique_name("group"), {"group.protocol": protocol}) as member:
            until(lambda: member.subscription.joined, member)
            until(lambda wanted=wanted: {each.topic for each in member.held} == wanted, member)  # type: ignore[misc]  # the default binds the loop's value


@pytest.mark.kafka
@cases
def test_a_pattern_that_matches_nothing_is_a_problem_until_a_topic_comes(
    real_kafka: RunningBroker, protocol: str
) -> None:
    name = unique_name("later")
    properties = {"bootstrap.servers": real_kafka.bootstrap_servers, "group.protocol": protocol}
    total = PartitionTotal(Admin(properties, structlog.get_logger()), [f"^{name}"], 5.0, structlog.get_logger())
    assert total() == 0
    assert f"the pattern ^{name} matches no topic" in str(total.problem)
    assert ("end it with .*" in str(total.problem)) == (protocol == "consumer")
    real_kafka.create_topic(name, 3)
    assert total() == 3
    assert total.problem is None
