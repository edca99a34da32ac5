"""Which properties users may set, and what a connection reports about its problems."""

from __future__ import annotations

import json

import pytest
import structlog
from confluent_kafka import KafkaError
from structlog.testing import capture_logs

from worker.kafka.connection import Connection, PropertiesRefused, in_words
from worker.kafka.properties import consumer_properties, producer_properties, refused
from worker.kafka.topics import Admin


@pytest.mark.parametrize(
    "properties",
    [
        {"enable.auto.commit": "true"},
        {"enable.auto.offset.store": "True"},
        {"enable.idempotence": "false"},
        {"acks": "1"},
        {"request.required.acks": "0"},
        {"transactional.id": "t"},
        {"bootstrap.servers": "b"},
        {"metadata.broker.list": "b"},
        {"group.id": "g"},
        {"max.in.flight": "6"},
        {"auto.commit.enable": "true"},
        {"group.protocol": "consumer", "session.timeout.ms": "1000"},
        {"group.protocol": "CONSUMER", "partition.assignment.strategy": "range"},
    ],
)
def test_a_property_that_would_break_a_guarantee_is_refused_by_name(properties: dict[str, str]) -> None:
    assert list(refused(properties)) == [list(properties)[-1]]


@pytest.mark.parametrize(
    "properties",
    [
        {"security.protocol": "SASL_SSL", "sasl.password": "secret", "ssl.ca.pem": "x"},
        {"enable.auto.commit": "false", "enable.idempotence": "TRUE", "acks": "-1", "max.in.flight": "5"},
        {"partition.assignment.strategy": "roundrobin", "group.instance.id": "pod-0", "session.timeout.ms": "6000"},
        {"group.protocol": "consumer", "group.remote.assignor": "uniform", "auto.offset.reset": "latest"},
        {"isolation.level": "read_uncommitted"},
    ],
)
def test_other_properties_pass_through(properties: dict[str, str]) -> None:
    assert refused(properties) == {}
    for completed in (consumer_properties(properties), producer_properties(properties)):
        passed = {name: value for name, value in properties.items() if name not in {"acks", "enable.idempotence"}}
        assert passed.items() <= completed.items()


def test_the_new_protocol_gets_no_assignment_strategy() -> None:
    assert "partition.assignment.strategy" not in consumer_properties({"group.protocol": "consumer"})
    assert consumer_properties({})["partition.assignment.strategy"] == "cooperative-sticky"


@pytest.fixture
def connection() -> Connection:
    return Connection("test", structlog.get_logger())


def statistics(state: str) -> str:
    return json.dumps({"brokers": {"b": {"state": state}}})


def test_a_failed_login_stays_the_problem_until_a_broker_answers(connection: Connection) -> None:
    """The errors that follow from it ("all brokers are down") must not hide it."""
    report = connection.callbacks()["stats_cb"]
    assert callable(report)
    connection.failed(KafkaError(KafkaError._AUTHENTICATION, "SASL authentication error"))
    connection.failed(KafkaError(KafkaError._ALL_BROKERS_DOWN, "1/1 brokers are down"))
    assert "sasl.password" in (connection.problem or "")
    report(statistics("AUTH_REQ"))
    assert connection.problem is not None
    report(statistics("UP"))
    assert connection.problem is None


def test_statistics_that_are_no_json_are_passed_over(connection: Connection) -> None:
    """Librdkafka writes names into them as they are: a backslash in one is no JSON."""
    report = connection.callbacks()["stats_cb"]
    assert callable(report)
    connection.failed(KafkaError(KafkaError._TRANSPORT, "refused"))
    report(r'{"brokers": {"b": {"state": "UP"}}, "topics": {"^crm\.x": 1}}')
    assert connection.problem is not None
    report(statistics("UP"))
    assert connection.problem is None


@pytest.mark.parametrize("value", ["a\ud800", "\udcff"])
def test_a_property_that_is_no_text_is_refused_in_words(value: str) -> None:
    with pytest.raises(PropertiesRefused, match="not text"):
        Admin({"bootstrap.servers": "127.0.0.1:1", "group.id": "g", "client.rack": value}, structlog.get_logger())


def test_a_topic_that_was_deleted_under_a_producer_is_told_in_words() -> None:
    """So a letter fails whose topic has just gone; later ones fail as for a topic that never was."""
    assert in_words(KafkaError(KafkaError._UNKNOWN_PARTITION)).startswith("the topic has lost its partitions")


def test_a_topic_that_is_forbidden_names_the_grant() -> None:
    words = in_words(KafkaError(KafkaError.TOPIC_AUTHORIZATION_FAILED))
    assert words.startswith("not authorised for the topic: grant the worker READ on what it reads")


def test_an_outage_says_why_the_connections_fail(connection: Connection) -> None:
    connection.failed(KafkaError(KafkaError._TRANSPORT, "b:1: Connect failed: Connection refused"))
    connection.failed(KafkaError(KafkaError._ALL_BROKERS_DOWN, "1/1 brokers are down"))
    assert connection.problem is not None
    assert connection.problem.startswith("no broker answers")
    assert "Connection refused" in connection.problem


ANOTHER_PROTOCOL = "the listener of bootstrap.servers speaks another protocol than security.protocol says"
DOWN = KafkaError(KafkaError._ALL_BROKERS_DOWN, "1/1 brokers are down")
NO_TLS_THERE = "ssl://b:1: SSL handshake failed: Disconnected: connecting to a PLAINTEXT broker listener? (after 1ms)"
NO_SASL_THERE = "sasl_ssl://b:1: SASL PLAIN handshake failed: Broker: Request not valid in current SASL state: "


