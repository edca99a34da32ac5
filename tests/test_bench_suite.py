"""The bench's command line: what it says of results that were kept, of wrong words, and of what it cannot measure."""

from __future__ import annotations

import json
import signal
from pathlib import Path
from types import SimpleNamespace

import pytest

from bench import brokers, comparison, cores, destination, suite
from bench.commits import git
from bench.compiled import NotBuilt
from bench.contenders import NotMeasured, Work
from bench.ours import RunningWorker
from bench.report import Spread
from bench.results import Results, head, shown
from bench.rows import alone, growing
from bench.stage import EVENTS_PER_SECOND, Sample, Stage


def results(events_per_second: float, **facts: object) -> Results:
    sample = Sample("worker", EVENTS_PER_SECOND, events_per_second)
    return Results.of({"1:1": [[sample]]}, {"date": "2026-01-01", "quick": False, "commit": "abc", **facts})


def keep(found: Results, path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(found.as_json()))
    return path


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    git("init", "-q", root=tmp_path)
    return tmp_path


def commit(repository: Path) -> None:
    who = ("-c", "user.name=bench", "-c", "user.email=bench@example.com", "-c", "commit.gpgsign=false")
    git("add", "--all", root=repository)
    git(*who, "commit", "-q", "-m", "results", root=repository)


def test_results_that_took_the_place_of_older_ones_are_the_last_committed(repository: Path) -> None:
    """To git they look renamed, so alike are they."""
    kept = repository / "bench" / "results"
    assert comparison.last_committed(repository) is None
    older = keep(results(100), kept / "2026-01-01-a.json")
    commit(repository)
    assert comparison.last_committed(repository) == (older.name, results(100))
    older.unlink()
    newer = keep(results(101), kept / "2026-01-02-b.json")
    commit(repository)
    assert comparison.last_committed(repository) == (newer.name, results(101))


def test_of_results_that_were_committed_together_the_newest_day_is_the_last(repository: Path) -> None:
    kept = repository / "bench" / "results"
    keep(results(100), kept / "2026-01-01-a.json")
    newer = keep(results(101), kept / "2026-01-02-a.json")
    commit(repository)
    assert comparison.last_committed(repository) == (newer.name, results(101))
    again = keep(results(102), kept / "2026-01-02-a-2.json")
    commit(repository)
    assert comparison.last_committed(repository) == (again.name, results(102))


@pytest.mark.slow
def test_results_of_the_same_day_and_commit_are_kept_beside_each_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(cores, "pin", lambda: True)
    monkeypatch.setattr(suite, "ROOT", tmp_path)
    monkeypatch.setattr(suite, "SCRATCH", tmp_path / "kept")
    monkeypatch.setattr(suite, "head", lambda: {"date": "2026-01-01", "commit": "abc"})
    for value in (1.0, 2.0, 3.0):

        def measure(_: object, measured: suite.Measured, __: object, value: float = value) -> bool:
            measured["start"] = [[Sample("worker", EVENTS_PER_SECOND, value)]]
            return True

        monkeypatch.setattr(suite, "_all_measured", measure)
        assert suite.main(["--json", "--only", "start"]) == 0
    capsys.readouterr()
    kept = {path.stem: json.loads(path.read_text()) for path in (tmp_path / "kept").glob("*.json")}
    assert {name: each["figures"][0]["median"] for name, each in kept.items()} == {
        "2026-01-01-abc": 1.0,
        "2026-01-01-abc-2": 2.0,
        "2026-01-01-abc-3": 3.0,
    }
    assert {path.stem for path in (tmp_path / "kept").glob("*.svg")} == kept.keys()


def test_results_that_wait_to_be_committed_do_not_change_the_code(repository: Path) -> None:
    (repository / "bench").mkdir()
    (repository / "bench" / "code.py").touch()
    commit(repository)
    keep(results(100), repository / "bench" / "results" / "2026-01-01-a.json")
    assert head(repository)["changed"] is False
    (repository / "bench" / "code.py").write_text("other")
    assert head(repository)["changed"] is True


def test_this_repository_has_results_to_compare_with() -> None:
    if not git("log", "-1", "--format=%h"):
        pytest.skip("no repository, or no git")
    assert comparison.last_committed() is not None


