"""Jobs: their objects, what the command line makes of their arguments, and what a second run or an upgrade meets."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click
import pytest
import yaml
from jsonschema import Draft7Validator

from helm import jobs
from tests.helm.charts import (
    CASES,
    CHART,
    NAME,
    Helm,
    Object,
    Objects,
    Refused,
    case,
    case_id,
    container,
    job_of,
    only,
    planted,
    pod_of,
)
from worker.cli import group

pytestmark = pytest.mark.helm

ONCE = {"command": "replay", "options": {"from": "2026-03-01T12:00", "to": "2026-03-01T13:00"}}
DAILY = {"command": "replay", "schedule": "0 3 * * *", "options": {"from": "-50h"}}
AVAILABLE = [name for name in jobs.COMMANDS if jobs.command_of(name) is not None]


def entry(helm: Helm, given: Mapping[str, Any], **values: object) -> Object:
    """What an entry makes, called `fix`."""
    rendered = helm.render({"check.enabled": False, "jobs": {"fix": given}, **values})
    return only(rendered, "CronJob" if "schedule" in given else "Job")


def runs(rendered: Objects) -> list[Object]:
    """All Jobs and CronJobs of entries."""
    return [item for (kind, name), item in rendered.items() if kind in {"Job", "CronJob"} and name != f"{NAME}-check"]


def test_an_entry_without_a_schedule_is_a_job(helm: Helm) -> None:
    item = entry(helm, ONCE)
    assert item["metadata"]["name"].startswith(f"{NAME}-fix-")
    assert "suspend" not in item["spec"]
    assert "ttlSecondsAfterFinished" not in item["spec"], "an upgrade would make it again"
    assert container(item)["args"] == [
        "replay",
        f"--name={NAME}-fix",
        "--from=2026-03-01T12:00",
        "--to=2026-03-01T13:00",
        "--metrics-port=8080",
    ]


def test_an_entry_with_a_schedule_is_a_cron_job_whose_runs_do_not_overlap(helm: Helm) -> None:
    item = helm.render(case("jobs"))["CronJob", f"{NAME}-nightly"]
    spec = item["spec"]
    assert (spec["schedule"], spec["timeZone"], spec["suspend"]) == ("30 2 * * *", "Europe/Berlin", False)
    assert spec["concurrencyPolicy"] == "Forbid"
    assert spec["startingDeadlineSeconds"] == 3600
    assert (spec["successfulJobsHistoryLimit"], spec["failedJobsHistoryLimit"]) == (1, 3)
    by_hand = helm.render(case("jobs"))["CronJob", f"{NAME}-by-hand"]
    assert by_hand["spec"]["suspend"] is True
    assert "suspend" not in job_of(by_hand)["spec"], "a run that is started by hand would wait as well"
    assert "--dry-run" in container(job_of(by_hand))["args"]


@pytest.mark.parametrize("name", ["fix-tiers", "nightly", "weekly-verify"])
def test_its_pod_is_the_workers_but_for_what_serves(helm: Helm, name: str) -> None:
    rendered = helm.render(case("jobs"))
    (item,) = [each for each in runs(rendered) if each["metadata"]["name"].startswith(f"{NAME}-{name}")]
    mine, workers = pod_of(job_of(item)), pod_of(only(rendered, "Deployment"))
    assert mine["restartPolicy"] == "Never"
    assert mine["terminationGracePeriodSeconds"] == 30, "a stop takes 10 s, and a last export 3"
    assert "topologySpreadConstraints" not in mine
    for part in ("securityContext", "volumes", "serviceAccountName", "automountServiceAccountToken"):
        assert mine[part] == workers[part], part
    own, worker = container(job_of(item)), container(only(rendered, "Deployment"))
    assert not {"startupProbe", "livenessProbe", "readinessProbe"} & own.keys()
    for part in ("image", "env", "volumeMounts", "securityContext", "ports"):
        assert own[part] == worker[part], part


def test_no_sidecar_keeps_it_from_ending(helm: Helm) -> None:
    item = entry(helm, {**ONCE, "podLabels": {"sidecar.istio.io/inject": "false"}}, sidecars=[{"name": "proxy"}])
    assert [each["name"] for each in pod_of(item)["containers"]] == ["job"]
    assert item["spec"]["template"]["metadata"]["labels"]["sidecar.istio.io/inject"] == "false"


def test_an_eviction_does_not_count_and_bad_usage_is_not_tried_again(helm: Helm) -> None:
    for item in (entry(helm, ONCE), entry(helm, DAILY)):
        ignored, failed = job_of(item)["spec"]["podFailurePolicy"]["rules"]
        assert ignored == {"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]}
        codes = {"containerName": container(job_of(item))["name"], "operator": "In", "values": [2]}
        assert failed == {"action": "FailJob", "onExitCodes": codes}


@pytest.mark.parametrize(
    ("given", "limit"),
    [
        (ONCE, 6),
        ({"command": "verify"}, 0),
        ({"command": "verify", "backoffLimit": 2}, 2),
        ({**ONCE, "backoffLimit": 0}, 0),
    ],
)
def test_what_differs_is_not_asked_again_by_default(helm: Helm, given: Mapping[str, Any], limit: int) -> None:
    assert entry(helm, given)["spec"]["backoffLimit"] == limit


def test_only_a_replay_has_a_name_and_it_never_changes(helm: Helm) -> None:
    """By it, the next pod goes on: after a kill, at the next scheduled run, and after an upgrade."""

    def names(**values: object) -> list[str]:
        found = [entry(helm, given, **values) for given in (ONCE, DAILY)]
        return [arg for item in found for arg in container(job_of(item))["args"] if arg.startswith("--name=")]

    changed = {"config.window.seconds": 9, "image.tag": "9"}
    assert names() == names(**changed) == [f"--name={NAME}-fix"] * 2
    assert not any(arg.startswith("--name") for arg in container(entry(helm, {"command": "verify"}))["args"])


def test_whatever_changes_the_pods_of_a_job_makes_a_new_one(helm: Helm) -> None:
    """Kubernetes refuses to change the pods of a Job that exists, and an upgrade would fail."""

    def name(given: Mapping[str, Any], **values: object) -> str:
        found: str = entry(helm, given, **values)["metadata"]["name"]
        return found

    first = name(ONCE)
    assert len(first) <= 63
    changed = [
        name(ONCE, **{"config.window.seconds": 9}),
        name(ONCE, **{"image.tag": "9"}),
        name({**ONCE, "options": {**ONCE["options"], "rate": 5}}),  # type: ignore[dict-item]  # a mapping
    ]
    assert len({first, *changed}) == 4
    assert name({**ONCE, "suspend": True, "activeDeadlineSeconds": 60}) == first, "these can be changed"
    assert entry(helm, DAILY, **{"image.tag": "9"})["metadata"]["name"] == f"{NAME}-fix"


def test_resources_are_the_workers_and_what_the_entry_adds(helm: Helm) -> None:
    assert container(entry(helm, ONCE))["resources"] == {
        "requests": {"cpu": "250m", "memory": "512Mi"},
        "limits": {"memory": "512Mi"},
    }
    added = {"requests": {"cpu": 1}, "limits": {"memory": "2Gi"}}
    assert container(entry(helm, {**ONCE, "resources": added}))["resources"] == {
        "requests": {"cpu": 1, "memory": "512Mi"},
        "limits": {"memory": "2Gi"},
    }


def selects(selector: Mapping[str, Any], labels: Mapping[str, str]) -> bool:
    return bool(selector["matchLabels"].items() <= labels.items())


def test_nothing_of_the_worker_takes_hold_of_a_jobs_pods(helm: Helm) -> None:
    rendered = helm.render(case("jobs"))
    pods = [job_of(item)["spec"]["template"]["metadata"]["labels"] for item in runs(rendered)]
    workers = only(rendered, "Deployment")["spec"]["template"]["metadata"]["labels"]
    assert len(pods) == 6
    selectors = {
        "Deployment": only(rendered, "Deployment")["spec"]["selector"],
        "Service": {"matchLabels": only(rendered, "Service")["spec"]["selector"]},
        "PodDisruptionBudget": only(rendered, "PodDisruptionBudget")["spec"]["selector"],
        "PodMonitor": rendered["PodMonitor", NAME]["spec"]["selector"],
        **{f"spread {n}": each["labelSelector"] for n, each in enumerate(spread(rendered))},
    }
    for who, selector in selectors.items():
        assert selects(selector, workers), who
        assert not any(selects(selector, labels) for labels in pods), who
    scaled = helm.render({"autoscaling.enabled": True, "jobs": {"fix": ONCE}})
    assert only(scaled, "ScaledObject")["spec"]["scaleTargetRef"] == {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "name": NAME,
    }


def spread(rendered: Objects) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = pod_of(only(rendered, "Deployment"))["topologySpreadConstraints"]
    return found


def test_the_network_policy_and_a_monitor_of_their_own_reach_them(helm: Helm) -> None:
    rendered = helm.render(case("jobs"))
    monitor, policy = rendered["PodMonitor", f"{NAME}-jobs"], rendered["NetworkPolicy", NAME]
    for item in runs(rendered):
        template = job_of(item)["spec"]["template"]
        assert selects(monitor["spec"]["selector"], template["metadata"]["labels"])
        assert selects(policy["spec"]["podSelector"], template["metadata"]["labels"])
        assert container(job_of(item))["ports"] == [{"name": "http", "containerPort": 8080}]
    assert policy["spec"]["ingress"][0]["ports"] == [{"port": "http"}]
    (endpoint,) = monitor["spec"]["podMetricsEndpoints"]
    assert endpoint["port"] == "http"
    assert ("PodMonitor", f"{NAME}-jobs") not in helm.render({"podMonitor.enabled": True})


def test_the_port_is_the_one_of_the_settings(helm: Helm) -> None:
    own = container(entry(helm, ONCE, **{"config.http.port": 9000}))
    assert own["ports"] == [{"name": "http", "containerPort": 9000}]
    assert own["args"][-1] == "--metrics-port=9000"


def parsed(args: list[str], mounted: Path) -> click.Context:
    """What the real command line reads from a pod's arguments."""
    words = [arg.replace("/run/secrets/users/list.txt", str(mounted)) for arg in args]
    context = click.Context(group)
    command: click.Command | None = group
    while isinstance(command, click.Group):
        command = command.get_command(context, words.pop(0))
    assert command is not None
    return command.make_context("job", words, parent=context)


