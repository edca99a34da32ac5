"""Loading settings: which source wins, and what the messages about mistakes say."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Mapping
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.settings.load import ConfigurationError, Loaded, load
from worker.settings.names import NAMES
from worker.settings.table import ON_CALL, on_call

TOKEN = "tk-3f9a-not-to-be-shown"
MINIMAL = {
    "WORKER_KAFKA__BOOTSTRAP_SERVERS": "broker:9092",
    "WORKER_SCHEMAS__REGISTRY_URL": "http://registry:8081",
    "WORKER_ATTENTIVE__TOKEN": TOKEN,
}


def loaded(environ: Mapping[str, str] | None = None, file: Path | None = None, **flags: object) -> Loaded:
    """Loads with the required settings given; flags by path, with `__` for the dot."""
    by_path = {path.replace("__", "."): value for path, value in flags.items()}
    return load(file, by_path, MINIMAL | dict(environ or {}))


def problems(environ: Mapping[str, str] | None = None, file: Path | None = None, **flags: object) -> list[str]:
    with pytest.raises(ConfigurationError) as caught:
        loaded(environ, file, **flags)
    return list(caught.value.problems)


def yaml_file(folder: Path, text: str) -> Path:
    path = folder / "worker.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def test_the_defaults_are_the_documented_ones() -> None:
    settings = loaded().settings
    assert settings.kafka.topics == ("profile-changes",)
    assert settings.kafka.group_id == "attribute-worker"
    assert settings.kafka.dead_letter_topic == "profile-changes.dead-letter"
    assert settings.schemas.framing == "confluent"
    assert settings.identity.order == ("phone", "email", "client_user_id", "custom")
    assert settings.identity.send == "first"
    assert (settings.window.seconds, settings.window.max_bytes) == (5, 268_435_456)
    assert settings.attentive.base_url == "https://api.attentivemobile.com/v1"
    assert (settings.attentive.requests_per_second, settings.attentive.concurrency) == (150, 32)
    assert settings.attentive.timeout_seconds == 10
    assert settings.attributes.nulls == "drop"
    assert settings.shutdown.drain_seconds == 20
    assert (settings.http.host, settings.http.port) == ("::", 8080)
    assert (settings.log.level, settings.log.format) == ("info", "auto")


def test_the_stronger_source_wins_and_each_value_names_its_source(tmp_path: Path) -> None:
    file = yaml_file(tmp_path, "window:\n  seconds: 1\n  max_bytes: 100000\nhttp:\n  port: 1\nlog:\n  level: error\n")
    result = loaded({"WORKER_HTTP__PORT": "2", "WORKER_WINDOW__SECONDS": "2"}, file, window__seconds="3")
    assert (result.settings.window.seconds, result.settings.http.port, result.settings.log.level) == (3, 2, "error")
    assert result.sources["window.seconds"] == "flag --window-seconds"
    assert result.sources["http.port"] == "environment variable WORKER_HTTP__PORT"
    assert result.sources["window.max_bytes"] == f"{file}:3: window.max_bytes"
    assert result.sources["log.format"] == "default"
    assert result.sources.keys() == NAMES.keys()


def test_the_environment_can_name_the_file_but_the_argument_wins(tmp_path: Path) -> None:
    named = tmp_path / "named.yaml"
    named.write_text("window: {seconds: 7}", encoding="utf-8")
    environ = {"WORKER_CONFIG": str(named)}
    assert loaded(environ).settings.window.seconds == 7
    assert loaded(environ, yaml_file(tmp_path, "window: {seconds: 8}")).settings.window.seconds == 8


def test_lists_are_comma_separated_or_json_and_properties_are_json() -> None:
    assert loaded({"WORKER_KAFKA__TOPICS": " a, b ,"}).settings.kafka.topics == ("a", "b")
    assert loaded({"WORKER_KAFKA__TOPICS": '["^a{1,2}$"]'}).settings.kafka.topics == ("^a{1,2}$",)
    properties = {"enable.ssl.certificate.verification": True, "queued.min.messages": 5, "security.protocol": "SSL"}
    assert loaded({"WORKER_KAFKA__PROPERTIES": json.dumps(properties)}).settings.kafka.properties == {
        "enable.ssl.certificate.verification": "true",
        "queued.min.messages": "5",
        "security.protocol": "SSL",
    }


def test_an_empty_value_turns_an_optional_setting_off() -> None:
    settings = loaded({"WORKER_MAPPING__PHONE": "", "WORKER_SCHEMAS__DIRECTORY": ""}).settings
    assert settings.mapping.phone == ""
    assert settings.schemas.directory is None


def test_a_line_end_after_the_token_is_stripped() -> None:
    token = loaded({"WORKER_ATTENTIVE__TOKEN": f"{TOKEN}\n"}).settings.attentive.token
    assert token is not None
    assert token.get_secret_value() == TOKEN


@pytest.mark.parametrize(
    ("environ", "told"),
    [
        ({"WORKER_WINDOW__SECONDS": "-1"}, "must be at least 0 (seconds; the default is 5)"),
        ({"WORKER_WINDOW__SECONDS": "soon"}, "must be a number (seconds; the default is 5)"),
        ({"WORKER_WINDOW__SECONDS": "nan"}, "must be at most 86400 (seconds"),
        ({"WORKER_WINDOW__MAX_BYTES": "1.5"}, "must be a whole number (bytes; the default is 268435456)"),
        ({"WORKER_HTTP__PORT": "65536"}, "must be at most 65535"),
        ({"WORKER_LOG__LEVEL": "warn"}, "must be 'debug', 'info', 'warning' or 'error'; did you mean warning?"),
        ({"WORKER_IDENTITY__ORDER": "phone,mail"}, "item 2 must be 'phone', 'email', 'client_user_id' or 'custom'"),
        ({"WORKER_IDENTITY__ORDER": "phone,phone"}, "names one thing more than once"),
        ({"WORKER_KAFKA__TOPICS": ""}, "must name at least one"),
        ({"WORKER_ATTRIBUTES__ALLOW": ""}, "must name at least one"),
        ({"WORKER_KAFKA__BOOTSTRAP_SERVERS": ""}, "must not be empty"),
        ({"WORKER_KAFKA__PROPERTIES": "a=b"}, "must be a JSON object"),
        ({"WORKER_KAFKA__PROPERTIES": '{"a": "1", "a": "2"}'}, "names a more than once"),
        ({"WORKER_ATTENTIVE__ALLOW_PLAIN_HTTP": "perhaps"}, "must be true or false"),
        ({"WORKER_ATTENTIVE__BASE_URL": "https://u:p@host/v1"}, "must not contain a user name or password"),
        ({"WORKER_ATTENTIVE__BASE_URL": "https://host/v1?a=b"}, "must have no query"),
        ({"WORKER_ATTENTIVE__BASE_URL": "ftp://host"}, "must be a URL that starts with https://"),
        ({"WORKER_ATTENTIVE__BASE_URL": "https://host:port"}, "is not a URL"),
    ],
)
def test_the_message_about_a_wrong_value_says_what_is_right(environ: dict[str, str], told: str) -> None:
    [problem] = problems(environ)
    [variable] = environ
    assert problem.startswith(f"environment variable {variable}: ")
    assert told in problem


def test_of_a_file_that_cannot_be_read_nothing_else_is_told(tmp_path: Path) -> None:
    """What it sets would look as if it were missing."""
    [problem] = problems({}, tmp_path / "absent.yaml")
    assert "absent.yaml" in problem


def test_one_load_reports_every_problem_of_every_source(tmp_path: Path) -> None:
    file = yaml_file(tmp_path, "window:\n  second: 1\nhttp:\n  port: high\n")
    environ = {"WORKER_KAFKA__TOPIC": "x", "WORKER_SHUTDOWN__DRAIN_SECONDS": "400"}
    with pytest.raises(ConfigurationError) as caught:
        load(file, {"log.level": "loud"}, environ)
    text = "\n".join(caught.value.problems)
    for told in (
        f"{file}:2: window.second: there is no setting of this name; did you mean seconds?",
        "variable WORKER_KAFKA__TOPIC: there is no setting of this name; did you mean WORKER_KAFKA__TOPICS?",
        f"{file}:4: http.port: must be a whole number",
        "flag --log-level: must be 'debug'",
        "kafka.bootstrap_servers: is required: set WORKER_KAFKA__BOOTSTRAP_SERVERS, --kafka-bootstrap-servers",
        "schemas.registry_url: a source of schemas is required",
        "attentive.token: a token is required",
        "environment variable WORKER_SHUTDOWN__DRAIN_SECONDS: must be below max.poll.interval.ms (300 s)",
    ):
        assert told in text
    assert len(caught.value.problems) == 8


def test_a_refused_value_causes_no_second_problem() -> None:
    """'long' is refused as a drain. The default drain must not then be compared with Kafka's time-out instead."""
    properties = '{"max.poll.interval.ms": "20000", "session.timeout.ms": "20000"}'
    [problem] = problems({"WORKER_SHUTDOWN__DRAIN_SECONDS": "long", "WORKER_KAFKA__PROPERTIES": properties})
    assert "must be a number" in problem


