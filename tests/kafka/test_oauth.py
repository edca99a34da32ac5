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
from worker.kafka.oauth import NoToken, TokenFunction

NOW = 1_800_000_000.0


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
    with capture_logs() as logs, pytest.raises(NoToken, match=words):
        asked("")
    assert [(line["event"], line["function"]) for line in logs] == [("no_kafka_token", "tokens_of_the_test:give")]
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
        for _ in range(2):
            with pytest.raises(NoToken):
                asked("")
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
        with pytest.raises(NoToken, match="not answered"):
            asked("")
    assert time.monotonic() - began < 5
    free.set()
    asked._wait_seconds = 10.0  # now it is worth waiting for
    assert asked("") == ("late token", NOW + 900)
    assert len(started) == 1


@pytest.mark.parametrize("name", ["no_such_module_anywhere:give", "json:no_such_function"])
def test_a_name_of_nothing_is_no_token(name: str) -> None:
    with pytest.raises(NoToken, match="raised"):
        TokenFunction(name)("")


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
