"""Nothing that the worker shows holds an identifier, a value or a secret, whatever happens to it.

Every private text is planted where it belongs, in errors of the destination and the registry, and in settings where it
does not belong. Then all that was shown is searched for it in many spellings. Only dead letters' payloads and keys
may hold identifiers and values.
"""

from __future__ import annotations

import io
import json
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx
import pytest
from fastavro import parse_schema, schemaless_writer

from tests.end_to_end.conftest import Lab
from tests.support import topics
from tests.support.otlp import OtlpSink, otlp_sink
from tests.support.planted import Search
from tests.support.processes import SandboxCommand, WorkerCommand, until
from tests.support.producers import ordered_producer
from tests.support.profiles import PROFILE_CHANGED, SCHEMA_ID, STARTED_MS
from tests.support.secured_broker import SCRAM, Secured
from tests.support.stub_registry import Answer, StubRegistry, stub_registry

pytestmark = [pytest.mark.kafka, pytest.mark.slow]

PHONE, EMAIL, CLIENT_ID, CUSTOM = (
    "+15557301946",
    "Maria.Okonkwo@Planted.example",
    "client/planted 7741",
    "custom&planted=3325",
)
VALUE, NUMBER, DENIED = 'planted "välue" <9917>', 7_730_194_655, "planted-denied-2044"
TOKEN, OTHER_TOKEN = "api/planted+8831==", "api/planted+8832=="
BROKER_PASSWORD, REGISTRY_PASSWORD, OTLP_TOKEN = "sasl/planted 5512", "registry/planted 6623", "otlp/planted+4410"
RECORD_HEADER = "planted-header-1357"

IDENTIFIERS = {"phone": PHONE[1:], "national": PHONE[2:], "email": EMAIL, "client id": CLIENT_ID, "custom id": CUSTOM}
PRIVATE = {
    **IDENTIFIERS,
    "value": VALUE,
    "number": str(NUMBER),
    "denied value": DENIED,
    "record header": RECORD_HEADER,
    "token": TOKEN,
    "other token": OTHER_TOKEN,
    "broker's password": BROKER_PASSWORD,
    "registry's password": REGISTRY_PASSWORD,
    "collector's token": OTLP_TOKEN,
}
QUOTED = f"{EMAIL} {EMAIL.lower()} {PHONE} {CLIENT_ID} {CUSTOM} {VALUE} {NUMBER} {DENIED} {TOKEN}"
"""What an error text repeats at its worst."""

_SCHEMA = parse_schema(PROFILE_CHANGED)


@pytest.fixture
def lab(secured: Secured, tmp_path: Path) -> Iterator[Lab]:
    lab = Lab(secured.broker, tmp_path)
    yield lab
    lab.end()


@pytest.fixture
def stub() -> Iterator[StubRegistry]:
    with stub_registry() as stub:
        stub.hold(SCHEMA_ID, PROFILE_CHANGED)
        yield stub


@pytest.fixture
def sink() -> Iterator[OtlpSink]:
    with otlp_sink() as sink:
        yield sink