def test_names_in_the_environment_are_case_sensitive_and_other_variables_are_ignored() -> None:
    assert loaded({"WORKERS_X": "1", "worker_window__seconds": "9"}).settings.window.seconds == 5
    [problem] = problems({"WORKER_window__seconds": "9"})
    assert "did you mean WORKER_WINDOW__SECONDS?" in problem


def test_the_variables_of_a_kubernetes_service_are_explained() -> None:
    found = problems({"WORKER_SERVICE_HOST": "10.0.0.1", "WORKER_PORT_8080_TCP": "tcp://10.0.0.1:8080"})
    assert len(found) == 2
    assert all("enableServiceLinks" in problem for problem in found)


def _bomb(value: str) -> str:
    """Forty keys: each value holds the one before it four times."""
    return "".join(f"a{number + 1}: &a{number + 1} {value.format(f'a{number}')}\n" for number in range(40))


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("window:\n  seconds: 1\n  seconds: 2\n", ":3: seconds: is given twice"),
        ("window: {}\nwindow: {}\n", ":2: window: is given twice"),
        ("kafka:\n  properties:\n    a: 1\n    a: 2\n", ":4:5: is not YAML: a key is given twice"),
        ("window:\n\tseconds: 1\n", ":2:1: there is a tab where YAML allows only spaces"),
        ("window: [1\n", ":2:1: is not YAML"),
        ("attentive:\n  token: !!python/object/apply:os.system [id]\n", ":2:10: a tag"),
        ("attentive:\n  token: *tk-3f9a-not-to-be-shown\n", ":2:10: is not YAML: found undefined alias"),
        ("- a\n", ":1: the file must be a mapping"),
        ("window: 5\n", ":1: window must be a mapping"),
        ("windows:\n  seconds: 5\n", ":1: windows: there is no setting of this name; did you mean window?"),
        (
            "window.seconds: 5\n",
            ":1: window.seconds: there is no setting of this name; did you mean the key seconds under",
        ),
        ("log:\n  concurrency: 5\n", "did you mean attentive.concurrency?"),
        ("log:\n  zzz: 5\n", "`attribute-worker config --help` lists the settings"),
        ("window:\n  seconds: yes\n", ":2: window.seconds: must be a number"),
        ("window:\n  seconds:\n", ":2: window.seconds: must be a number"),
        ("kafka:\n  properties: {a: [1]}\n", ":2: kafka.properties: must be text"),
        ("window: {seconds: 2026-99-99}\n", ":1: window.seconds: looks like a date"),
        ("kafka: {properties: {[a]: 1}}\n", ":1:22: is not YAML"),
        ("kafka: {properties: " + "[" * 1000 + "\n", "is nested too deeply"),
        pytest.param("kafka: {properties: " + "[" * 5000 + "\n", "is nested too deeply", marks=pytest.mark.slow),
        ("a: b: c\n", ":1:5: is not YAML"),
        ('attentive: {token_file: "/tmp/a\\0b"}\n', ":1: attentive.token_file: holds a NUL character"),
        ('kafka: {group_id: "a\\0b"}\n', ":1: kafka.group_id: holds a NUL character"),
        ('kafka: {topics: ["^a\\0"]}\n', ":1: kafka.topics: holds a NUL character"),
        ('kafka: {properties: {client.rack: "a\\0b"}}\n', ":1: kafka.properties: holds a NUL character"),
        ("window: &a {seconds: *a}\n", "is nested too deeply"),
        (f"a0: &a0 {{}}\n{_bomb('[*{0},*{0},*{0},*{0}]')}", "its aliases (*…) write out to too many values"),
        (f"a0: &a0 {{x: 1}}\n{_bomb('{{<<: [*{0},*{0},*{0},*{0}]}}')}log: {{<<: *a40}}\n", "its aliases (*…) write"),
        ("window: \x00\n", "is not YAML: it contains a character"),
    ],
)
def test_a_problem_in_the_file_has_its_line_and_never_repeats_the_text(tmp_path: Path, text: str, told: str) -> None:
    found = "\n".join(problems(file=yaml_file(tmp_path, text)))
    assert told in found
    assert TOKEN not in found
    assert "os.system" not in found


