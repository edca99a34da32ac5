"""Schemas from a registry: which responses are answers, and which are retried."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka.schema_registry.error import OAuthTokenError

from tests.support.avro import body, fields, framed, record
from tests.support.stub_registry import NOT_FOUND, StubRegistry, stub_registry
from worker.core.avro.schema import full_name
from worker.core.events.decode import Decoder, Undecodable
from worker.core.events.mapping import Mapping
from worker.core.model import SchemaId
from worker.registry.bundled import bundled
from worker.registry.client import RegistryClient, explained
from worker.registry.fetching import Fetching
from worker.registry.registry import RegistrySchemas
from worker.registry.stopped import SchemasStopped

pytestmark = pytest.mark.slow

ROW = fields(("id", "string"))
USER = fields(("name", "string"), name="n.User")
WRAP = fields(("user", USER), name="n.Wrap")
DEADLINE_SECONDS = 30.0


@pytest.fixture
def stub() -> Iterator[StubRegistry]:
    with stub_registry() as stub:
        yield stub


@contextmanager
def source(
    url: str,
    *,
    unknown_id_seconds: float = 0,
    leave_out_tagged: bool = False,
    **properties: Any,  # noqa: ANN401 - the client's own settings
) -> Iterator[RegistrySchemas]:
    schemas = RegistrySchemas(
        url,
        properties,
        "letters",
        unknown_id_seconds=unknown_id_seconds,
        leave_out_tagged=leave_out_tagged,
    )
    try:
        yield schemas
    finally:
        schemas.close()


def until(holds: Callable[[], Any]) -> Any:  # noqa: ANN401 - whatever the caller waits for
    """Waits until `holds` returns something truthy, and returns that. Fails at the deadline."""
    deadline = time.monotonic() + DEADLINE_SECONDS
    while not (found := holds()):
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.005)
    return found


def answer(schemas: RegistrySchemas, schema_id: int) -> object:
    schemas.request(schema_id)
    ((answered, schema),) = until(schemas.answers)
    assert answered == schema_id
    return schema


def test_a_schema_is_fetched_once_however_often_it_is_asked_for(stub: StubRegistry) -> None:
    stub.hold(7, ROW)
    with source(stub.url) as schemas:
        for _ in range(50):
            schemas.request(7)
        assert until(schemas.answers) == [(7, ROW)]
        assert schemas.waiting() is None
    assert [path for path in stub.asked if path.startswith("GET")] == ["GET /schemas/ids/7"]


def test_404_with_the_registrys_error_code_means_that_an_id_does_not_exist(stub: StubRegistry) -> None:
    with source(stub.url) as schemas:
        assert answer(schemas, 404) is None


@pytest.mark.parametrize(
    ("fault", "says"),
    [
        ((404, b"<html>nothing here</html>"), "HTTP 404; no registry answers at that path"),
        ((404, {"message": "No static resource"}), "HTTP 404; no registry answers at that path"),
        ((404, {"error_code": 404, "message": "HTTP 404 Not Found"}), "HTTP 404, error code 404; no registry answers"),
        ((200, b"<html>welcome</html>"), "the answer is not from a schema registry"),
        ((200, ["odd"]), "the answer is not from a schema registry"),
        ((301, b""), "HTTP 301; it redirects"),
        (
            (401, {"error_code": 40101, "message": "bob:hunter2 is wrong"}),
            "HTTP 401, error code 40101; it refuses the credentials",
        ),
        ((403, b"hunter2"), "HTTP 403; these credentials may not"),
        ((500, {"error_code": 50001, "message": "hunter2"}), "HTTP 500, error code 50001"),
        ((503, b""), "HTTP 503"),
        ((403, {"error_code": 40403, "message": "Schema not found"}), "HTTP 403, error code 40403"),
        ((500, {"error_code": 40403, "message": "Schema not found"}), "HTTP 500, error code 40403"),
        ((404, {"error_code": "40403"}), "HTTP 404; no registry answers"),
        ((403, {"error_code": "ACCESS_DENIED", "message": "no"}), "HTTP 403; these credentials may not"),
        ((403, {"error_code": [], "message": {}}), "HTTP 403; these credentials may not"),
        ((404, {"error_code": {"a": None}}), "HTTP 404; no registry answers"),
        ((409, {"error_code": 1.5e300}), "HTTP 409"),
        ((429, []), "HTTP 429"),
        ((500, None), "HTTP 500"),
        ((200, {}), "the answer is not from a schema registry"),
        ((200, {"schema": 7}), "the answer is not from a schema registry"),
        ((200, {"schema": {"type": "record"}}), "the answer is not from a schema registry"),
        ((200, {"schema": "{}", "references": 7}), "the answer is not from a schema registry"),
        ((200, {"schema": "{}", "references": [{"name": "a"}]}), "the answer is not from a schema registry"),
        ((200, {"schema": "{}", "ruleSet": {"domainRules": ["odd"]}}), "the answer is not from a schema registry"),
        ((200, b""), "the answer is not from a schema registry"),
        ((200, b"[" * 100_000), "RecursionError"),
    ],
)
def test_any_other_answer_is_retried_and_explained_without_secrets(
    stub: StubRegistry, fault: tuple[int, object], says: str
) -> None:
    stub.hold(7, ROW)
    stub.fault = lambda path: fault if "ids" in path else None
    with source(stub.url.replace("//", "//bob:hunter2@")) as schemas:
        schemas.request(7)
        text = until(schemas.waiting)
        assert f"cannot fetch schema 7 at {stub.url}: {says}" in text
        assert "hunter2" not in text
        assert schemas.answers() == []
        stub.fault = lambda _path: None
        assert until(schemas.answers) == [(7, ROW)]
        until(lambda: schemas.waiting() is None)
    assert "bob:hunter2" in stub.authorization


def test_a_registry_that_is_down_is_retried_and_the_next_url_is_tried(stub: StubRegistry) -> None:
    with stub_registry() as gone:
        url = gone.url
    with source(url.replace("//", "//bob:hunter2@")) as schemas:
        schemas.request(7)
        text = until(schemas.waiting)
        assert "ConnectError: Connection refused" in text
        assert "hunter2" not in text
        assert schemas.dead_letter_schema_id() is None
    with source(f"{url},{stub.url}") as schemas:
        stub.hold(7, ROW)
        assert answer(schemas, 7) == ROW


def test_an_id_that_always_fails_does_not_block_others(stub: StubRegistry) -> None:
    stub.hold(8, ROW)
    stub.fault = lambda path: (500, b"") if path.startswith("/schemas/ids/7") else None
    with source(stub.url) as schemas:
        schemas.request(7)
        until(schemas.waiting)
        schemas.request(8)
        assert until(schemas.answers) == [(8, ROW)]
        schemas.request(9)
        assert until(schemas.answers) == [(9, None)]


def test_an_id_that_a_lagging_registry_learns_later_is_not_answered_as_unknown(stub: StubRegistry) -> None:
    with source(stub.url, unknown_id_seconds=600) as schemas:
        schemas.request(9)
        assert "schema 9 does not exist" in until(schemas.waiting)
        assert schemas.answers() == []
        stub.hold(9, ROW)
        assert until(schemas.answers) == [(9, ROW)]
        until(lambda: schemas.waiting() is None)


def test_a_thread_that_ends_is_told_and_ends_the_turn(stub: StubRegistry, monkeypatch: pytest.MonkeyPatch) -> None:
    def step(*_: object) -> None:
        raise SystemExit

    monkeypatch.setattr(Fetching, "step", step)
    with source(stub.url) as schemas:
        assert "ended: SystemExit" in until(schemas.waiting)
        with pytest.raises(SchemasStopped, match="ended: SystemExit"):
            schemas.answers()


def test_registering_the_dead_letters_schema_does_not_delay_reads(stub: StubRegistry) -> None:
    stub.hold(7, ROW)
    stub.fault = lambda path: (403, b"") if path.startswith("/subjects") else None
    with source(stub.url) as schemas:
        assert "cannot register letters-value" in until(schemas.waiting)
        assert answer(schemas, 7) == ROW
        assert schemas.dead_letter_schema_id() is None
        stub.fault = lambda _path: None
        assert until(schemas.dead_letter_schema_id) == 901
        until(lambda: schemas.waiting() is None)
    ((subject, sent),) = stub.registered
    assert subject == "letters-value"
    assert '"DeadLetter"' in sent["schema"]


@pytest.mark.parametrize(
    "nonsense",
    [{}, [], None, "text", 7, b"", b"<html>welcome</html>", b"[" * 100_000]
    + [{"id": odd} for odd in ("7", 7.0, True, None, -1, 2**31, 2**64, {"id": 7}, [7])],
)
def test_a_registration_whose_answer_has_no_id_is_retried_with_pauses_and_reported(
    stub: StubRegistry, nonsense: object
) -> None:
    """The answer is 200, as with an empty object: the client sees no error, but there is no id."""
    stub.fault = lambda path: (200, nonsense) if path.startswith("/subjects") else None
    with source(stub.url) as schemas:
        assert "cannot register letters-value" in until(schemas.waiting)
        assert schemas.dead_letter_schema_id() is None
        stub.fault = lambda _path: None
        assert until(schemas.dead_letter_schema_id) == 901
    assert sum(path.startswith("POST /subjects") for path in stub.asked) < 10


def test_the_schema_of_receipts_is_registered_after_that_of_the_letters(stub: StubRegistry) -> None:
    schemas = RegistrySchemas(stub.url, {}, "letters", receipt_topic="receipts")
    try:
        assert until(schemas.receipt_schema_id) is not None
    finally:
        schemas.close()
    assert [subject for subject, _ in stub.registered] == ["letters-value", "receipts-value"]
    assert [full_name(json.loads(sent["schema"])) for _, sent in stub.registered] == [
        "profile.v1.DeadLetter",
        "profile.v1.Receipt",
    ]


@pytest.mark.parametrize("further", [[], [{"name": "geo.Country", "subject": "country", "version": 3}]])
def test_types_of_referenced_subjects_are_put_into_the_schema(stub: StubRegistry, further: list[object]) -> None:
    """Address refers to Country; if the schema does too, the references form a diamond. One is named as a file."""
    country = {"type": "enum", "name": "Country", "namespace": "geo", "symbols": ["FR", "DE"]}
    address = {**fields(("land", "geo.Country"), name="Address"), "namespace": "crm"}
    root = fields(("id", "string"), ("land", "geo.Country"), ("home", "crm.Address"), ("work", "crm.Address"))
    stub.hold(1, country)
    stub.hold(2, address, references=[{"name": "geo.Country", "subject": "country", "version": 3}])
    stub.hold(7, root, references=[{"name": "address.avsc", "subject": "address", "version": 1}, *further])
    stub.subjects = {("country", "3"): 1, ("address", "1"): 2}
    with source(stub.url) as schemas:
        schema = answer(schemas, 7)
    decoder = Decoder(Mapping(client_user_id="id", attributes="home"))
    decoder.add(7, schema)
    inline = fields(
        ("id", "string"),
        ("land", country),
        ("home", {**address, "fields": [{"name": "land", "type": "geo.Country"}]}),
        ("work", "crm.Address"),
    )
    datum = {"id": "u1", "land": "FR", "home": {"land": "DE"}, "work": {"land": "FR"}}
    event = decoder.decode(record(framed(7, body(inline, datum))))
    assert event is not None
    assert dict(event.attributes) == {"land": "DE"}


@pytest.mark.parametrize(
    ("root", "referenced"),
    [
        (fields(("id", "string"), ("user", "n.User"), ("wrap", "n.Wrap")), WRAP),
        (fields(("id", "string"), ("user", "n.User"), ("wrap", "n.Wrap")), ["null", WRAP]),
        (fields(("id", "string"), ("user", "User"), ("wrap", "Wrap"), name="n.Row"), WRAP | {"name": "Wrap"}),
        ({"type": "n.Row"}, fields(("id", "string"), ("user", USER), ("wrap", WRAP), name="n.Row")),
    ],
)
def test_a_referenced_subject_may_hold_several_types_in_any_form(
    stub: StubRegistry, root: object, referenced: object
) -> None:
    stub.hold(1, referenced)
    stub.hold(7, root, references=[{"name": "anything.avsc", "subject": "types", "version": 1}])
    stub.subjects = {("types", "1"): 1}
    with source(stub.url) as schemas:
        schema = answer(schemas, 7)
    decoder = Decoder(Mapping("", "", "id", "", attributes="user.*, inner=wrap.user.name", occurred_at=""))
    decoder.add(7, schema)
    event = decoder.decode(record(framed(7, b"\x04u1\x02a\x02b")))
    assert event is not None
    assert event.attributes == {"name": "a", "inner": "b"}


@pytest.mark.parametrize(
    ("referenced", "why"),
    [
        (fields(name="m.User"), "there is no type n.User"),
        ([USER, fields(name="n.Row")], "n.Row is defined twice, in different ways"),
        (
            "{broken",
            "it refers to version 3 of the subject 'types', which is not a valid Avro schema: its text is not JSON",
        ),
    ],
)
def test_a_schema_that_cannot_be_put_together_makes_its_own_records_undecodable(
    stub: StubRegistry, referenced: object, why: str
) -> None:
    """It is no fault of the registry: other ids go on, and nothing waits."""
    stub.hold(1, referenced)
    root = fields(("id", "string"), ("user", "n.User"), name="n.Row")
    stub.hold(7, root, references=[{"name": "n.User", "subject": "types", "version": 3}])
    stub.hold(8, ROW)
    stub.subjects = {("types", "3"): 1}
    decoder = Decoder(Mapping())
    with source(stub.url) as schemas:
        decoder.add(7, answer(schemas, 7))
        assert answer(schemas, 8) == ROW
        until(lambda: schemas.waiting() is None)
    with pytest.raises(Undecodable, match=f"^schema 7: not a valid Avro schema: {why}$"):
        decoder.decode(record(framed(7, b"\0")))


def test_a_schema_that_is_not_avro_makes_its_records_undecodable(stub: StubRegistry) -> None:
    stub.hold(7, 'syntax = "proto3";', schemaType="PROTOBUF")
    stub.hold(8, "{broken")
    decoder = Decoder(Mapping())
    with source(stub.url) as schemas:
        for schema_id, why in ((7, "its type is 'PROTOBUF'"), (8, "its text is not JSON")):
            decoder.add(schema_id, answer(schemas, schema_id))
            with pytest.raises(Undecodable, match=f"schema {schema_id}: not a valid Avro schema: {why}"):
                decoder.decode(record(framed(schema_id, b"\0")))


def test_the_clients_own_properties_pass_through(stub: StubRegistry) -> None:
    stub.hold(7, ROW)
    basic: dict[str, Any] = {"basic.auth.user.info": "ann:pass", "timeout": "3", "max.retries": "9"}
    bearer: dict[str, Any] = {
        "bearer.auth.credentials.source": "STATIC_TOKEN",
        "bearer.auth.token": "t0ken",
        "bearer.auth.logical.cluster": "lsrc-1",
    }
    for properties, header in ((basic, "ann:pass"), (bearer, "Bearer t0ken")):
        stub.authorization.clear()
        with source(stub.url, **properties) as schemas:
            assert answer(schemas, 7) == ROW
        assert header in stub.authorization


@pytest.mark.parametrize(
    ("url", "properties", "says"),
    [
        ("ftp://bob:hunter2@registry", {}, "ftp://registry"),
        ("http://registry", {"no.such.property": "hunter2"}, "no.such.property"),
        ("http://registry", {"ssl.ca.location": "/no/such/file"}, "settings"),
        ("http://registry", {"timeout": "hunter2"}, "timeout: must be a number above 0"),
    ],
)
def test_settings_that_the_client_refuses_are_explained_without_secrets(
    url: str, properties: dict[str, str], says: str
) -> None:
    with pytest.raises(ValueError, match="schema registry") as caught:
        RegistrySchemas(url, properties, "letters")
    assert says in str(caught.value)
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize("place", ["ssl.ca.location", "SSL_CERT_FILE"])
@pytest.mark.parametrize(("content", "why"), [(None, "No such file"), ("", "it holds no certificate")])
def test_a_file_of_authorities_that_cannot_be_used_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str, content: str | None, why: str
) -> None:
    path = tmp_path / "authorities.pem"
    if content is not None:
        path.write_text(content)
    properties = {place: str(path)} if place.islower() else {}
    if not properties:
        monkeypatch.setenv(place, str(path))
    with pytest.raises(ValueError, match=f"{place} names {path}, which cannot be used: {why}"):
        RegistryClient("https://registry:8081", properties)


def test_a_bounded_number_of_very_many_ids_is_kept_and_answered(stub: StubRegistry) -> None:
    stub.fault = lambda path: (503, b"") if "ids" in path else None
    with source(stub.url) as schemas:
        for schema_id in range(5_000):
            schemas.request(schema_id)
        stub.fault = lambda path: NOT_FOUND if "ids" in path else None
        answered: list[tuple[SchemaId, object]] = []

        def enough() -> bool:
            answered.extend(schemas.answers())
            return len(answered) >= 1_000

        until(enough)
    assert len(answered) < 1_100


def test_the_bundled_schemas_are_found() -> None:
    assert bundled("profile_changed")["name"] == "ProfileChanged"
    with pytest.raises(FileNotFoundError):
        bundled("nothing")


def test_a_schema_is_fetched_by_its_guid(stub: StubRegistry) -> None:
    guid = "6f9619ff-8b86-d011-b42d-00cf4fc964ff"
    stub.fault = lambda path: (200, {"schema": json.dumps(ROW)}) if path == f"/schemas/guids/{guid}" else None
    with source(stub.url) as schemas:
        schemas.request(guid)
        assert until(schemas.answers) == [(guid, ROW)]


@pytest.mark.parametrize("code", [404, 0])
def test_a_registry_that_knows_no_guids_says_that_there_is_none(stub: StubRegistry, code: int) -> None:
    """Else one header would hold a partition for ever. But a wrong URL says the same: so it must answer otherwise."""
    guid, no_path = "6f9619ff-8b86-d011-b42d-00cf4fc964ff", (404, {"error_code": code, "message": "no such path"})
    stub.fault = lambda path: no_path if "guids" in path else (200, []) if path.startswith("/subjects?") else None
    with source(stub.url) as schemas:
        schemas.request(guid)
        assert until(schemas.answers) == [(guid, None)]
        stub.fault = lambda _path: no_path
        schemas.request(guid)
        assert "no registry answers at that path" in until(schemas.waiting)


@pytest.mark.parametrize("refusal", [(403, {"error_code": 40301, "message": "no"}), (422, {"error_code": 42205})])
def test_an_account_that_may_not_register_looks_the_schema_up(stub: StubRegistry, refusal: tuple[int, object]) -> None:
    stub.fault = lambda path: refusal if path.partition("?")[0].endswith("/versions") else None
    with source(stub.url) as schemas:
        assert until(schemas.dead_letter_schema_id) == 901
    ((subject, sent),) = stub.registered
    assert (subject, full_name(json.loads(sent["schema"]))) == ("letters-value", "profile.v1.DeadLetter")
    assert [path.partition("?")[0] for path in stub.asked] == [
        "POST /subjects/letters-value/versions",
        "POST /subjects/letters-value",
    ]


def test_if_the_schema_is_not_there_either_the_refusal_is_told(stub: StubRegistry) -> None:
    stub.fault = lambda path: (403, {"error_code": 40301}) if "/versions" in path else (404, {"error_code": 40403})
    with source(stub.url) as schemas:
        assert "HTTP 403, error code 40301" in until(schemas.waiting)
        assert schemas.dead_letter_schema_id() is None


def test_a_reference_to_what_is_not_there_is_told_as_that(stub: StubRegistry) -> None:
    referring = {"schema": json.dumps(ROW), "references": [{"name": "n.A", "subject": "wrapped", "version": 3}]}
    missing = {"error_code": 40401, "message": "planted"}
    stub.fault = lambda path: (200, referring) if "ids" in path else (404, missing) if "wrapped" in path else None
    with source(stub.url) as schemas:
        schemas.request(7)
        text = until(schemas.waiting)
    assert "it refers to version 3 of the subject wrapped, which the registry does not have" in text
    assert "registry URL" not in text


@pytest.mark.parametrize(
    ("error", "says"),
    [
        (OAuthTokenError("planted", 401, "planted"), "the identity provider gives no token; check bearer.auth.issuer"),
        (KeyError("expires_in"), "the identity provider's token has no expires_in"),
        (KeyError("schema"), "the answer is not from a schema registry"),
    ],
)
def test_trouble_with_tokens_is_not_blamed_on_the_registry(error: Exception, says: str) -> None:
    assert explained(error).startswith(says)
    assert "planted" not in explained(error)
