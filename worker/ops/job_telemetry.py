"""A job's metrics, read from its board at each scrape or export, and the answers of its server."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from http import HTTPStatus
from typing import Final

from opentelemetry.metrics import Observation
from opentelemetry.sdk.metrics.export import MetricReader
from prometheus_client import CollectorRegistry

from worker.core.delivery.gate import HaltReason
from worker.core.model import LOSSES
from worker.ops.answers import Answer, MetricsPage, not_found, plain
from worker.ops.exporters import CLOSE_SECONDS, close_within
from worker.ops.job_board import JobBoard, JobState
from worker.ops.metrics import Kind, Metric
from worker.ops.outcomes import OUTCOMES
from worker.ops.provider import registry_and_provider

PATHS: Final = {"/livez": "200 while the job runs", "/metrics": "Prometheus"}


@dataclass(frozen=True, slots=True)
class JobObserved:
    """A metric of jobs, and how it is read."""

    metric: Metric
    read: Callable[[JobBoard], Iterable[Observation]]


def _labelled(metric: Metric, values: Callable[[JobBoard], Mapping[str, float]]) -> JobObserved:
    """A metric with one label: 0 for each value of its closed set that `values` leaves out."""
    ((label, closed),) = metric.labels.items()

    def read(board: JobBoard) -> Iterable[Observation]:
        found: dict[str, float] = {**dict.fromkeys(closed, 0.0), **values(board)}
        return [Observation(number, {label: str(value)}) for value, number in found.items()]

    return JobObserved(metric, read)


def _one(metric: Metric, value: Callable[[JobBoard], float | None]) -> JobObserved:
    """A metric without labels, absent while its value is None."""

    def read(board: JobBoard) -> Iterable[Observation]:
        found = value(board)
        return [] if found is None else [Observation(found)]

    return JobObserved(metric, read)


def _info(board: JobBoard, version: str) -> Iterable[Observation]:
    return [Observation(1, {"command": board.command, "name": board.name, "version": version})]


_INFO: Final = Metric(
    "job_info",
    Kind.GAUGE,
    "Always 1; its labels say what runs. A process runs one job.",
    labels={"command": (), "name": (), "version": ()},
)
_OBSERVED: Final = (
    _labelled(
        Metric("job_state", Kind.GAUGE, "1 for how the job stands.", labels={"state": tuple(JobState)}),
        lambda job: {job.state: 1},
    ),
    _labelled(
        Metric("job_stage", Kind.GAUGE, "1 for the stage that the job is in.", labels={"stage": ()}),
        lambda job: {**dict.fromkeys(job.progress, 0.0), **({job.stage: 1.0} if job.stage else {})},
    ),
    _labelled(
        Metric(
            "job_stage_done",
            Kind.GAUGE,
            "How much of a stage is done: offsets while reading, users while sending or asking.",
            labels={"stage": ()},
        ),
        lambda job: {stage: done for stage, (done, _) in job.progress.items()},
    ),
    _labelled(
        Metric(
            "job_stage_size", Kind.GAUGE, "How much there is to do in a stage, as far as known.", labels={"stage": ()}
        ),
        lambda job: {stage: total for stage, (_, total) in job.progress.items()},
    ),
    _labelled(
        Metric(
            "job_calls_ended",
            Kind.COUNTER,
            "Requests that ended, by what became of them. An answered question of `verify` is `delivered`.",
            labels={"outcome": tuple(dict.fromkeys(OUTCOMES.values()))},
        ),
        lambda job: job.calls_ended,
    ),
    _labelled(
        Metric("job_dead_letters", Kind.COUNTER, "Dead letters written.", labels={"reason": LOSSES}),
        lambda job: job.dead_letters,
    ),
    _labelled(
        Metric(
            "job_halted",
            Kind.GAUGE,
            "1 while calls or dead letters are held back for this reason.",
            labels={"reason": tuple(HaltReason)},
        ),
        lambda job: {} if job.halt is None else {job.halt: 1},
    ),
    _one(Metric("job_started_timestamp", Kind.GAUGE, "Unix time of the start.", "s"), lambda job: job.started),
    _one(
        Metric("job_ended_timestamp", Kind.GAUGE, "Unix time of the end. Absent while the job runs.", "s"),
        lambda job: job.ended,
    ),
)

JOB_METRICS: Final = (_INFO, *(observed.metric for observed in _OBSERVED))


class JobTelemetry:
    """One job's metrics. `registry` is what its `/metrics` serves; `readers` export them besides."""

    def __init__(self, board: JobBoard, *, version: str, instance: str, readers: Sequence[MetricReader]) -> None:
        self.registry, self._provider = registry_and_provider(version, instance, readers)
        meter = self._provider.get_meter("attribute_worker", version)
        _INFO.observe(meter, partial(_info, board, version))
        for observed in _OBSERVED:
            observed.metric.observe(meter, partial(observed.read, board))

    def close(self) -> None:
        """Exports for the last time, within `CLOSE_SECONDS`."""
        close_within(CLOSE_SECONDS, [self._provider.shutdown])


class JobAnswers:
    """Answers a path of a job's server. Safe to call from several threads."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._metrics = MetricsPage(registry)

    def answer(self, path: str, query: str, accept: str) -> Answer:  # noqa: ARG002 - a server passes all three
        """The answer to a GET of `path`. An unknown path gets 404 and the list of known ones."""
        match path:
            case "/livez":
                return plain(HTTPStatus.OK, "ok")
            case "/metrics":
                return self._metrics.answer(accept)
        return not_found(PATHS)