@pytest.fixture
def mounted(tmp_path: Path) -> Path:
    users = tmp_path / "users.txt"
    users.write_text("phone=+15551230001\n")
    return users


@pytest.mark.parametrize("values", CASES, ids=case_id)
def test_the_command_line_takes_the_arguments_of_every_job(helm: Helm, values: Path, mounted: Path) -> None:
    for item in runs(helm.render(values)):
        parsed(container(job_of(item))["args"], mounted)


SAMPLES: Mapping[str, Any] = {"integer": 3, "number": 1_000_000, "string": "2026-03-01T12:00", "boolean": True}


def sample(schema: Mapping[str, Any], name: str) -> Any:  # noqa: ANN401 - a value of any kind
    if name.endswith("file"):
        return "/run/secrets/users/list.txt"
    if "enum" in schema:
        return schema["enum"][0]
    return [sample(schema["items"], name)] * 2 if schema["type"] == "array" else SAMPLES[schema["type"]]


@pytest.mark.parametrize("name", AVAILABLE)
def test_the_command_line_takes_every_option_that_the_chart_does(each_helm: Helm, name: str, mounted: Path) -> None:
    command = jobs.command_of(name)
    assert command is not None
    known = jobs.options_of(command)
    options = {option: sample(schema, option) for option, schema in known.items()}
    item = entry(each_helm, {"command": name, "options": options, "schedule": "0 3 * * *"})
    found = parsed(container(job_of(item))["args"], mounted).params
    by_name = {option.opts[0].removeprefix("--"): option.name for option in command.params}
    given = {option for option in known if found[str(by_name[option])]}
    assert given == known.keys()
    assert found["metrics_port"] == 8080


