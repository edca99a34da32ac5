"""The smaller benches' command lines: wrong words, and what they need and do not find, end in a sentence."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from types import ModuleType

import pytest

from bench import brokers, growth, problems, reading, suite, throughput, transports
from bench.contenders import NotMeasured
from tests.support.brokers import MockBroker, RunningBroker

COUNTED = (
    (suite, ["--repetitions"]),
    (throughput, ["--repetitions"]),
    (throughput, ["--one-to-one"]),
    (throughput, ["--hundred-to-one"]),
    (transports, ["--repetitions"]),
    (transports, ["--calls"]),
    (reading, ["--repetitions"]),
    (reading, ["--events"]),
    *((growth, [curve]) for curve in growth.CURVES),
)


@pytest.mark.parametrize(
    "number", ["0", "-1", "1.5", "", "many", "1000000000000", pytest.param("9" * 5_000, id="huge")]
)
@pytest.mark.parametrize(("bench", "words"), COUNTED)
def test_a_number_that_is_none_is_bad_usage(
    bench: ModuleType, words: Sequence[str], number: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit, match="2"):
        bench.main([*words, number])
    assert "it takes a whole number from 1 to " in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "required: curve, size"),
        (["users"], "required: size"),
        (["none", "1"], "invalid choice: 'none'"),
        (["attributes", "200001"], "attributes are 100,000 at most"),
    ],
)
def test_growth_says_what_it_can_measure(
    words: Sequence[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit, match="2"):
        growth.main(words)
    assert message in capsys.readouterr().err


@pytest.mark.parametrize("bench", [throughput, reading])
def test_a_kafka_that_does_not_answer_is_said(
    bench: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The mock takes the place of a Kafka that is not there, not of one that was asked for."""
    monkeypatch.setattr(brokers, "_REACH_SECONDS", 0.2)
    monkeypatch.setenv("KAFKA_BOOTSTRAP_SERVERS", "127.0.0.1:1")
    assert bench.main([]) == 1
    said = capsys.readouterr().err
    assert said.startswith("Error: no Kafka answers at 127.0.0.1:1")
    assert said.count("\n") == 1


@pytest.mark.slow
def test_what_the_mock_does_not_hold_is_said_before_it_is_measured(capsys: pytest.CaptureFixture[str]) -> None:
    assert reading.main(["--mock", "--events", "120000"]) == 1
    assert re.fullmatch(r"Error: 1:1: the embedded mock holds [\d,]+ of these events; .*\n", capsys.readouterr().err)


def test_a_file_is_no_folder_for_a_profile(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """It is said at once, not after Kafka has started."""
    file = tmp_path / "file"
    file.touch()
    with pytest.raises(SystemExit, match="2"):
        throughput.main(["--profile", str(file)])
    assert f"{file} is no folder" in capsys.readouterr().err


def interrupted() -> int:
    raise KeyboardInterrupt


def failed() -> int:
    raise NotMeasured("something was lost")


@pytest.mark.parametrize(
    ("measure", "said"),
    [(interrupted, "Interrupted: nothing was measured.\n"), (failed, "Error: something was lost\n")],
)
def test_what_kept_a_bench_from_its_figures_is_a_sentence(
    measure: Callable[[], int], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert problems.told(measure) == 1
    assert capsys.readouterr().err == said


def test_a_call_is_never_counted_that_was_not_made() -> None:
    """Each of the calls in flight is made as often as the others."""
    made = []

    async def call() -> int:
        made.append(1)
        return 200

    async def prepared(_: str, __: AsyncExitStack) -> list[Callable[[], Awaitable[int]]]:
        return [call] * transports.IN_FLIGHT

    with_one = asyncio.run(transports.measured(prepared, "", 1)).events
    before = len(made)
    with_more = asyncio.run(transports.measured(prepared, "", transports.IN_FLIGHT + 1)).events
    assert with_one == transports.IN_FLIGHT
    assert with_more == 2 * transports.IN_FLIGHT
    assert len(made) - before == before - with_one + with_more


def test_the_kind_of_broker_is_told_without_its_address() -> None:
    assert brokers.kind(RunningBroker("secret-host:9092")) == "a Kafka of yours"
    assert brokers.kind(MockBroker()) == "librdkafka's embedded mock"
