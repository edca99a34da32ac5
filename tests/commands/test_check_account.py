"""What `check` says of the token, its company and the clock."""

from __future__ import annotations

import json
import time
from email.utils import formatdate
from pathlib import Path

import pytest

from tests.commands.checking import TOKEN, bad, findings
from worker.commands.check.account import check_account
from worker.commands.check.finding import Finding, Level
from worker.sandbox.server import Sandbox
from worker.settings.load import load


def found(sandbox: Sandbox, **attentive: str) -> dict[str, Finding]:
    """By check: one each."""
    given = {
        "WORKER_KAFKA__BOOTSTRAP_SERVERS": "broker:9092",
        "WORKER_SCHEMAS__REGISTRY_URL": "http://registry:8081",
        "WORKER_ATTENTIVE__BASE_URL": sandbox.url,
        "WORKER_ATTENTIVE__TOKEN": TOKEN,
        **{f"WORKER_ATTENTIVE__{name}": value for name, value in attentive.items()},
    }
    every = list(check_account(load(None, {}, given).settings))
    assert [one.check for one in every] == ["token", "company", "clock"]
    return {one.check: one for one in every}


def test_the_company_of_the_token_is_told_and_how_to_refuse_any_other(sandbox: Sandbox) -> None:
    company = found(sandbox)["company"]
    assert company.level is Level.OK
    assert company.what.startswith("'Sandbox' (id 1, domain sandbox); set WORKER_ATTENTIVE__COMPANY_ID=1 to refuse")
    assert found(sandbox, COMPANY_ID="1")["company"].what == "'Sandbox' (id 1, domain sandbox), as expected"


def test_a_file_of_authorities_that_cannot_be_used_is_named_and_no_proxy_is_blamed(
    sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "absent.pem"))
    token = found(sandbox, BASE_URL="https://127.0.0.1:1/v1")["token"]
    assert (token.level, token.mend) == (Level.FAIL, "correct that variable of the environment")
    assert (
        token.what == f"SSL_CERT_FILE names {tmp_path / 'absent.pem'}, which cannot be used: No such file or directory"
    )


@pytest.mark.kafka
def test_the_token_of_another_company_fails_the_check(sound: dict[str, str]) -> None:
    problem = bad(findings(sound | {"WORKER_ATTENTIVE__COMPANY_ID": "4711"}, 1))["company"]
    assert problem["level"] == "fail"
    assert "'Sandbox' (id 1, domain sandbox), and WORKER_ATTENTIVE__COMPANY_ID is 4711" in problem["what"]
    assert "put the right company's token in its place" in problem["mend"]


@pytest.mark.parametrize(("expected", "level"), [({}, Level.OK), ({"COMPANY_ID": "1"}, Level.FAIL)])
def test_an_answer_without_a_company_is_not_the_expected_one(
    sandbox: Sandbox, expected: dict[str, str], level: Level
) -> None:
    sandbox.set_faults([{"match": {"path": "/v1/me"}, "status": 200, "body": '{"applicationName": "Profiles"}'}])
    try:
        company = found(sandbox, **expected)["company"]
    finally:
        sandbox.set_faults([])
    assert company.level is level
    assert "id not told" in company.what


@pytest.mark.parametrize(
    ("ahead_seconds", "level", "text"),
    [
        (0, Level.OK, "within 30 s"),
        (20, Level.OK, "within 30 s"),
        (3_600, Level.WARN, "s ahead of Attentive's"),
        (-3_600, Level.WARN, "s behind Attentive's"),
    ],
)
def test_a_clock_that_is_off_is_found(sandbox: Sandbox, ahead_seconds: int, level: Level, text: str) -> None:
    body = json.dumps({"applicationName": "Profiles", "companyName": "Acme", "companyId": "1"})
    headers = {"Date": formatdate(time.time() - ahead_seconds, usegmt=True)}
    sandbox.set_faults([{"match": {"path": "/v1/me"}, "status": 200, "body": body, "headers": headers}])
    try:
        clock = found(sandbox)["clock"]
    finally:
        sandbox.set_faults([])
    assert clock.level is level
    assert text in clock.what
    assert (clock.mend is None) is (level is Level.OK)


def test_without_an_account_company_and_clock_are_not_checked(sandbox: Sandbox) -> None:
    every = found(sandbox, TOKEN="another")
    assert [one.level for one in every.values()] == [Level.FAIL] * 3
    assert "mend 'token' first" == every["company"].mend == every["clock"].mend
