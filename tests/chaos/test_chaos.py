"""Real workers against a three-broker Kafka under faults. One seed again: `scripts/chaos --minutes 3 --seed SEED`."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

from tests.chaos.__main__ import as_text, setup_of
from tests.chaos.arena import Arena, Outcome, Protocol, Setup
from tests.chaos.plan import SLOTS, Fault, Kind, make
from tests.support.brokers import LocalBroker

pytestmark = [pytest.mark.kafka, pytest.mark.slow, pytest.mark.timeout(900)]

SEED = 20_240_601

Run = Callable[[Setup, Sequence[Fault]], Outcome]


@pytest.fixture
def run(own_broker: LocalBroker, tmp_path: Path) -> Iterator[Run]:
    """Runs a plan and prints the report. `own_broker` is unused: it skips or fails the test if there is no Kafka."""
    del own_broker
    arenas: list[Arena] = []

    def started(setup: Setup, plan: Sequence[Fault]) -> Outcome:
        arenas.append(Arena(setup, tmp_path, print))
        arenas[0].start()
        outcome = arenas[0].run(plan)
        print(as_text(outcome))  # noqa: T201 - pytest shows it when the test fails
        return outcome

    yield started
    for arena in arenas:
        arena.close()


def test_three_minutes_of_every_kind_of_fault_break_no_promise(run: Run, tmp_path: Path) -> None:
    """Nothing lost, no request of a former owner, no two requests for a user at once, no wrong letter, all in time."""
    setup = setup_of(SEED, 180, "classic", 1.0)
    outcome = run(setup, make(SEED, 180))
    assert not outcome.problems, f"seed {SEED}: {outcome.problems}; logs in {tmp_path}"
    assert sum(outcome.faults.values()) >= 25, f"seed {SEED}: most of the plan was not injected: {outcome.faults}"


@pytest.mark.parametrize("protocol", ["classic", "consumer"])
def test_a_rolling_restart_under_load_sends_nothing_twice(run: Run, tmp_path: Path, protocol: Protocol) -> None:
    """SIGTERM stops each worker in turn, and a new one takes its place: nothing is sent or lettered again, or lost."""
    outcome = run(Setup(SEED, 28, protocol, session_ms=45_000), [Fault(6, Kind.WORKERS_ROLL, None, 0, 0)])
    assert not outcome.problems, f"seed {SEED}: {outcome.problems}; logs in {tmp_path}"
    assert outcome.stopped == 2 * SLOTS, f"seed {SEED}: not all drained, cut were {outcome.cut}; logs in {tmp_path}"
    assert outcome.findings.repeated == 0, f"seed {SEED}: calls that told nothing new; logs in {tmp_path}"
    assert outcome.findings.letters_repeated == 0, f"seed {SEED}: letters that were written twice; logs in {tmp_path}"


# For the classic protocol run `scripts/chaos --only ISOLATION --protocol classic`: CI takes long enough as it is.
@pytest.mark.parametrize("protocol", ["consumer"])
def test_a_worker_that_is_cut_off_sends_nothing_for_its_former_partitions(
    run: Run, tmp_path: Path, protocol: Protocol
) -> None:
    """It reaches the destination again before it reaches the brokers, so nobody has told it that it lost them."""
    plan = [Fault(8, Kind.ISOLATION, 0, 9, 0), Fault(12, Kind.ISOLATION, 1, 9, 0)]
    outcome = run(Setup(SEED, 30, protocol), plan)
    assert not outcome.problems, f"seed {SEED}: {outcome.problems}; logs in {tmp_path}"
    logs = "".join(log.read_text() for log in tmp_path.glob("workers/*/stderr"))
    assert "cut_off_from_group" in logs, f"no worker noticed that it was cut off; logs in {tmp_path}"