@pytest.mark.parametrize("name", AVAILABLE)
def test_a_job_takes_neither_identifiers_nor_values_nor_what_the_chart_sets(helm: Helm, name: str) -> None:
    for option in ("user", "values", "name", "restart", "metrics-port", "config", "kafka-topics"):
        with pytest.raises(Refused, match=option):
            entry(helm, {"command": name, "options": {option: "x"}, "schedule": "0 3 * * *"})


REFUSED: Mapping[str, tuple[str, Mapping[str, Any], str]] = {
    "a command that is no job": ("fix", {"command": "run"}, "command"),
    "no command": ("fix", {"options": {}}, "command"),
    "a name that no object may have": ("Fix", ONCE, "Fix"),
    "a name that is too long": ("f" * 40, ONCE, "longer than 52 characters"),
    "an unknown key": ("fix", {**ONCE, "parallelism": 2}, "parallelism"),
    "runs that overlap": ("fix", {**DAILY, "concurrencyPolicy": "Allow"}, "concurrencyPolicy"),
    "an option of another command": ("fix", {"command": "verify", "options": {"to": "-2h"}}, "to"),
    "an option of a wrong kind": ("fix", {"command": "verify", "options": {"sample": "many"}}, "sample"),
    "a range that moves": ("fix", {**ONCE, "options": {"from": "-2h", "to": "-1h"}}, "options.from is -2h"),
    "a range that ends now": ("fix", {**ONCE, "options": {"from": "earliest"}}, r"needs options\.to"),
    "a range that ends later": ("fix", {**ONCE, "options": {"from": "earliest", "to": "latest"}}, "is latest"),
    "a zone without a schedule": ("fix", {**ONCE, "timeZone": "UTC"}, "belong to a schedule"),
    "a history without a schedule": ("fix", {**ONCE, "failedJobsHistoryLimit": 0}, "belong to a schedule"),
    "a label that the chart sets": ("fix", {**ONCE, "podLabels": {"attribute-worker/job": "x"}}, "set by the chart"),
    "a component of its own": (
        "fix",
        {**ONCE, "podLabels": {"app.kubernetes.io/component": "worker"}},
        "set by the chart",
    ),
    "an annotation that the chart sets": (
        "fix",
        {**ONCE, "podAnnotations": {"checksum/config": "x"}},
        "set by the chart",
    ),
    "too little memory": (
        "fix",
        {**ONCE, "resources": {"limits": {"memory": "1Mi"}}},
        r"fix\.resources\.limits\.memory",
    ),
    "a label that is no text": ("fix", {**ONCE, "podLabels": {"a": 1}}, "podLabels|Invalid type|want string"),
}