@pytest.fixture
def environment(secured: Secured, lab: Lab, stub: StubRegistry, sink: OtlpSink) -> dict[str, str]:
    """Good settings, with every secret where it belongs."""
    secured.broker.add_user("private", BROKER_PASSWORD)
    login = {"sasl.username": "private", "sasl.password": BROKER_PASSWORD}
    return {
        **lab.environment("http://127.0.0.1:9/v1"),
        **secured.environment(SCRAM, secured.properties(SCRAM) | login | {"debug": "all"}),
        "WORKER_SCHEMAS__DIRECTORY": "",
        "WORKER_SCHEMAS__REGISTRY_URL": stub.url,
        "WORKER_SCHEMAS__REGISTRY_PROPERTIES": json.dumps({"basic.auth.user.info": f"me:{REGISTRY_PASSWORD}"}),
        "WORKER_SCHEMAS__UNKNOWN_ID_SECONDS": "1",
        "WORKER_ATTENTIVE__TOKEN": TOKEN,
        "WORKER_ATTENTIVE__TIMEOUT_SECONDS": "2",
        "WORKER_ATTENTIVE__PROBE_MAX_SECONDS": "1",
        "WORKER_ATTRIBUTES__DENY": "national_id",
        "WORKER_IDENTITY__SEND": "all",
        "WORKER_WINDOW__SECONDS": "0.2",
        "WORKER_RECEIPTS__TOPIC": f"{lab.topic}.receipts",
        "WORKER_LOG__LEVEL": "debug",
        "OTEL_TRACES_EXPORTER": "otlp",
        "OTEL_METRICS_EXPORTER": "otlp",
        "OTEL_EXPORTER_OTLP_ENDPOINT": sink.address,
        "OTEL_EXPORTER_OTLP_HEADERS": f"api-key={quote(OTLP_TOKEN, safe='')},{OTLP_TOKEN}",
        "OTEL_METRIC_EXPORT_INTERVAL": "1000",
        "OTEL_BSP_SCHEDULE_DELAY": "200",
    }


class Writer:
    """Writes records that hold private texts into the topic."""

    def __init__(self, lab: Lab) -> None:
        self._lab, self._number = lab, 0
        self._producer = ordered_producer(lab.broker.bootstrap_servers)

    def change(self, attributes: Mapping[str, object], schema_id: int = SCHEMA_ID, **user: object) -> None:
        """A change of the planted user, but for what `user` says."""
        identifiers = {"phone": PHONE, "email": EMAIL, "client_user_id": CLIENT_ID}
        custom = [{"name": "loyalty", "value": CUSTOM}]
        event = {
            "event_id": "event",
            "user": {**identifiers, "custom_identifiers": custom, **user},
            "attributes": attributes,
            "occurred_at": STARTED_MS,
        }
        body = io.BytesIO()
        schemaless_writer(body, _SCHEMA, event)
        self.record(b"\0" + schema_id.to_bytes(4, "big") + body.getvalue())

    def somebody_else(self) -> None:
        """A change of one of a thousand users whom nothing is planted of."""
        self._number += 1
        phone = f"+1202555{self._number % 1000:04d}"
        self.change({"points": 7}, phone=phone, email=None, client_user_id=None, custom_identifiers=[])

    def record(self, value: bytes) -> None:
        headers: dict[str, str | bytes | None] = {"note": RECORD_HEADER.encode()}
        self._producer.produce(self._lab.topic, value, PHONE.encode(), headers=headers)
        assert self._producer.flush(30) == 0


def _for_schemas(answer: Answer, path: str) -> Answer | None:
    return answer if "ids" in path else None


