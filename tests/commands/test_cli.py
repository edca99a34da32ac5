"""The command line as users meet it: help, mistakes, output and exit status."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

import worker
from tests.commands import starting
from tests.support.marks import slow_after
from worker.cli import group, main
from worker.masking import MASK, is_secret, masked
from worker.settings.names import NAMES

TOKEN = "tk-3f9a-not-to-be-shown"
MINIMAL = {
    "WORKER_KAFKA__BOOTSTRAP_SERVERS": "broker:9092",
    "WORKER_SCHEMAS__REGISTRY_URL": "http://registry:8081",
    "WORKER_ATTENTIVE__TOKEN": TOKEN,
}


@pytest.fixture(autouse=True)
def bare_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in [name for name in os.environ if name.startswith("WORKER_")]:
        monkeypatch.delenv(variable)


def invoke(*arguments: str, environ: Mapping[str, str] = MINIMAL) -> Result:
    return CliRunner().invoke(group, arguments, env=dict(environ), prog_name="attribute-worker")


def start(*arguments: str, environ: Mapping[str, str] = MINIMAL) -> subprocess.CompletedProcess[str]:
    """As `starting.start`, with the settings that every start needs."""
    return starting.start(*arguments, environ=environ)


def test_version_and_help_go_to_stdout() -> None:
    done = start("--version")
    assert (done.returncode, done.stdout, done.stderr) == (0, f"attribute-worker, version {worker.__version__}\n", "")
    done = start("--help")
    assert done.returncode == 0
    for command in ("run", "demo", "sandbox", "check", "config"):
        assert f"  {command} " in done.stdout
    assert "Examples:" in done.stdout
    assert done.stderr == ""


@pytest.mark.parametrize("name", [["dead-letters"], ["dead-letters", "redrive"], ["plan"], ["replay"], ["verify"]])
def test_the_help_of_a_command_shows_examples_before_the_settings(name: list[str]) -> None:
    text = invoke(*name, "--help").stdout
    examples = text.index("Examples:")
    assert f"attribute-worker {' '.join(name)} " in text[examples:]
    assert "Settings:" not in text[:examples]
    assert text.count("Examples:") == 1


CLIENTS = {"confluent_kafka", "httpx", "httpcore", "opentelemetry", "prometheus_client", "starlette", "uvicorn", "rich"}


@pytest.mark.parametrize(
    ("arguments", "foreign"),
    [
        (["--help"], {*CLIENTS, "pydantic", "fastavro", "phonenumbers", "structlog", "tenacity", "yaml"}),
        (["--version"], {*CLIENTS, "pydantic", "fastavro", "phonenumbers", "structlog", "tenacity", "yaml"}),
        (["config", "--help"], CLIENTS),
        (["config"], CLIENTS),
        (["demo", "--help"], {*CLIENTS, "pydantic", "fastavro"}),
        (["sandbox", "--help"], {*CLIENTS, "pydantic", "fastavro"}),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_a_command_imports_no_client_that_it_does_not_need(arguments: list[str], foreign: set[str]) -> None:
    """A container that prints its help or its settings must not wait for the import of a broker client."""
    code = (
        "import sys; import worker.cli as c\n"
        f"try: c.group({arguments!r}, prog_name='attribute-worker', standalone_mode=False)\n"
        "finally: print(*sorted(sys.modules))"
    )
    environ = os.environ | MINIMAL
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environ, timeout=60
    )
    imported = {name.partition(".")[0] for name in done.stdout.splitlines()[-1].split()}
    assert "click" in imported
    assert not imported & foreign


def test_without_a_command_the_help_is_shown_and_the_exit_status_is_2() -> None:
    result = invoke()
    assert result.exit_code == 2
    assert result.stdout == ""
    serving, looking = result.stderr.index("Serving:"), result.stderr.index("Looking (changes nothing):")
    assert serving < result.stderr.index("  run ") < looking < result.stderr.index("  check ")


@pytest.mark.parametrize(("given", "near"), [("conf", "config"), ("chek", "check"), ("snadbox", "sandbox")])
def test_an_unknown_command_suggests_the_nearest(given: str, near: str) -> None:
    result = invoke(given)
    assert result.exit_code == 2
    assert f"There is no command '{given}'. Did you mean '{near}'?" in result.stderr


def test_an_unknown_flag_suggests_the_nearest() -> None:
    result = invoke("config", "--window-second", "5")
    assert result.exit_code == 2
    assert "--window-seconds" in result.stderr


def test_config_shows_every_setting_and_where_it_came_from() -> None:
    result = invoke("config", "--window-seconds", "30", "--attentive-allow-plain-http")
    assert result.exit_code == 0, result.stderr
    lines = {line.split("=")[0].strip(): line for line in result.stdout.splitlines()}
    assert lines.keys() == NAMES.keys()
    assert lines["window.seconds"].split() == ["window.seconds", "=", "30", "#", "flag", "--window-seconds"]
    assert "= true" in lines["attentive.allow_plain_http"]
    assert lines["kafka.bootstrap_servers"].endswith("# environment variable WORKER_KAFKA__BOOTSTRAP_SERVERS")
    assert lines["log.level"].endswith("# default")
    assert result.stderr == ""


def test_config_masks_secrets() -> None:
    kafka = {"sasl.username": "me", "sasl.password": "hunter2", "ssl.key.location": "/k.pem", "ssl.key.pem": "hunter2"}
    registry = {"basic.auth.user.info": "me:hunter2", "bearer.auth.token": "hunter2"}
    properties = {
        "WORKER_KAFKA__PROPERTIES": json.dumps(kafka | {"sasl.oauthbearer.client.secret": "hunter2"}),
        "WORKER_SCHEMAS__REGISTRY_PROPERTIES": json.dumps(registry),
    }
    for arguments in (("config",), ("config", "--json")):
        result = invoke(*arguments, environ=MINIMAL | properties)
        assert result.exit_code == 0, result.stderr
        assert TOKEN not in result.output
        assert "hunter2" not in result.output
        assert "/k.pem" in result.output


@pytest.mark.parametrize(
    ("name", "value", "secret"),
    [
        ("sasl.password", "x", True),
        ("ssl.key.password", "x", True),
        ("ssl.key.pem", "x", True),
        ("sasl.oauthbearer.client.secret", "x", True),
        ("sasl.oauthbearer.assertion.private.key.passphrase", "x", True),
        ("bearer.auth.token", "x", True),
        ("basic.auth.user.info", "x", True),
        ("proxy", "http://me:x@proxy:3128", True),
        ("ssl.certificate.pem", "-----BEGIN RSA PRIVATE KEY-----", True),
        ("SASL.PASSWORD", "x", True),
        ("sasl_passwd", "x", True),
        ("db-pwd", "x", True),
        ("passphrase2", "x", True),
        ("clientSecret", "x", True),
        ("secretname", "x", True),
        ("x.accesstoken.ms", "x", True),
        ("aws.credentials", "x", True),
        ("api_key", "x", True),
        ("apikey.name", "x", True),
        ("sasl.jaas.config", "x", True),
        ("basic_auth_user_info", "x", True),
        ("userinfo", "x", True),
        ("sasl.oauthbearer.config", "x", True),
        ("sasl.kerberos.kinit.cmd", "x", True),
        ("sasl.kerberos.keytab", "/k.keytab", False),
        ("bearer.auth.credentials.source", "STATIC_TOKEN", False),
        ("ssl.certificate.pem", "-----BEGIN CERTIFICATE-----", False),
        ("ssl.key.location", "/k.pem", False),
        ("sasl.oauthbearer.token.endpoint.url", "https://login", False),
        ("sasl.username", "x", False),
        ("security.protocol", "SASL_SSL", False),
    ],
)
def test_a_property_is_secret_by_its_name_or_by_a_password_in_a_url(name: str, value: str, secret: bool) -> None:  # noqa: FBT001 - a row's expectation
    assert is_secret(name, value) is secret


def test_config_masks_properties_that_nobody_knows() -> None:
    """A misspelt name may be meant for a secret."""
    registry = {"basic.auth.usr.inf": "me:hunter2", "proxy": "http://proxy:3128", "password.file": "hunter2"}
    result = invoke("config", environ=MINIMAL | {"WORKER_SCHEMAS__REGISTRY_PROPERTIES": json.dumps(registry)})
    assert result.exit_code == 0, result.stderr
    assert "hunter2" not in result.output
    assert "http://proxy:3128" in result.stdout
    result = invoke("config", environ=MINIMAL | {"WORKER_KAFKA__PROPERTIES": '{"sasl.pasword": "hunter2"}'})
    assert result.exit_code == 2
    assert "sasl.pasword" in result.stderr
    assert "hunter2" not in result.output
    plain = masked({"sasl.pasword": "hunter2", "client.rack": "a", "a.b": "hunter2"}, {"client.rack"})
    assert plain == {"sasl.pasword": MASK, "client.rack": "a", "a.b": MASK}


def test_a_terminal_that_cannot_show_a_character_causes_no_traceback() -> None:
    done = start("config", "--help", environ=MINIMAL | {"PYTHONIOENCODING": "ascii:strict"})
    assert (done.returncode, done.stderr) == (0, "")


def test_config_prints_json_on_request() -> None:
    report = json.loads(invoke("config", "--json", "--kafka-topics", "a,b").stdout)
    assert report.keys() == NAMES.keys()
    assert report["kafka.topics"] == {
        "value": ["a", "b"],
        "source": "flag --kafka-topics",
        "variable": "WORKER_KAFKA__TOPICS",
    }
    assert report["window.seconds"]["value"] == 5
    assert report["schemas.directory"]["value"] is None


def test_config_shows_the_values_even_where_something_is_missing_or_wrong() -> None:
    some = {"WORKER_WINDOW__SECONDS": "7", "WORKER_HTTP__PORT": "planted-nonsense"}
    done = invoke("config", environ=some)
    assert done.exit_code == 2
    shown = {line.split("=")[0].strip(): line for line in done.stdout.splitlines()}
    assert shown.keys() == NAMES.keys()
    assert "7" in shown["window.seconds"]
    assert "required, and set nowhere" in shown["kafka.bootstrap_servers"]
    assert "cannot be used" in shown["http.port"]
    assert "8080" not in shown["http.port"]
    assert "missing" not in shown["kafka.bootstrap_servers"]
    assert "errors:" in done.stderr
    assert "planted-nonsense" not in done.stdout + done.stderr
    found = json.loads(invoke("config", "--json", environ=some).stdout)
    assert found["kafka.bootstrap_servers"]["value"] is None


def test_config_shows_nothing_of_other_programs_secrets() -> None:
    """Exporters and proxies are configured by variables of their own, which may hold a token or a password."""
    secrets = {
        "OTEL_EXPORTER_OTLP_HEADERS": "authorization=Bearer%20planted",
        "OTEL_EXPORTER_OTLP_ENDPOINT": "http://ann:planted@collector:4318/?token=planted",
        "HTTPS_PROXY": "http://ann:planted@proxy:3128",
    }
    for form in ([], ["--json"]):
        done = invoke("config", *form, environ={**MINIMAL, **secrets})
        assert done.exit_code == 0
        assert "planted" not in done.stdout + done.stderr


def test_config_prints_an_example_whatever_is_set() -> None:
    done = invoke("config", "--example", environ={"WORKER_WINDOW__SECONDS": "nonsense"})
    assert (done.exit_code, done.stderr) == (0, "")
    assert "\n  #seconds: 5.0\n" in done.stdout


def test_config_reads_the_file_it_is_given(tmp_path: Path) -> None:
    file = tmp_path / "worker.yaml"
    file.write_text("window: {seconds: 9}", encoding="utf-8")
    assert f"# {file}:1: window.seconds" in invoke("config", "--config", str(file)).stdout
    missing = invoke("config", "--config", str(tmp_path / "none.yaml"))
    assert missing.exit_code == 2
    assert "can't be read" in missing.stderr


@pytest.mark.parametrize("command", slow_after(1, ["run", "check"]))
def test_a_wrong_configuration_ends_with_2_and_no_traceback(command: str) -> None:
    done = start(command, environ={"WORKER_WINDOW__SECOND": "1", "WORKER_LOG__FORMAT": "console"})
    assert done.returncode == 2
    assert done.stdout == ""
    assert "The configuration has 4 errors:" in done.stderr
    assert "did you mean WORKER_WINDOW__SECONDS?" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.slow
def test_a_variable_that_opentelemetry_does_not_know_while_it_is_imported_causes_no_traceback() -> None:
    done = start("run", environ={"OTEL_PYTHON_CONTEXT": "bogus", "WORKER_LOG__FORMAT": "console"})
    assert done.returncode == 2
    assert done.stderr.startswith("Error: The configuration has 3 errors:"), done.stderr


def test_help_groups_a_flag_for_every_setting_but_the_token() -> None:
    text = invoke("config", "--help").stdout
    for name in NAMES.values():
        assert (name.flag in text.split()) is not name.secret, name.flag
        assert f"Settings: {name.section}:" in text
    assert "The API token has no flag" in " ".join(text.split())


def test_every_setting_can_be_given_by_its_flag() -> None:
    """Each flag reaches the setting it is named after."""
    values = {
        "window.seconds": "7",
        "kafka.topics": "t",
        "log.format": "json",
        "http.port": "0",
        "mapping.prefix": "p_",
    }
    arguments = [part for path, value in values.items() for part in (NAMES[path].flag, value)]
    report = json.loads(invoke("config", "--json", *arguments).stdout)
    assert {path for path, entry in report.items() if entry["source"].startswith("flag ")} == values.keys()


def test_a_closed_pipe_causes_no_traceback() -> None:
    command = f"{sys.executable} -m worker config | true"
    environment = os.environ | MINIMAL
    done = subprocess.run(
        ["/bin/sh", "-c", command], capture_output=True, text=True, check=False, env=environment, timeout=60
    )
    assert "Traceback" not in done.stderr
    assert "BrokenPipe" not in done.stderr


@pytest.mark.parametrize("closed", slow_after(1, [">&-", "2>&-", ">&- 2>&-"]))
def test_a_stream_that_was_closed_before_the_start_takes_nothing_and_disturbs_nothing(closed: str) -> None:
    for command, status, says in (("config --json", 0, True), ("run --window-seconds none", 2, False)):
        done = subprocess.run(
            ["/bin/sh", "-c", f"{sys.executable} -m worker {command} {closed}"],
            capture_output=True,
            text=True,
            check=False,
            env=os.environ | MINIMAL,
            timeout=60,
        )
        assert done.returncode == status
        assert bool(done.stdout) == (says and closed == "2>&-")
        assert bool(done.stderr) == (not says and closed == ">&-")
        assert "Traceback" not in done.stderr


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no device that is always full")
@pytest.mark.parametrize("arguments", slow_after(2, ["--help", "--version", "config", "sandbox --port 0 --token t"]))
def test_a_full_disk_is_reported_in_one_line(arguments: str) -> None:
    command = f"{sys.executable} -m worker {arguments} >/dev/full"
    environment = os.environ | MINIMAL
    done = subprocess.run(
        ["/bin/sh", "-c", command], capture_output=True, text=True, check=False, env=environment, timeout=60
    )
    assert done.returncode == 1
    assert "Error: the output cannot be written: No space left on device" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("command", "extra"), [("sandbox", "sandbox"), pytest.param("demo", "demo", marks=pytest.mark.slow)]
)
def test_a_missing_extra_is_a_clear_message(command: str, extra: str) -> None:
    """The process cannot import the extras' packages, as if they were not installed."""
    code = (
        "import sys\n"
        "for name in ('starlette', 'uvicorn', 'httptools', 'rich'): sys.modules[name] = None\n"
        "from worker.cli import group\n"
        f"group(['{command}'] + (['--port', '0', '--token', 't'] if '{command}' == 'sandbox' else []))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 2, done.stderr
    assert f"pip install '.[{extra}]'" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_signal_that_comes_before_the_command_handles_signals_ends_the_program(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The first process of a container has no default for SIGTERM: what it does not handle, it never notices."""
    before, interrupted = signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)
    monkeypatch.setattr(sys, "argv", ["attribute-worker", "run"])
    monkeypatch.setattr("worker.cli.LazyGroup.get_command", lambda *_: signal.raise_signal(signal.SIGTERM))
    # As in a container, a signal without a handler has no effect.
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    try:
        with pytest.raises(SystemExit) as ended:
            main()
    finally:
        signal.signal(signal.SIGTERM, before)
        signal.signal(signal.SIGINT, interrupted)
    assert ended.value.code == "Aborted!"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_while_modules_are_imported_ends_the_program_with_1(tmp_path: Path, number: signal.Signals) -> None:
    """Some modules make classes by exec(); Python remembers an interrupt there, and would end by the signal itself."""
    script = f"""
import signal
import worker.cli
worker.cli.LazyGroup.get_command = lambda *_: exec("signal.raise_signal({number.value})", {{"signal": signal}})
worker.cli.main()
"""
    (tmp_path / "interrupted.py").write_text(script)
    command = [sys.executable, "-m", "interrupted", "run"]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(tmp_path), *sys.path])}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment, timeout=60)
    assert (done.returncode, done.stderr) == (1, "Aborted!\n")
