"""Tokens from the user's own function: what is wrong with one is told, tried again, and ends nothing."""

from __future__ import annotations

import math
import sys
import threading
import time
from collections.abc import Callable
from types import ModuleType

import pytest
from structlog.testing import capture_logs

from worker.kafka.msk import token as msk_token
from worker.kafka.oauth import TokenFunction

NOW = 1_800_000_000.0
NONE = ("none", NOW + 10)
"""No broker takes it."""


@pytest.fixture
def function(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[str], object]], TokenFunction]:
    module = ModuleType("tokens_of_the_test")
    monkeypatch.setitem(sys.modules, module.__name__, module)

    def make(give: Callable[[str], object], wait_seconds: float = 10.0) -> TokenFunction:
        monkeypatch.setattr(module, "give", give, raising=False)
        return TokenFunction("tokens_of_the_test:give", wait_seconds, lambda: NOW)

    return make


def test_it_gives_what_the_function_gives_for_the_configured_text(function: Callable[..., TokenFunction]) -> None:
    assert function(lambda config: (f"token of {config}", NOW + 900))("region") == ("token of region", NOW + 900)


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (None, "must return"),
        ("planted-token", "must return"),
        (("planted-token",), "must return"),
        (("", NOW + 900), "must return"),
        ((b"planted-token", NOW + 900), "must return"),
        (("planted-token", "900"), "must return"),
        (("planted-token", True), "must return"),
        (("planted-token", NOW * 1000), "milliseconds"),
        (("planted-token", math.inf), "milliseconds"),
        (("planted-token", math.nan), "milliseconds"),
        (("planted-token", NOW - 1), "expired"),
    ],
)
def test_nonsense_is_told_without_its_text(function: Callable[..., TokenFunction], answer: object, words: str) -> None:
    asked = function(lambda _: answer)
    with capture_logs() as logs:
        assert asked("") == NONE
    assert [(line["event"], line["function"]) for line in logs] == [("no_kafka_token", "tokens_of_the_test:give")]
    assert words in logs[0]["detail"]
    assert "planted" not in repr(logs)


@pytest.mark.parametrize("raised", [ValueError("planted"), SystemExit("planted"), KeyError("planted")])
def test_one_that_raises_is_told_once_a_minute_and_called_again(
    function: Callable[..., TokenFunction], raised: BaseException
) -> None:
    calls: list[str] = []

    def give(config: str) -> object:
        calls.append(config)
        if len(calls) < 3:
            raise raised
        return "token", NOW + 900

    asked = function(give)
    with capture_logs() as logs:
        assert [asked(""), asked("")] == [NONE, NONE]
    assert asked("")[0] == "token"
    assert len(logs) == 1
    assert "planted" not in repr(logs)


def test_one_that_hangs_holds_nothing_up_and_its_late_token_is_taken(function: Callable[..., TokenFunction]) -> None:
    free, started = threading.Event(), []

    def give(_config: str) -> object:
        started.append(1)
        free.wait(30)
        return "late token", NOW + 900

    asked = function(give, 0.01)
    began = time.monotonic()
    for _ in range(3):
        assert asked("") == NONE
    assert time.monotonic() - began < 5
    free.set()
    asked._wait_seconds = 10.0  # now it is worth waiting for
    assert asked("") == ("late token", NOW + 900)
    assert len(started) == 1


@pytest.mark.parametrize("name", ["no_such_module_anywhere:give", "json:no_such_function"])
def test_a_name_of_nothing_is_no_token(name: str) -> None:
    with capture_logs() as logs:
        assert TokenFunction(name, now=lambda: NOW)("") == NONE
    assert "raised" in logs[0]["detail"]


def test_the_latest_token_stands_in_for_a_few_seconds_until_it_expires(function: Callable[..., TokenFunction]) -> None:
    answers = iter([("first", NOW + 900), None, ("second", NOW + 1_800), ("third", NOW + 5), None])
    asked = function(lambda _: next(answers))
    assert [asked("") for _ in range(5)] == [
        ("first", NOW + 900),
        ("first", NOW + 10),
        ("second", NOW + 1_800),
        ("third", NOW + 5),
        ("third", NOW + 5),
    ]


@pytest.mark.parametrize(("installed", "words"), [(False, "pip install '.[msk]'"), (True, "AWS_REGION is not set")])
def test_what_the_signer_of_amazon_lacks_is_told(
    monkeypatch: pytest.MonkeyPatch, words: str, *, installed: bool
) -> None:
    signer = ModuleType("aws_msk_iam_sasl_signer")
    monkeypatch.setattr(signer, "MSKAuthTokenProvider", None, raising=False)
    monkeypatch.setitem(sys.modules, signer.__name__, signer if installed else None)
    monkeypatch.delenv("AWS_REGION", raising=False)
    with capture_logs() as lines:
        assert TokenFunction("worker.kafka.msk:token", 10.0, lambda: NOW)("") == NONE
    assert words in lines[0]["detail"]


def test_the_signer_of_amazon_gives_milliseconds(monkeypatch: pytest.MonkeyPatch) -> None:
    """The extra is not among those for development: it brings the whole of AWS's SDK."""

    class MSKAuthTokenProvider:
        @staticmethod
        def generate_auth_token(region: str) -> tuple[str, int]:
            return f"signed for {region}", 1_800_000_900_000

    signer = ModuleType("aws_msk_iam_sasl_signer")
    monkeypatch.setattr(signer, "MSKAuthTokenProvider", MSKAuthTokenProvider, raising=False)
    monkeypatch.setitem(sys.modules, signer.__name__, signer)
    monkeypatch.setenv("AWS_REGION", "eu-west-1")
    assert msk_token("") == ("signed for eu-west-1", 1_800_000_900.0)
