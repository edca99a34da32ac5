from __future__ import annotations

import json
from pathlib import Path

import pytest
from confluent_kafka.schema_registry import Schema, SchemaRegistryClient

from tests.commands.checking import WRONG_TOKEN, bad, findings, run
from tests.support.brokers import RunningBroker, unique_name
from tests.support.profiles import PROFILE_CHANGED, SCHEMA_ID
from tests.support.registry import Registry
from worker.sandbox.server import Sandbox


@pytest.mark.kafka
def test_every_check_of_a_good_configuration_is_ok_and_nothing_is_created(
    sound: dict[str, str], real_kafka: RunningBroker
) -> None:
    done = run(sound)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stderr == ""
    assert "\x1b" not in done.stdout
    lines = done.stdout.splitlines()
    assert [line.split()[:2] for line in lines] == [
        ["ok", "settings"],
        ["ok", "brokers"],
        ["ok", "time-outs"],
        ["ok", "topics"],
        ["ok", "retention"],
        ["ok", "group"],
        ["ok", "dead"],
        ["ok", "schemas"],
        ["ok", "records"],
        ["ok", "token"],
        ["ok", "company"],
        ["ok", "clock"],
    ]
    assert "3 partitions" in lines[3]
    assert "only the first call shows whether it has the permission attributes:write" in lines[9]
    assert sound["WORKER_KAFKA__DEAD_LETTER_TOPIC"] not in real_kafka.admin.list_topics(timeout=10).topics


@pytest.mark.kafka
def test_an_existing_dead_letter_topic_is_checked_for_write_access(
    sound: dict[str, str], real_kafka: RunningBroker
) -> None:
    real_kafka.create_topic(sound["WORKER_KAFKA__DEAD_LETTER_TOPIC"], 3)
    [found] = [one for one in findings(sound, 0) if one["check"] == "dead letters"]
    assert found["what"].endswith("may be written")


@pytest.mark.kafka
def test_a_missing_topic_fails_and_a_pattern_without_a_match_warns(sound: dict[str, str]) -> None:
    missing = unique_name("missing")
    found = findings(sound | {"WORKER_KAFKA__TOPICS": f"{missing},^{missing}.*"}, 1)
    assert [(one["level"], one["check"]) for one in found if one["level"] != "ok"] == [
        ("fail", "topics"),
        ("warn", "topics"),
        ("warn", "retention"),
        ("fail", "records"),
    ]
    assert missing in found[3]["what"]
    assert "does not exist" in found[3]["what"]


@pytest.mark.kafka
def test_a_pattern_counts_the_topics_that_it_matches(sound: dict[str, str], real_kafka: RunningBroker) -> None:
    stem = unique_name("regional")
    real_kafka.create_topic(f"{stem}.eu", 2)
    real_kafka.create_topic(f"{stem}.us", 3)
    [found] = [one for one in findings(sound | {"WORKER_KAFKA__TOPICS": f"^{stem}"}, 0) if one["check"] == "topics"]
    assert found["what"].endswith("5 partitions in 2 topics")


@pytest.mark.slow
def test_every_check_is_made_even_if_no_broker_answers(no_kafka: dict[str, str]) -> None:
    found = findings(no_kafka, 1)
    assert bad(found).keys() == {"brokers", "time-outs", "topics", "retention", "group", "dead letters", "records"}
    assert "no broker answers" in bad(found)["brokers"]["what"]
    assert {one["check"] for one in found if one["level"] == "ok"} == {
        "settings",
        "schemas",
        "token",
        "company",
        "clock",
    }


@pytest.mark.kafka
def test_a_wrong_token_fails(sound: dict[str, str]) -> None:
    problem = bad(findings(sound | {"WORKER_ATTENTIVE__TOKEN": WRONG_TOKEN}, 1))["token"]
    assert "401" in problem["what"]
    assert "current API key" in problem["mend"]


@pytest.mark.kafka
@pytest.mark.parametrize(("status", "advice"), [(403, "attributes:write"), (404, "BASE_URL"), (503, "try again")])
def test_an_error_status_for_the_token_says_how_to_mend_it(
    sound: dict[str, str], sandbox: Sandbox, status: int, advice: str
) -> None:
    sandbox.set_faults([{"match": {"path": "/v1/me"}, "status": status}])
    try:
        problem = bad(findings(sound, 1))["token"]
    finally:
        sandbox.set_faults([])
    assert str(status) in problem["what"]
    assert advice in problem["mend"]


@pytest.mark.kafka
def test_a_destination_that_never_answers_fails_after_the_time_out(sound: dict[str, str], sandbox: Sandbox) -> None:
    sandbox.set_faults([{"match": {"path": "/v1/me"}, "delay": 60}])
    try:
        problem = bad(findings(sound | {"WORKER_ATTENTIVE__TIMEOUT_SECONDS": "1"}, 1))["token"]
    finally:
        sandbox.set_faults([])
    assert "in time" in problem["what"]


