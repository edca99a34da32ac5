"""Rules that compare several settings, or a setting and the machine."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from worker.core.events.mapping import Mapping
from worker.core.rules.identity import IdentityRules
from worker.core.rules.policy import AttributeRules
from worker.settings.load import ConfigurationError, load
from worker.settings.model import Settings

MINIMAL = {
    "WORKER_KAFKA__BOOTSTRAP_SERVERS": "broker:9092",
    "WORKER_SCHEMAS__REGISTRY_URL": "http://registry:8081",
    "WORKER_ATTENTIVE__TOKEN": "tk-3f9a",
}


def settings(**changes: str | None) -> Settings:
    """Loads the required settings with changes, by variable; None removes a setting."""
    merged = MINIMAL | {f"WORKER_{name}": value for name, value in changes.items() if value is not None}
    removed = {f"WORKER_{name}" for name, value in changes.items() if value is None}
    return load(None, {}, {name: value for name, value in merged.items() if name not in removed}).settings


def problems(**changes: str | None) -> list[str]:
    with pytest.raises(ConfigurationError) as caught:
        settings(**changes)
    return list(caught.value.problems)


def test_exactly_one_token_is_required(tmp_path: Path) -> None:
    assert "a token is required" in problems(ATTENTIVE__TOKEN=None)[0]
    assert "both set; keep one" in problems(ATTENTIVE__TOKEN_FILE=str(tmp_path / "token"))[0]
    settings(ATTENTIVE__TOKEN=None, ATTENTIVE__TOKEN_FILE=str(tmp_path / "comes-later"))
    [problem] = problems(ATTENTIVE__TOKEN=None, ATTENTIVE__TOKEN_FILE=str(tmp_path / "none" / "token"))
    assert "does not exist" in problem


@pytest.mark.parametrize("token", ["two words", "ключ", "a\x01b"])
def test_a_token_that_cannot_be_a_header_is_refused_and_not_shown(token: str) -> None:
    [problem] = problems(ATTENTIVE__TOKEN=token)
    assert "no token contains" in problem
    assert token not in problem


@pytest.mark.parametrize("url", ["http://127.0.0.1:1/v1", "http://[::1]:1", "http://localhost", "http://a.localhost:1"])
def test_plain_http_to_loopback_is_allowed(url: str) -> None:
    assert settings(ATTENTIVE__BASE_URL=f"{url}/").attentive.base_url == url


@pytest.mark.parametrize("url", ["http://example.com/v1", "http://10.0.0.1", "http://127.0.0.1.example.com"])
def test_plain_http_to_another_host_is_refused_by_default(url: str) -> None:
    assert "would send the token unencrypted" in problems(ATTENTIVE__BASE_URL=url)[0]
    assert settings(ATTENTIVE__BASE_URL=url, ATTENTIVE__ALLOW_PLAIN_HTTP="true").attentive.base_url == url


@pytest.mark.parametrize(
    ("topics", "dead_letters", "text"),
    [
        ("a,b", "b", "is one of kafka.topics"),
        ("^a.*", "a.dead-letter", "matches the pattern '^a.*'"),
        ("^a$,c", "c", "is one of kafka.topics"),
    ],
)
def test_the_worker_never_reads_its_own_dead_letters(topics: str, dead_letters: str, text: str) -> None:
    assert text in problems(KAFKA__TOPICS=topics, KAFKA__DEAD_LETTER_TOPIC=dead_letters)[0]


@pytest.mark.parametrize("servers", [",,", "a:9092,", "http://a:9092", "a:port", "a:9092;b:9092 c", " "])
def test_text_that_is_not_a_broker_is_refused(servers: str) -> None:
    assert problems(KAFKA__BOOTSTRAP_SERVERS=servers)


@pytest.mark.parametrize(
    "servers", ["a", "a:9092, b.example.com:9093", "[::1]:9092", "SASL_SSL://a:9092", "10.0.0.1:9"]
)
def test_every_form_of_broker_that_librdkafka_accepts_is_accepted(servers: str) -> None:
    assert settings(KAFKA__BOOTSTRAP_SERVERS=servers).kafka.bootstrap_servers == servers


def test_topics_are_names_or_patterns() -> None:
    assert settings(KAFKA__TOPICS="^a$,b", KAFKA__DEAD_LETTER_TOPIC="a.dead-letter").kafka.topics == ("^a$", "b")
    assert "is not a topic name" in problems(KAFKA__TOPICS="a b")[0]


@pytest.mark.parametrize(
    ("pattern", "protocol", "text"),
    [
        ("^a(", "classic", "POSIX expressions, and this is none"),
        (r"^a\d+", "classic", "write [0-9]"),
        ("^(?!b)", "classic", "POSIX expressions, and this is none"),
        ("^a(", "consumer", "RE2, and this is no such expression"),
        ("^(?!b)", "consumer", "RE2, which has no (?!"),
        (r"^(a)\1", "consumer", r"RE2, which has no \1"),
    ],
)
def test_a_pattern_that_its_matcher_does_not_understand_is_refused(pattern: str, protocol: str, text: str) -> None:
    properties = json.dumps({"group.protocol": protocol})
    assert text in problems(KAFKA__TOPICS=pattern, KAFKA__PROPERTIES=properties)[0]


@pytest.mark.parametrize("protocol", ["classic", "consumer"])
@pytest.mark.parametrize(
    "pattern", ["^" + "(" * 20_000 + "a" + ")" * 20_000, "^((a{1,200}){1,200}){1,200}", "^" + "(" * 9 + "a" + "+)+" * 9]
)
def test_a_pattern_that_a_c_library_would_break_at_is_refused(pattern: str, protocol: str) -> None:
    [problem, *_] = problems(
        KAFKA__TOPICS=json.dumps([pattern]), KAFKA__PROPERTIES=f'{{"group.protocol": "{protocol}"}}'
    )
    assert "parts with its repetitions written out; write a simpler one" in problem
    assert len(problem) < 600


@pytest.mark.parametrize(
    "pattern",
    [
        "^([a-z]{1,64}-){3}$",
        "^(a|b|(c+)*)+[[:digit:])(]+$",
        r"^\(+[]a]{2,}.{1,249}$",
        "^(" + "|".join(["a-long-name-of-a-topic"] * 40) + ")$",
    ],
)
def test_a_pattern_of_usual_size_is_accepted(pattern: str) -> None:
    settings(KAFKA__TOPICS=json.dumps([pattern]))


@pytest.mark.parametrize(
    ("properties", "text"),
    [
        ({"no.such.property": "1"}, 'No such configuration property: "no.such.property"'),
        (
            {"linger.ms": "900000"},
            "`message.timeout.ms` must be greater than `linger.ms` (unless you set it, the worker",
        ),
        ({"partition.assignment.strategy": "range,cooperative-sticky"}, "must have the same protocol type"),
        ({"security.protocol": "ssl", "ssl.ca.location": "/none"}, "ssl.ca.location failed"),
        ({"sasl.mechanism": "hunter2 is one"}, 'Invalid value for configuration property "sasl.mechanisms"'),
        ({"partition.assignment.strategy": "hunter2"}, "Unsupported partition.assignment.strategy"),
        ({"compression.codec": "hunter2"}, 'Invalid value given for configuration property "compression.codec"'),
        ({"batch.num.messages": "0"}, '"batch.num.messages" value 0 is outside allowed range'),
        ({"oauth_cb": "name"}, "expected oauth_cb property as a callable function"),
    ],
)
def test_what_librdkafka_refuses_only_when_a_client_is_made_is_a_problem(properties: dict[str, str], text: str) -> None:
    [problem] = problems(KAFKA__PROPERTIES=json.dumps(properties))
    assert problem.startswith("environment variable WORKER_KAFKA__PROPERTIES: ")
    assert text in problem
    assert "hunter2" not in problem


@pytest.mark.parametrize(
    ("properties", "text"),
    [
        ({"bootstrap.servers": "b"}, "set WORKER_KAFKA__BOOTSTRAP_SERVERS instead"),
        ({"metadata.broker.list": "b"}, "set WORKER_KAFKA__BOOTSTRAP_SERVERS instead"),
        ({"group.id": "g"}, "set WORKER_KAFKA__GROUP_ID instead"),
        ({"enable.auto.commit": True}, "enable.auto.commit: "),
        ({"session.timeout.ms": "soon"}, "session.timeout.ms: must be a whole number of milliseconds"),
        ({"max.poll.interval.ms": "30000"}, "session.timeout.ms: must not be above max.poll.interval.ms"),
        ({"heartbeat.interval.ms": "45000"}, "heartbeat.interval.ms: must be below session.timeout.ms"),
        ({"client.id": 'a"b'}, "client.id: a quote, a backslash"),
        ({"heartbeat.interval.ms": "soon"}, "heartbeat.interval.ms: must be a whole number of milliseconds"),
    ],
)
def test_properties_that_would_break_the_guarantees_are_refused(properties: dict[str, object], text: str) -> None:
    assert any(text in problem for problem in problems(KAFKA__PROPERTIES=json.dumps(properties)))


def test_the_drain_and_the_request_time_out_must_be_shorter_than_kafkas_time_outs() -> None:
    assert "must be below max.poll.interval.ms (300 s)" in problems(SHUTDOWN__DRAIN_SECONDS="300")[0]
    assert "must be below session.timeout.ms (45 s)" in problems(ATTENTIVE__TIMEOUT_SECONDS="45")[0]
    longer = json.dumps({"max.poll.interval.ms": 900_000, "session.timeout.ms": 60_000})
    settings(SHUTDOWN__DRAIN_SECONDS="300", ATTENTIVE__TIMEOUT_SECONDS="45", KAFKA__PROPERTIES=longer)
    [drain, timeout] = problems(
        KAFKA__PROPERTIES=json.dumps({"max.poll.interval.ms": 9000, "session.timeout.ms": 9000})
    )
    assert timeout.startswith("shutdown.drain_seconds: ") != drain.startswith("shutdown.drain_seconds: ")


def test_the_lease_must_be_shorter_than_the_session_if_its_time_out_is_known() -> None:
    assert "must be below session.timeout.ms (45 s)" in problems(KAFKA__LEASE_SECONDS="45")[0]
    settings(KAFKA__LEASE_SECONDS="45", KAFKA__PROPERTIES='{"session.timeout.ms": 60000}')
    settings(KAFKA__LEASE_SECONDS="45", KAFKA__PROPERTIES='{"group.protocol": "consumer"}')


def test_each_framing_needs_its_source_of_schemas(tmp_path: Path) -> None:
    schema = tmp_path / "writer.avsc"
    schema.write_text('"string"', encoding="utf-8")
    settings(SCHEMAS__REGISTRY_URL=None, SCHEMAS__FRAMING="none", SCHEMAS__WRITER_SCHEMA=str(schema))
    settings(SCHEMAS__REGISTRY_URL=None, SCHEMAS__DIRECTORY=str(tmp_path))
    settings(SCHEMAS__READER_SCHEMA=str(schema))
    assert "source of schemas is required" in problems(SCHEMAS__REGISTRY_URL=None)[0]
    assert "both set; keep one" in problems(SCHEMAS__DIRECTORY=str(tmp_path))[0]
    assert "has no effect" in problems(SCHEMAS__WRITER_SCHEMA=str(schema))[0]
    assert "is required if schemas.framing is none" in problems(SCHEMAS__REGISTRY_URL=None, SCHEMAS__FRAMING="none")[0]
    assert "url: set WORKER_SCHEMAS__REGISTRY_URL" in problems(SCHEMAS__REGISTRY_PROPERTIES='{"url": "x"}')[0]


def test_paths_must_exist(tmp_path: Path) -> None:
    assert "does not exist" in problems(SCHEMAS__READER_SCHEMA=str(tmp_path / "none"))[0]
    assert "is not a file" in problems(SCHEMAS__READER_SCHEMA=str(tmp_path))[0]
    assert "does not exist" in problems(SCHEMAS__REGISTRY_URL=None, SCHEMAS__DIRECTORY=str(tmp_path / "none"))[0]
    file = tmp_path / "file"
    file.touch()
    assert "is not a directory" in problems(SCHEMAS__REGISTRY_URL=None, SCHEMAS__DIRECTORY=str(file))[0]


def test_a_path_that_no_file_system_takes_is_refused(tmp_path: Path) -> None:
    name = str(tmp_path / ("x" * 300))
    assert "can't be read: file name too long" in problems(SCHEMAS__READER_SCHEMA=name)[0]
    assert "file name too long" in problems(SCHEMAS__REGISTRY_URL=None, SCHEMAS__DIRECTORY=name)[0]
    assert "file name too long" in problems(ATTENTIVE__TOKEN=None, ATTENTIVE__TOKEN_FILE=f"{name}/token")[0]
    assert "bytes that are not UTF-8" in problems(SCHEMAS__READER_SCHEMA="/nowhere/\udcff")[0]


@pytest.mark.parametrize("host", ["a" * 64, "a..b", ".".join(["a" * 63] * 5)], ids=["label", "empty", "long"])
def test_a_host_name_that_nobody_can_have_is_refused(host: str) -> None:
    assert "host name" in problems(HTTP__HOST=host)[0]
    assert "host that can't exist" in problems(ATTENTIVE__BASE_URL=f"https://{host}/v1")[0]
    assert "host that can't exist" in problems(SCHEMAS__REGISTRY_URL=f"http://a,http://{host}")[0]
    assert "is not a broker" in problems(KAFKA__BOOTSTRAP_SERVERS=f"a:9092,{host}:9092")[0]


@pytest.mark.parametrize("host", ["::", "127.0.0.1", "localhost", "my_host.example.", "bücher.example", "fe80::1%eth0"])
def test_every_other_host_may_be_listened_on(host: str) -> None:
    assert settings(HTTP__HOST=host).http.host == host


@pytest.mark.parametrize("name", ["KAFKA__PROPERTIES", "SCHEMAS__REGISTRY_PROPERTIES", "MAPPING__RENAME"])
def test_json_that_is_nested_too_deeply_is_refused(name: str) -> None:
    assert "not nested so deeply" in problems(**{name: '{"a":' * 20_000})[0]
    assert "not nested so deeply" in problems(KAFKA__TOPICS="[" * 20_000)[0]


def test_the_first_pause_may_not_be_longer_than_the_longest() -> None:
    assert "above attentive.retry_max_seconds" in problems(ATTENTIVE__RETRY_BASE_SECONDS="31")[0]


def test_the_mapping_and_the_policy_check_their_settings() -> None:
    [problem] = problems(MAPPING__RENAME='{"a": "x", "b": "x"}')
    assert problem.startswith("environment variable WORKER_MAPPING__RENAME: two attributes")
    [problem] = problems(MAPPING__PHONE="user..phone")
    assert problem.startswith("environment variable WORKER_MAPPING__PHONE: ")
    [problem] = problems(MAPPING__IGNORE_WHEN="op=d,deleted")
    assert problem.startswith("environment variable WORKER_MAPPING__IGNORE_WHEN: write path=value")
    assert settings(MAPPING__IGNORE_WHEN="op=d, deleted=true").mapping.ignore_when == ("op=d", "deleted=true")
    [problem] = problems(SCHEMAS__READ_RULES="leave_out", SCHEMAS__READER_SCHEMA=__file__)
    assert "leave_out knows the fields of a writer's schema only" in problem
    [problem] = problems(ATTRIBUTES__DENY="@other")
    assert problem.startswith("environment variable WORKER_ATTRIBUTES__DENY: @other is no known list")


def test_the_mapping_must_have_a_path_for_some_identifier() -> None:
    assert "names no identifier" in problems(IDENTITY__ORDER="phone", MAPPING__PHONE="")[0]
    settings(IDENTITY__ORDER="phone,email", MAPPING__PHONE="")


def test_the_defaults_of_the_settings_equal_those_of_the_rules() -> None:
    """Some defaults are written twice, since the settings' types need literals. This keeps both equal."""
    assert IdentityRules(**settings().identity.model_dump()) == IdentityRules()
    assert AttributeRules(**settings().attributes.model_dump() | {"allow": ()}) == AttributeRules()
    assert Mapping(**settings().mapping.model_dump()) == Mapping()