@pytest.mark.parametrize("text", ["", "# nothing yet\n", "---\n", "window:\n", "{}\n"])
def test_an_empty_file_sets_nothing(tmp_path: Path, text: str) -> None:
    assert loaded(file=yaml_file(tmp_path, text)) == loaded()


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    assert problems(file=tmp_path / "none.yaml") == [
        f"{tmp_path}/none.yaml: the configuration file can't be read: no such file or directory"
    ]
    assert "is a directory" in problems(file=tmp_path)[0]
    binary = tmp_path / "binary"
    binary.write_bytes(b"\xff\xfe")
    assert "not UTF-8" in problems(file=binary)[0]


def test_yaml_accepts_the_same_texts_as_the_environment(tmp_path: Path) -> None:
    text = "kafka:\n  topics: [a, b]\n  properties: {log.queue: true}\nidentity:\n  order: email, phone\n"
    text += "mapping:\n  phone:\n"
    settings = loaded(file=yaml_file(tmp_path, text)).settings
    assert settings.kafka.topics == ("a", "b")
    assert settings.kafka.properties == {"log.queue": "true"}
    assert settings.identity.order == ("email", "phone")
    assert settings.mapping.phone == ""


def test_an_id_of_digits_is_text_in_yaml_too(tmp_path: Path) -> None:
    written = yaml_file(tmp_path, "attentive: {company_id: 123456789}")
    assert loaded(file=written).settings.attentive.company_id == "123456789"
    assert loaded({"WORKER_ATTENTIVE__COMPANY_ID": " "}).settings.attentive.company_id is None
    assert "attentive.company_id" in problems(file=yaml_file(tmp_path, "attentive: {company_id: true}"))[0]