class Scenes:
    """What happens to one worker, one after the other. After each, and while it lasts, its pages are searched."""

    def __init__(
        self, lab: Lab, worker: WorkerCommand, sandbox: SandboxCommand, stub: StubRegistry, search: Search
    ) -> None:
        self._lab, self._worker, self._sandbox, self._stub, self._search = lab, worker, sandbox, stub, search
        self._write = Writer(lab)

    def look(self) -> None:
        for path in ("/", "/status", "/readyz", "/livez", "/metrics"):
            self._search.look(path, httpx.get(self._worker.url + path, timeout=5).content)

    def play(self) -> None:
        for scene in (
            *(self.delivered, self.refused, self.not_found, self.failing),
            *(self.unreadable, self.no_good_user, self.denied, self.registry_in_trouble),
            *(self.unauthorized, self.redirected, self.throttled),
        ):
            scene()
            self._lab.until_committed(60)
            self.look()

    def delivered(self) -> None:
        self._write.change({"story": VALUE, "number": NUMBER})

    def refused(self) -> None:
        """The API says of one attribute what it does not like, and to whom it belongs."""
        self._answers({"attribute": "bad"}, 400, headers={"x-request-id": EMAIL}, times=9)
        self._write.change({"story": VALUE, "bad": VALUE, "number": NUMBER})

    def not_found(self) -> None:
        self._answers({"user": PHONE}, 404)
        self._write.change({"found": VALUE})
        self._until_letters("not_found")

    def failing(self) -> None:
        self._answers({"user": PHONE}, 503, times=2)
        self._write.change({"failing": VALUE})
        self._until_error("503")

    def unreadable(self) -> None:
        self._write.record(QUOTED.encode())
        self._write.record(b"\0" + SCHEMA_ID.to_bytes(4, "big") + QUOTED.encode())
        self._until_letters("undecodable")

    def no_good_user(self) -> None:
        self._write.change({"a": VALUE}, phone=f"tel:{PHONE}")
        self._write.change({"a": VALUE}, phone=None, email=f"<{EMAIL}>", client_user_id=None, custom_identifiers=[])
        self._until_letters("invalid_identity")

    def denied(self) -> None:
        self._write.change({"national_id": DENIED, "x" * 300: NUMBER, "story": f"{VALUE} again"})
        self._until_letters("sensitive_data")

    def registry_in_trouble(self) -> None:
        """It fails, refuses, and answers what is no schema. Each answer repeats what it was asked with."""
        said = {"error_code": 50001, "message": f"{QUOTED} {REGISTRY_PASSWORD}"}
        answers: list[Answer] = [(500, said), (401, said), (200, json.dumps(said).encode())]
        for answer in answers:
            self._stub.fault = partial(_for_schemas, answer)
            if answer is answers[0]:
                self._write.change({"registry": VALUE}, schema_id=8)
            asked_before = len(self._stub.asked)
            until(
                partial(self._registry_asked, asked_before + 2), 60, "the worker asks, and has taken the answer before"
            )
            until(lambda: self._worker.status()["problem"], 10, "the registry's trouble")
            self.look()
        self._stub.hold(8, PROFILE_CHANGED)
        self._stub.fault = lambda _: None

    def _registry_asked(self, times: int) -> bool:
        return len(self._stub.asked) >= times

    def unauthorized(self) -> None:
        self._sandbox.tokens(OTHER_TOKEN)
        self._answers({}, 401)
        self._write.change({"unauthorized": VALUE})
        self._until_halted("unauthorized")
        self._sandbox.tokens(TOKEN)

    def redirected(self) -> None:
        login, query = quote(f"{EMAIL}:{TOKEN}", safe=":"), quote(f"{TOKEN} {VALUE}")
        path = "/".join(map(quote, (PHONE, EMAIL, VALUE, CUSTOM, TOKEN)))
        there = f"https://{login}@elsewhere.example/login/{path}?token={query}#{CLIENT_ID}"
        self._answers({}, 302, headers={"Location": there})
        self._write.change({"redirected": VALUE})
        self._until_halted("wrong_url")

    def throttled(self) -> None:
        self._answers({}, 429, headers={"Retry-After": EMAIL, "x-ratelimit-limit": PHONE}, times=1)
        self._write.change({"throttled": VALUE})
        self._until_error("429")

    def _answers(self, match: Mapping[str, str], status: int, **more: Any) -> None:  # noqa: ANN401 - a fault's fields
        body = json.dumps({"message": QUOTED, "errors": [QUOTED], "requestId": EMAIL})
        self._sandbox.faults([{"match": match, "status": status, "body": body, **more}])

    def _until_halted(self, reason: str) -> None:
        until(lambda: (self._worker.status()["halt"] or {}).get("reason") == reason, 30, reason)
        self.look()
        self._sandbox.faults([])

    def _until_error(self, words: str) -> None:
        until(lambda: words in json.dumps(self._worker.status()["last_error"]), 30, words)

    def _until_letters(self, reason: str) -> None:
        """Others are delivered meanwhile, so that the worker knows whose trouble it is."""

        def written() -> bool:
            self._write.somebody_else()
            return reason in self._worker.status()["totals"]["dead_letters"]

        until(written, 60, reason, pause=0.3)