def test_a_phone_region_is_a_country_by_two_letters(tmp_path: Path) -> None:
    assert settings(IDENTITY__PHONE_REGION=" us ").identity.phone_region == "US"
    assert settings(IDENTITY__PHONE_REGION="").identity.phone_region is None
    assert "such as GB" in problems(IDENTITY__PHONE_REGION="UK")[0]
    assert "such as US" in problems(IDENTITY__PHONE_REGION="USA")[0]
    norway = tmp_path / "worker.yaml"
    norway.write_text("identity: {phone_region: NO}", encoding="utf-8")
    with pytest.raises(ConfigurationError, match="put it in quotes"):
        load(norway, {}, MINIMAL)
    norway.write_text('identity: {phone_region: "NO"}', encoding="utf-8")
    assert load(norway, {}, MINIMAL).settings.identity.phone_region == "NO"


def test_keys_need_what_their_framing_needs(tmp_path: Path) -> None:
    schema = tmp_path / "key.avsc"
    schema.write_text('"string"')
    bare = {"SCHEMAS__REGISTRY_URL": None, "SCHEMAS__FRAMING": "none", "SCHEMAS__WRITER_SCHEMA": str(schema)}
    settings(SCHEMAS__KEY_FRAMING="none", SCHEMAS__KEY_SCHEMA=str(schema))
    assert "the schema of the keys" in problems(SCHEMAS__KEY_FRAMING="none")[0]
    assert "has no effect" in problems(SCHEMAS__KEY_SCHEMA=str(schema))[0]
    assert "does not exist" in problems(SCHEMAS__KEY_FRAMING="none", SCHEMAS__KEY_SCHEMA=str(tmp_path / "none"))[0]
    settings(**bare)
    assert "needs a source of schemas" in problems(**bare, MAPPING__PHONE="key.phone | phone")[0]
    settings(**bare, MAPPING__PHONE="key", SCHEMAS__KEY_FRAMING="text")