@pytest.mark.kafka
@pytest.mark.parametrize(
    ("name", "text", "says"),
    [
        ("8.avsc", "{", "8.avsc: not JSON"),
        ("3000000000.avsc", '"string"', "3000000000.avsc: schema ids end at 2147483647"),
    ],
)
def test_a_file_that_is_no_schema_or_has_no_id_fails(sound: dict[str, str], name: str, text: str, says: str) -> None:
    (Path(sound["WORKER_SCHEMAS__DIRECTORY"]) / name).write_text(text)
    assert says in bad(findings(sound, 1))["schemas"]["what"]


@pytest.mark.kafka
@pytest.mark.parametrize(
    ("mapping", "level", "text"),
    [
        ({"WORKER_MAPPING__ATTRIBUTES": "traits"}, "fail", "no field traits"),
        ({"WORKER_MAPPING__EVENT_ID": "id"}, "warn", "event_id: id"),
        ({"WORKER_IDENTITY__ORDER": "phone", "WORKER_MAPPING__PHONE": "mobile"}, "fail", "phone: mobile"),
    ],
)
def test_a_mapping_that_does_not_fit_is_reported(
    sound: dict[str, str], mapping: dict[str, str], level: str, text: str
) -> None:
    problem = bad(findings(sound | mapping, 1 if level == "fail" else 0))["schemas"]
    assert problem["level"] == level
    assert f"{SCHEMA_ID}.avsc" in problem["what"]
    assert text in problem["what"]


@pytest.mark.kafka
def test_bare_avro_is_checked_with_its_writer_schema(sound: dict[str, str], tmp_path: Path) -> None:
    del sound["WORKER_SCHEMAS__DIRECTORY"]
    path = tmp_path / "writer.avsc"
    bare = sound | {"WORKER_SCHEMAS__FRAMING": "none", "WORKER_SCHEMAS__WRITER_SCHEMA": str(path)}
    done = run(bare)
    assert done.returncode == 2
    assert "WRITER_SCHEMA" in done.stderr
    path.write_text('{"type": "nonsense"}')
    assert "Avro" in bad(findings(bare, 1))["schemas"]["what"]
    path.write_text(json.dumps(PROFILE_CHANGED))
    assert not bad(findings(bare, 0))


@pytest.mark.kafka
def test_a_registry_that_does_not_answer_fails(sound: dict[str, str], closed_port: int) -> None:
    del sound["WORKER_SCHEMAS__DIRECTORY"]
    properties = json.dumps({"basic.auth.user.info": "user:hunter2"})
    url = f"http://127.0.0.1:{closed_port}"
    done = run(sound | {"WORKER_SCHEMAS__REGISTRY_URL": url, "WORKER_SCHEMAS__REGISTRY_PROPERTIES": properties})
    assert done.returncode == 1
    assert "hunter2" not in done.stdout + done.stderr
    (schemas,) = [line for line in done.stdout.splitlines() if line.startswith("fail  schemas")]
    assert "NO_PROXY" in schemas
    assert "ok    token" in done.stdout


@pytest.mark.kafka
@pytest.mark.registry
def test_a_registry_is_asked_for_the_topics_subject_and_nothing_is_registered(
    sound: dict[str, str], registry: Registry
) -> None:
    del sound["WORKER_SCHEMAS__DIRECTORY"]
    topic = sound["WORKER_KAFKA__TOPICS"]
    sound["WORKER_SCHEMAS__REGISTRY_URL"] = registry.url
    assert "no subject" in bad(findings(sound, 0))["schemas"]["what"]
    with SchemaRegistryClient({"url": registry.url}) as client:
        client.register_schema(f"{topic}-value", Schema(json.dumps(PROFILE_CHANGED), "AVRO"))
        found = findings(sound, 0)
        assert not bad(found)
        assert f"{topic}-value, version" in found[7]["what"]
        assert f"{topic}.dead-letter-value" not in client.get_subjects()
        other = {"type": "record", "name": "Other", "fields": [{"name": "x", "type": "int"}]}
        client.register_schema(f"{topic}.dead-letter-value", Schema(json.dumps(other), "AVRO"))
        assert "not compatible" in bad(findings(sound, 1))["schemas"]["what"]


@pytest.mark.slow
def test_a_configuration_that_does_not_load_ends_with_2() -> None:
    done = run({"WORKER_WINDOW__SECOND": "1"})
    assert done.returncode == 2
    assert done.stdout == ""
    assert "did you mean" in done.stderr