def test_without_git_there_is_nothing_to_compare_with(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    assert comparison.last_committed() is None


@pytest.fixture
def committed(monkeypatch: pytest.MonkeyPatch) -> Results:
    found = results(100)
    monkeypatch.setattr(comparison, "last_committed", lambda: ("last.json", found))
    return found


def test_what_was_kept_is_shown_with_what_it_is_of(
    committed: Results, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = keep(results(50, cores=2), tmp_path / "kept.json")
    assert suite.main(["--show", str(path)]) == 0
    said = capsys.readouterr().out
    assert said.startswith("date: 2026-01-01, quick: False, commit: abc, cores: 2, repetitions: 1\nMedian ")
    unlike = "cpu, cores, system, python, pinned, broker"
    assert (
        f"Since last.json, by more than the noise; ratios alone, since it is not known to be the same {unlike}:\n"
        in said
    )
    keep(committed, path)
    assert suite.main(["--show", str(path)]) == 0
    assert "Since" not in capsys.readouterr().out  # there is nothing new in it


def test_sizes_that_mean_nothing_are_held_against_nothing(
    committed: Results, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = keep(Results({**committed.facts, "quick": True}, committed.values), tmp_path / "quick.json")
    assert suite.main(["--show", str(path)]) == 0
    said = capsys.readouterr().out
    assert "| worker" in said
    assert "bound" not in said.replace("reach no bound", "")
    assert "Since" not in said


@pytest.mark.parametrize(
    "stored",
    [
        '{"figures": []}',
        '{"figures": [{}]}',
        "[]",
        json.dumps(Results(dict.fromkeys(("date", "commit")), results(1).values).as_json()),
        json.dumps(Results(results(1).facts, {}).as_json()),
    ],
)
@pytest.mark.parametrize("word", ["--show", "--draw"])
def test_what_holds_no_results_is_bad_usage(
    word: str, stored: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "kept.json"
    path.write_text(stored)
    with pytest.raises(SystemExit, match="2"):
        suite.main([word, str(path)])
    assert "holds no results of the bench" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--show", "bench/none.json"], "bench/none.json: No such file"),
        (["--show", "bench"], "bench: Is a directory"),
        (["--show", "README.md"], "README.md holds no results of the bench"),
        (["--draw", "README.md"], "README.md holds no results of the bench"),
        (["--only", "none"], "invalid choice: 'none' (choose from '1:1'"),
    ],
)
def test_wrong_words_are_bad_usage(words: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        suite.main(words)
    assert message in capsys.readouterr().err


def test_without_go_no_delay_is_measured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The destination in Python tells none."""

    def no_go(_: Path) -> Path:
        raise NotBuilt

    monkeypatch.setattr(destination, "program", no_go)
    destination.command.cache_clear()
    with pytest.raises(NotBuilt):
        next(alone.DELAY.repeat(Stage(None, tmp_path, quick=True)))  # type: ignore[arg-type]  # it comes to no broker
    destination.command.cache_clear()


@pytest.mark.parametrize(
    "totals",
    [{"retries": 1, "dead_letters": {}}, {"retries": 0, "dead_letters": {"rejected": 1}}],
)
def test_a_run_that_sent_again_or_refused_has_no_figure(totals: dict[str, object]) -> None:
    command = SimpleNamespace(process=SimpleNamespace(pid=1), status=lambda: {"totals": totals})
    running = RunningWorker(command, Work("topic", 1, 0.0))  # type: ignore[arg-type]  # all of it that is asked
    with pytest.raises(NotMeasured, match="refused or sent again"):
        running.check()


def test_a_kafka_that_does_not_answer_is_said(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(cores, "pin", lambda: True)
    monkeypatch.setattr(brokers, "_REACH_SECONDS", 0.2)
    monkeypatch.setenv("KAFKA_BOOTSTRAP_SERVERS", "127.0.0.1:1")
    monkeypatch.setattr(signal, "signal", lambda *_: None)  # the tests' own handlers stay
    assert suite.main(["--only", "start"]) == 1
    assert "Error: no Kafka answers at 127.0.0.1:1" in capsys.readouterr().err


def test_the_commit_is_that_of_the_start(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Somebody commits while it measures."""
    now = {"commit": "started"}

    def measure(_: object, measured: suite.Measured, facts: dict[str, object]) -> bool:
        now["commit"] = "later"
        facts["broker"] = "a container"
        measured["start"] = [[Sample("worker", EVENTS_PER_SECOND, 1.0)]]
        return True

    monkeypatch.setattr(cores, "pin", lambda: True)
    monkeypatch.setattr(suite, "head", lambda: dict(now))
    monkeypatch.setattr(suite, "_all_measured", measure)
    monkeypatch.setattr(suite, "_keep", lambda *_: None)
    assert suite.main(["--json", "--only", "start"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert (said["commit"], said["broker"]) == ("started", "a container")


def test_a_count_of_none_is_written_as_a_count() -> None:
    assert shown(Spread(0, 0, 0)) == "0"
    assert shown(Spread(0.5, 0.5, 0.5)) == "0.5000"


@pytest.mark.slow
def test_what_was_kept_is_drawn_again_with_all_that_grows(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    costs = {"1 dropping": 0.5, "48 dropping": 0.6, "dropping": 1.2}
    samples = [Sample(who, growing.SECONDS if " " in who else growing.GROWTH, cost) for who, cost in costs.items()]
    path = keep(Results.of({"growth": [samples]}, results(1).facts), tmp_path / "kept.json")
    assert suite.main(["--draw", str(path)]) == 0
    drawn = path.with_suffix(".svg").read_text()
    assert "the engine alone: s to drop all partitions" in drawn
    assert "partitions that hold 100,000 users" in drawn
    assert f"Drawn in {path.with_suffix('.svg')}" in capsys.readouterr().err


def test_each_plot_in_this_repository_shows_all_curves() -> None:
    plots = list(comparison.RESULTS.glob("*.svg"))
    assert plots
    assert all("s to drop all partitions" in path.read_text() for path in plots)
