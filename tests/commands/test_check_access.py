"""What `check` says about a broker that requires a password, and about missing grants."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka.admin import (
    AclBinding,
    AclOperation,
    AclPermissionType,
    AdminClient,
    ResourcePatternType,
    ResourceType,
)

from tests.support.brokers import LocalBroker
from tests.support.java import Unavailable
from tests.support.profiles import schema_directory
from worker.sandbox.server import Sandbox
from worker.sandbox.service import Settings

TOKEN = "token"
TOPIC = "changes"
PASSWORD = "worker-password"
LISTENER = "GUARDED"

_PROPERTIES = {
    "listener.name.guarded.sasl.enabled.mechanisms": "PLAIN",
    "listener.name.guarded.plain.sasl.jaas.config": (
        "org.apache.kafka.common.security.plain.PlainLoginModule required "
        f'user_worker="{PASSWORD}" user_guest="guest-password";'
    ),
    "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
    "super.users": "User:ANONYMOUS",
}
_GRANTS = (
    ("worker", ResourceType.TOPIC, TOPIC, AclOperation.READ),
    ("worker", ResourceType.GROUP, "attribute-worker", AclOperation.READ),
    ("worker", ResourceType.TOPIC, f"{TOPIC}.dead-letter", AclOperation.WRITE),
    ("worker", ResourceType.TOPIC, f"{TOPIC}.dead-letter", AclOperation.CREATE),
    ("worker", ResourceType.TOPIC, f"{TOPIC}.elsewhere", AclOperation.WRITE),
    ("worker", ResourceType.TOPIC, f"{TOPIC}.writable", AclOperation.WRITE),
    ("guest", ResourceType.TOPIC, TOPIC, AclOperation.DESCRIBE),
    ("guest", ResourceType.TOPIC, f"{TOPIC}.readable", AclOperation.READ),
)


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a listener that requires a password. User `worker` has all grants it needs, `guest` too few."""
    try:
        broker = LocalBroker(tmp_path_factory.mktemp("guarded"), _PROPERTIES, {LISTENER: "SASL_PLAINTEXT"})
        broker.start()
    except Unavailable as reason:
        if os.environ.get("REQUIRE_KAFKA") == "1":
            pytest.fail(str(reason), pytrace=False)
        pytest.skip(f"needs local Kafka: {reason}")
    broker.create_topic(TOPIC, 2)
    broker.create_topic(f"{TOPIC}.readable", 2)
    broker.create_topic(f"{TOPIC}.writable", 2)
    grant(broker.admin)
    yield broker.address(LISTENER)
    broker.stop()


def grant(admin: AdminClient) -> None:
    bindings = [
        AclBinding(kind, name, ResourcePatternType.LITERAL, f"User:{user}", "*", operation, AclPermissionType.ALLOW)
        for user, kind, name, operation in _GRANTS
    ]
    for answer in admin.create_acls(bindings).values():
        answer.result(10)