def test_secrets_are_refused_in_flags() -> None:
    assert "WORKER_ATTENTIVE__TOKEN or the file" in problems(attentive__token="x")[0]
    [problem] = problems(kafka__properties='{"sasl.password": "hunter2"}')
    assert "WORKER_KAFKA__PROPERTIES or the file" in problem
    assert loaded(kafka__properties='{"client.id": "a"}').settings.kafka.properties == {"client.id": "a"}


SECRET = "hunter2-Zq"


@given(
    path=st.sampled_from(sorted(NAMES)),
    shape=st.sampled_from(
        ["{}", "{} {}", '{{"sasl.password": "{}"}}', '{{"{}": [1]}}', "[{}", "https://u:{}@h", "{}\n{}"]
    ),
)
def test_no_error_repeats_the_value_of_a_setting_that_may_be_secret(path: str, shape: str) -> None:
    """Whatever a secret looks like, and whichever setting got it by mistake, except those shown by design."""
    schema_files = {f"schemas.{whose}_schema" for whose in ("writer", "reader", "key")}
    shown_by_design = {"kafka.topics", "schemas.directory", *schema_files}
    if path in shown_by_design:
        return
    value = shape.format(SECRET, SECRET)
    told = ""
    try:
        result = load(None, {}, MINIMAL | {NAMES[path].variable: value})
    except ConfigurationError as error:
        told = str(error)
    else:
        if NAMES[path].secret or NAMES[path].properties:
            told = repr(result)
    assert SECRET not in told


YAML_PIECES = (
    *("kafka", "window", "seconds", "properties", ": ", ":", "\n", "\n  ", "- ", "{", "}", "[", "]", ",", "1", "x"),
    *("&a ", "*a", "!!int ", "!!binary ", "!!set ", "'", '"', "2026-13-01", "0x_", "<<: ", "? ", "|\n", "~", ".nan"),
    *("#", "%", "---\n", "\t", "=", "a"),
)


@given(text=st.lists(st.sampled_from(YAML_PIECES), max_size=14).map("".join))
def test_no_file_causes_a_traceback(tmp_path_factory: pytest.TempPathFactory, text: str) -> None:
    file = yaml_file(tmp_path_factory.getbasetemp(), text)
    with contextlib.suppress(ConfigurationError):
        loaded(file=file)


def test_settings_are_frozen() -> None:
    settings = loaded().settings
    with pytest.raises(ValueError, match="frozen"):
        settings.window.seconds = 1


def test_the_settings_for_people_on_call_are_the_effective_ones_and_hold_no_secret() -> None:
    shown = on_call(loaded({"WORKER_WINDOW__SECONDS": "30"}).settings)
    assert tuple(shown) == ON_CALL
    assert (shown["window.seconds"], shown["kafka.topics"]) == (30.0, ["profile-changes"])
    assert json.loads(json.dumps(shown)) == shown
    assert not any(NAMES[path].secret or NAMES[path].properties for path in ON_CALL)