def test_attribute_paths_are_a_list_in_any_form(tmp_path: Path) -> None:
    assert settings(MAPPING__ATTRIBUTES="*, a.b").mapping.attributes == "*, a.b"
    assert settings(MAPPING__ATTRIBUTES='["*", "a.b"]').mapping.attributes == "*,a.b"
    file = tmp_path / "worker.yaml"
    file.write_text('mapping: {attributes: ["*", town=a.b]}', encoding="utf-8")
    assert load(file, {}, MINIMAL).settings.mapping.attributes == "*,town=a.b"
    assert "the path is empty" in problems(MAPPING__ATTRIBUTES="*,,a")[0]
    assert "wrong place" in problems(MAPPING__ATTRIBUTES="*.a")[0]


OAUTHBEARER = {"security.protocol": "SASL_SSL", "sasl.mechanism": "OAUTHBEARER"}


@pytest.mark.parametrize(
    ("properties", "oauth", "text"),
    [
        (OAUTHBEARER, None, "has no source of tokens"),
        (OAUTHBEARER, "json:loads", None),
        (OAUTHBEARER, "no_such_module_anywhere:token", "no module no_such_module_anywhere"),
        (OAUTHBEARER, "no.such.package:token", "no module no.such.package"),
        (OAUTHBEARER, "planted nonsense", "kafka__oauth"),
        (OAUTHBEARER | {"enable.sasl.oauthbearer.unsecure.jwt": "true"}, None, None),
        ({}, "json:loads", "is used with OAUTHBEARER only"),
        (
            OAUTHBEARER
            | {
                "sasl.oauthbearer.method": "oidc",
                "sasl.oauthbearer.token.endpoint.url": "https://idp/token",
                "sasl.oauthbearer.client.id": "worker",
                "sasl.oauthbearer.client.secret": "planted",
            },
            "json:loads",
            "keep one of them",
        ),
    ],
)
def test_oauthbearer_has_one_source_of_tokens(properties: dict[str, str], oauth: str | None, text: str | None) -> None:
    given = {"KAFKA__PROPERTIES": json.dumps(properties), "KAFKA__OAUTH": oauth}
    if text is None:
        settings(**given)
        return
    [problem] = problems(**given)
    assert text in problem or text in problem.lower()
    assert "planted" not in problem