@pytest.mark.parametrize("reason", REFUSED)
def test_refused(each_helm: Helm, reason: str) -> None:
    name, given, words = REFUSED[reason]
    with pytest.raises(Refused, match=words):
        each_helm.render({"jobs": {name: given}})


def test_times_and_numbers_arrive_as_they_were_written(each_helm: Helm, tmp_path: Path) -> None:
    """Helm reads a time as a time and a number as a float where YAML says so."""
    values = tmp_path / "values.yaml"
    given = yaml.safe_load(case("minimal").read_text())
    entries = """
jobs:
  fix:
    command: replay
    options: {from: "2026-03-01T12:00:00", to-offsets: "0:1000000", partition: [0, 1000000], rate: 1000000}
"""
    values.write_text(yaml.safe_dump({**given, "check": {"enabled": False}}) + entries)
    args = container(only(each_helm.render(values), "Job"))["args"]
    for arg in ("--from=2026-03-01T12:00:00", "--to-offsets=0:1000000", "--partition=1000000", "--rate=1000000"):
        assert arg in args


CHANGES: Mapping[str, Any] = {
    "command": "verify",
    "options": {"from": "-99h"},
    "schedule": "1 1 * * *",
    "timeZone": "UTC",
    "suspend": True,
    "resources": {"limits": {"memory": "3Gi"}},
    "podLabels": {"a": "b"},
    "podAnnotations": {"a": "b"},
}


@pytest.mark.parametrize("key", jobs.ENTRY)
def test_every_key_of_an_entry_shows(helm: Helm, key: str) -> None:
    assert entry(helm, {**DAILY, key: CHANGES.get(key, 77)}) != entry(helm, DAILY)


def test_every_key_and_option_is_described() -> None:
    schema = jobs.schema()
    Draft7Validator.check_schema(schema)
    described = [schema["additionalProperties"]["properties"]]
    described += [
        each["then"]["properties"]["options"]["properties"] for each in schema["additionalProperties"]["allOf"]
    ]
    assert [name for properties in described for name, value in properties.items() if not value["description"]] == []


PLANTED = {
    "a policy for another container": ("_jobs.tpl", "containerName: job", "containerName: worker"),
    "pods that are the worker's": ("_jobs.tpl", '"component" "job"', '"component" "worker"'),
    "a name that changes": ("_jobs.tpl", "%s-%s", "%s-x%s"),
    "runs at once": ("jobs.yaml", "concurrencyPolicy: Forbid", "concurrencyPolicy: Allow"),
    "probes of a job": ("_jobs.tpl", '"serves" false', '"serves" true'),
    "a short grace": ("_jobs.tpl", '"grace" 30', '"grace" 5'),
    "no port": ("_jobs.tpl", '"watched" true', '"watched" false'),
    "an option without its dashes": ("_jobs.tpl", '(printf "--%s=%s"', '(printf "%s=%s"'),
}


@pytest.mark.parametrize("mistake", PLANTED)
def test_a_planted_mistake_fails_a_test(helm: Helm, tmp_path: Path, mounted: Path, mistake: str) -> None:
    file, text, replacement = PLANTED[mistake]
    with_mistake = planted(tmp_path, f"templates/{file}", text, replacement)

    class Spoilt(Helm):
        def text(self, values: Path | Mapping[str, Any], *, chart: Path = CHART) -> str:
            assert chart == CHART
            return super().text(values, chart=with_mistake)

    spoilt = Spoilt(helm.version, helm.binary)
    failed = []
    for look in (
        test_an_entry_without_a_schedule_is_a_job,
        test_an_entry_with_a_schedule_is_a_cron_job_whose_runs_do_not_overlap,
        test_an_eviction_does_not_count_and_bad_usage_is_not_tried_again,
        test_nothing_of_the_worker_takes_hold_of_a_jobs_pods,
        lambda helm: test_its_pod_is_the_workers_but_for_what_serves(helm, "nightly"),
        lambda helm: test_the_command_line_takes_the_arguments_of_every_job(helm, case("jobs"), mounted),
    ):
        try:
            look(spoilt)
        except (AssertionError, LookupError, ValueError, click.ClickException, Refused):
            failed.append(look)
    assert failed