def findings(address: str, directory: Path, user: str, password: str, **more: str) -> list[dict[str, Any]]:
    properties = {
        "security.protocol": "SASL_PLAINTEXT",
        "sasl.mechanism": "PLAIN",
        "sasl.username": user,
        "sasl.password": password,
    }
    with Sandbox(Settings(tokens=(TOKEN,))) as sandbox:
        done = subprocess.run(
            [sys.executable, "-m", "worker", "check", "--json"],
            env={
                **{name: value for name, value in os.environ.items() if not name.startswith("WORKER_")},
                "WORKER_KAFKA__BOOTSTRAP_SERVERS": address,
                "WORKER_KAFKA__PROPERTIES": json.dumps(properties),
                "WORKER_KAFKA__TOPICS": TOPIC,
                "WORKER_KAFKA__DEAD_LETTER_TOPIC": f"{TOPIC}.dead-letter",
                "WORKER_SCHEMAS__DIRECTORY": str(schema_directory(directory)),
                "WORKER_ATTENTIVE__BASE_URL": sandbox.url,
                "WORKER_ATTENTIVE__TOKEN": TOKEN,
                **more,
            },
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
    assert password not in done.stdout + done.stderr
    found = [json.loads(line) for line in done.stdout.splitlines()]
    assert done.returncode == any(one["level"] == "fail" for one in found), done.stderr
    return found


def failed(found: list[dict[str, Any]]) -> dict[str, str]:
    return {one["check"]: f"{one['what']}; {one['mend']}" for one in found if one["level"] == "fail"}


@pytest.mark.kafka
def test_the_password_may_come_from_a_file(guarded: str, tmp_path: Path) -> None:
    """A file of its own, as Kubernetes mounts a Secret, or one in the form of Java's clients."""
    java = tmp_path / "client.properties"
    java.write_text(
        "security.protocol = SASL_PLAINTEXT\nsasl.mechanism: PLAIN\n# whose?\n"
        f"sasl.username worker\nsasl.password={PASSWORD[:3]}\\\n    {PASSWORD[3:]}\n"
    )
    password = tmp_path / "password"
    password.write_text(f"{PASSWORD}\n")
    plain = {"security.protocol": "SASL_PLAINTEXT", "sasl.mechanism": "PLAIN", "sasl.username": "worker"}
    for given in (
        {"WORKER_KAFKA__PROPERTIES": "{}", "WORKER_KAFKA__PROPERTIES_FILE": str(java)},
        {
            "WORKER_KAFKA__PROPERTIES": json.dumps(plain),
            "WORKER_KAFKA__PROPERTY_FILES": json.dumps({"sasl.password": str(password)}),
        },
    ):
        assert failed(findings(guarded, tmp_path, "worker", PASSWORD, **given)) == {}


@pytest.mark.kafka
def test_the_grants_that_the_worker_needs_are_enough(guarded: str, tmp_path: Path) -> None:
    found = findings(guarded, tmp_path, "worker", PASSWORD)
    assert failed(found) == {}
    assert "may create it" in next(one["what"] for one in found if one["check"] == "dead letters")


@pytest.mark.kafka
def test_settings_that_may_not_be_read_are_a_warning_that_names_the_grant(guarded: str, tmp_path: Path) -> None:
    found = findings(guarded, tmp_path, "worker", PASSWORD, WORKER_KAFKA__DEAD_LETTER_TOPIC=f"{TOPIC}.writable")
    assert failed(found) == {}
    warned = [(one["check"], one["what"], one["mend"]) for one in found if one["level"] == "warn"]
    assert [(check, mend) for check, _, mend in warned] == [
        ("time-outs", "grant the worker DESCRIBE_CONFIGS on the cluster"),
        ("retention", "grant the worker DESCRIBE_CONFIGS on the topic"),
        ("dead letters", "grant the worker DESCRIBE_CONFIGS on the topic"),
    ]
    assert all("settings" in what and "do not show" in what for _, what, _ in warned)


@pytest.mark.kafka
def test_a_wrong_password_is_reported_in_words(guarded: str, tmp_path: Path) -> None:
    problems = failed(findings(guarded, tmp_path, "worker", "not-the-password"))
    assert "authentication failed: check" in problems["brokers"]
    assert "sasl.password" in problems["brokers"]


@pytest.mark.kafka
def test_a_connection_without_tls_or_password_is_reported_in_words(guarded: str, tmp_path: Path) -> None:
    plain = {"WORKER_KAFKA__PROPERTIES": "{}"}
    assert "security.protocol" in failed(findings(guarded, tmp_path, "worker", PASSWORD, **plain))["brokers"]


@pytest.mark.kafka
def test_missing_grants_are_named(guarded: str, tmp_path: Path) -> None:
    """The guest may describe the topic, and only read the dead-letter topic."""
    readable = {"WORKER_KAFKA__DEAD_LETTER_TOPIC": f"{TOPIC}.readable"}
    problems = failed(findings(guarded, tmp_path, "guest", "guest-password", **readable))
    assert problems.keys() == {"topics", "group", "dead letters"}
    assert "grant the worker READ on it" in problems["topics"]
    assert "grant the worker READ on the group" in problems["group"]
    assert "grant the worker WRITE on it" in problems["dead letters"]


@pytest.mark.kafka
@pytest.mark.parametrize(
    ("topic", "mend"),
    [
        (f"{TOPIC}.elsewhere", "create it with 2 partitions, or grant the worker CREATE"),
        (f"{TOPIC}.hidden", "grant the worker WRITE on it, and CREATE if it does not exist"),
    ],
)
def test_advice_is_given_for_a_dead_letter_topic_that_can_neither_be_written_nor_created(
    guarded: str, tmp_path: Path, topic: str, mend: str
) -> None:
    found = findings(guarded, tmp_path, "worker", PASSWORD, WORKER_KAFKA__DEAD_LETTER_TOPIC=topic)
    assert mend in failed(found)["dead letters"]
