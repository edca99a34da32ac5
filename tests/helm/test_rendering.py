"""Every file of values in ci/ passes the linters, and both Helms make the same valid objects of it."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests.helm.charts import CASES, CHART, Helm, Refused, case, case_id, planted
from tests.helm.schemas import KUBERNETES, Invalid, validate

pytestmark = pytest.mark.helm


@pytest.mark.parametrize("values", [None, *CASES], ids=lambda path: case_id(path) if path else "defaults")
def test_lint_finds_nothing(each_helm: Helm, values: Path | None) -> None:
    given = ["--values", str(values)] if values else []
    each_helm.run("lint", "--strict", CHART, *given)


@pytest.mark.parametrize("values", CASES, ids=case_id)
def test_both_helms_render_equal_valid_objects(helms: tuple[Helm, ...], values: Path) -> None:
    first, *others = [helm.render(values) for helm in helms]
    assert first
    for other in others:
        assert other == first
    for item in first.values():
        for version in KUBERNETES:
            validate(item, version)


PLANTED: dict[str, tuple[str, str, str, str]] = {
    # what goes wrong: file, text, replacement, kind of object that must be found invalid
    "a misspelt field": ("_pod.tpl", "enableServiceLinks", "enableServicelinks", "Deployment"),
    "text for a number": ("workload.yaml", "replicas: {{ .Values.replicaCount }}", "replicas: two", "Deployment"),
    "a misspelt field of the secret properties": (
        "_pod.tpl",
        "defaultMode: 0440\n        sources",
        "mode: 0440\n        sources",
        "Job",
    ),
    "a misspelt field of a Secret among them": (
        "_settings.tpl",
        '"items" (list $item))) -}}\n{{- end',
        '"item" (list $item))) -}}\n{{- end',
        "Job",
    ),
    "a field of another kind": ("poddisruptionbudget.yaml", "maxUnavailable", "maxSurge", "PodDisruptionBudget"),
    "a misspelt field of a PodMonitor": ("podmonitor.yaml", "scrapeTimeout:", "scrapeTimeOut:", "PodMonitor"),
    "a misspelt field of a job": ("_jobs.tpl", "onPodConditions:", "onPodCondition:", "CronJob"),
    "a misspelt field of a schedule": ("jobs.yaml", "concurrencyPolicy:", "concurrency:", "CronJob"),
    "a misspelt field of a ScaledObject": ("autoscaling.yaml", "pollingInterval:", "pollingintervall:", "ScaledObject"),
}


@pytest.mark.parametrize("name", PLANTED)
def test_a_planted_mistake_makes_an_invalid_object(helm: Helm, tmp_path: Path, name: str) -> None:
    file, text, replacement, kind = PLANTED[name]
    chart = planted(tmp_path, f"templates/{file}", text, replacement)
    cases = {"PodMonitor": "monitoring", "ScaledObject": "keda", "Job": "tls-sasl", "CronJob": "jobs"}
    rendered = helm.render(case(cases.get(kind, "minimal")), chart=chart)
    for version in KUBERNETES:
        invalid = set()
        for (its_kind, _), item in rendered.items():
            try:
                validate(item, version)
            except Invalid:
                invalid.add(its_kind)
        assert kind in invalid


def test_a_planted_mistake_fails_the_lint(helm: Helm, tmp_path: Path) -> None:
    chart = planted(tmp_path, "templates/service.yaml", "publishNotReadyAddresses: true", "\tpublish: true")
    with pytest.raises(Refused, match=r"service\.yaml"):
        helm.run("lint", "--strict", chart)


def test_the_packaged_chart_renders_the_same(helm: Helm, tmp_path: Path) -> None:
    """What .helmignore leaves out is needed by nobody."""
    helm.run("package", CHART, "--destination", tmp_path)
    (package,) = tmp_path.glob("*.tgz")
    values = case("monitoring")
    assert helm.render(values, chart=package) == helm.render(values)
    listed = subprocess.run(["tar", "tzf", package], capture_output=True, text=True, check=True, timeout=30)  # noqa: S607 - whichever tar there is
    assert "attribute-worker/templates/tests/ready.yaml" in listed.stdout
    assert "/ci/" not in listed.stdout