def test_a_running_worker_shows_nothing_private(
    lab: Lab, environment: dict[str, str], stub: StubRegistry, sink: OtlpSink
) -> None:
    search = Search(PRIVATE)
    lab.broker.create_topic(lab.topic, 1)
    sandbox = lab.sandbox()
    sandbox.tokens(TOKEN)
    worker = lab.worker(sandbox.base_url, {**environment, "WORKER_ATTENTIVE__BASE_URL": sandbox.base_url})
    worker.until_ready()
    Scenes(lab, worker, sandbox, stub, search).play()
    assert worker.stop() == 0
    search.look("log", worker.log.read_bytes())
    assert worker.output.read_bytes() == b""
    for sent in sink.raw:
        search.look("spans and metrics", sent)
    letters = topics.dead_letters(lab.broker.bootstrap_servers, lab.dead_letter_topic)
    for letter in letters:
        search.look("letter's headers", json.dumps(letter["headers"]))
        search.look("letter's detail", str(letter["detail"]))
    receipts = [*topics.messages(lab.broker.bootstrap_servers, f"{lab.topic}.receipts")]
    for receipt in receipts:
        search.look("receipt", receipt.value() or b"")
    assert [receipt.key() for receipt in receipts] == [None] * len(receipts)
    assert b"story" in (receipts[0].value() or b"")
    for form in ([], ["--json"]):
        told = lab.command("explain", f"{lab.topic}:0:0", *form, environment=_as_the_worker(environment, sandbox))
        search.look("explain", told.output.read_bytes())
        search.look("explain's log", told.log.read_bytes())
        assert b"story" in told.output.read_bytes()
    assert all(search.characters.values()), search.characters
    assert {letter["reason"] for letter in letters} >= {"rejected", "not_found", "undecodable"}
    assert VALUE in [attribute["value"] for letter in letters for attribute in letter["attributes"]]
    assert search.found == set()


def _as_the_worker(environment: Mapping[str, str], sandbox: SandboxCommand) -> dict[str, str]:
    """The settings of the worker for another command."""
    settings = {**environment, "WORKER_ATTENTIVE__BASE_URL": sandbox.base_url}
    return {name: value for name, value in settings.items() if value}


def odd_settings() -> dict[str, dict[str, str]]:
    """Settings with a secret where none belongs, that the loader takes and a part refuses."""
    login = quote(f"me:{REGISTRY_PASSWORD}", safe=":")

    def for_registry(name: str, value: str) -> dict[str, str]:
        return {"WORKER_SCHEMAS__REGISTRY_PROPERTIES": json.dumps({name: value})}

    return {
        "a mistyped property of the registry": for_registry("basic.auth.userinfo", f"me:{REGISTRY_PASSWORD}"),
        "a number of the registry": for_registry("timeout", REGISTRY_PASSWORD),
        "a choice of the registry": for_registry("bearer.auth.credentials.source", REGISTRY_PASSWORD),
        "proxies that are none": {"HTTPS_PROXY": f"http://{login}@127.0.0.1:99999", "ALL_PROXY": f"odd://{login}@h"},
    }


def test_commands_show_nothing_private_of_settings_that_are_right_or_odd(lab: Lab, environment: dict[str, str]) -> None:
    search = Search(PRIVATE)
    lab.broker.create_topic(lab.topic, 1)
    sandbox = lab.sandbox()
    sandbox.tokens(TOKEN)
    good = {**environment, "WORKER_ATTENTIVE__BASE_URL": sandbox.base_url}

    def run(name: str, *arguments: str, **changed: str) -> None:
        settings = {variable: text for variable, text in {**good, **changed}.items() if text}
        command = lab.command(*arguments, environment=settings)
        search.look(f"{name}: output", command.output.read_bytes())
        search.look(f"{name}: errors", command.log.read_bytes())
        assert "Traceback" not in command.log.read_text(), name
        assert command.output.stat().st_size + command.log.stat().st_size > 0, name

    for command in ("check", "config"):
        run(command, command)
        run(f"{command} in JSON", command, "--json")
    for name, changed in odd_settings().items():
        run(name, "run", **changed)
    assert search.found == set()