def test_brokers_that_close_every_connection_speak_another_protocol(connection: Connection) -> None:
    """So it is where SASL or TLS was forgotten: librdkafka tells of no single connection that was closed."""
    connection.failed(DOWN)
    assert (connection.problem or "").startswith(ANOTHER_PROTOCOL)
    connection.failed(DOWN)
    assert (connection.problem or "").startswith(ANOTHER_PROTOCOL)
    connection.failed(KafkaError(KafkaError._TRANSPORT, "b:1: Connect failed: Connection refused"))
    connection.failed(DOWN)
    assert (connection.problem or "").startswith("no broker answers")


def test_brokers_that_answered_before_speak_the_right_protocol(connection: Connection) -> None:
    connection.answered()
    connection.failed(DOWN)
    assert (connection.problem or "").startswith("no broker answers")


@pytest.mark.parametrize(
    ("code", "text"), [(KafkaError._TRANSPORT, NO_TLS_THERE), (KafkaError._AUTHENTICATION, NO_SASL_THERE)]
)
def test_tls_or_sasl_at_a_listener_without_it_is_another_protocol(connection: Connection, code: int, text: str) -> None:
    for error in (KafkaError(KafkaError._TRANSPORT, "ssl://b:1: Disconnected"), KafkaError(code, text), DOWN):
        connection.failed(error)
    assert (connection.problem or "").startswith(ANOTHER_PROTOCOL)


ALERT = "ssl://b:1: Receive failed: error:0A000412:SSL routines::ssl/tls alert bad certificate: SSL alert number 42"


def test_a_certificate_that_the_broker_refuses_is_trouble_with_tls_though_only_the_connection_breaks(
    connection: Connection,
) -> None:
    connection.failed(KafkaError(KafkaError._TRANSPORT, f"{ALERT} (after 3ms in state APIVERSION_QUERY)"))
    connection.failed(KafkaError(KafkaError._ALL_BROKERS_DOWN, "1/1 brokers are down"))
    assert (connection.problem or "").startswith("TLS failed: check")


def test_a_connection_inside_tls_that_ends_in_an_outage_is_no_trouble_with_tls(connection: Connection) -> None:
    connection.failed(KafkaError(KafkaError._TRANSPORT, "ssl://b:1: Disconnected: SSL connection closed by peer"))
    connection.failed(KafkaError(KafkaError._ALL_BROKERS_DOWN, "1/1 brokers are down"))
    assert (connection.problem or "").startswith("no broker answers")


@pytest.mark.parametrize("code", [KafkaError._AUTHENTICATION, KafkaError._TRANSPORT, KafkaError._FAIL])
def test_the_same_trouble_has_the_same_words_each_time(connection: Connection, code: int) -> None:
    """A line a minute of each kind passes, so the words must not hold how long an attempt took."""
    heard = set()
    for when in ("after 304ms in state AUTH_REQ", "after 7ms in state AUTH_REQ, 1 identical error(s) suppressed"):
        connection.failed(KafkaError(code, f"sasl_ssl://b:1/1: Failed ({when})"))
        connection.failed(KafkaError(KafkaError._ALL_BROKERS_DOWN, "1/1 brokers are down"))
        heard.add(connection.problem)
    assert len(heard) == 1


def test_an_outage_is_logged_once_a_minute_for_each_kind(connection: Connection) -> None:
    with capture_logs() as lines:
        for _ in range(100):
            connection.failed(KafkaError(KafkaError._TRANSPORT, "refused"))
            connection.failed(KafkaError(KafkaError._ALL_BROKERS_DOWN, "down"))
    assert [line["code"] for line in lines] == ["_TRANSPORT", "_ALL_BROKERS_DOWN"]


def test_warnings_about_properties_of_the_other_kind_of_client_are_not_logged(connection: Connection) -> None:
    with capture_logs() as lines:
        warning = "Configuration property acks is a producer property and will be ignored by this consumer instance"
        connection.log(30, "%s [%s] %s", "CONFWARN", "rdkafka#consumer-1", warning)
        connection.log(30, "%s [%s] %s", "CONFWARN", "rdkafka#consumer-1", "Configuration property x is deprecated")
    assert [line["text"] for line in lines] == ["Configuration property x is deprecated"]


def test_a_topic_that_is_gone_is_not_a_problem_of_the_connection() -> None:
    """A callback hears of it instead: a broker's answer clears a connection's problem, but brings no topic back."""
    gone: list[int] = []
    connection = Connection(
        "consumer", structlog.get_logger(), on_topic_gone=lambda error: gone.append(int(error.code()))
    )
    connection.failed(KafkaError(KafkaError.UNKNOWN_TOPIC_OR_PART, "t [0]: topic does not exist"))
    assert gone == [KafkaError.UNKNOWN_TOPIC_OR_PART]
    assert connection.problem is None


def test_a_fatal_error_stays_though_a_broker_answers(connection: Connection) -> None:
    """A fenced client is an example: only a new client ends the problem."""
    connection.failed(KafkaError(KafkaError._FATAL, "Static consumer fenced by other consumer"))
    connection.answered()
    assert "fenced" in (connection.fatal or "")
    assert connection.problem is not None
