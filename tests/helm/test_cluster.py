"""The chart against a real Kubernetes API server: what it takes, and a release's whole life.

Needs the server's binary (`KUBE_APISERVER`, or the cache) and etcd. Without them these tests are skipped, loudly.
"""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml

from tests.helm.charts import CASES, CHART, NAME, RELEASE, Helm, Object, Refused, case, case_id, job_of, planted, pod_of
from tests.helm.cluster import Cluster, Players
from tests.helm.schemas import DEFINITIONS
from tests.helm.tools import kube_apiserver
from tests.support.absent import absent
from tests.support.java import Unavailable

PATIENCE = "30s"

pytestmark = pytest.mark.helm


@pytest.fixture(scope="session")
def cluster(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    try:
        binary = kube_apiserver()
    except Unavailable as reason:
        absent(request.config, "REQUIRE_KUBE_APISERVER", "a Kubernetes API server", reason)
    cluster = Cluster(binary, tmp_path_factory.mktemp("kubernetes"))
    for path in DEFINITIONS:
        cluster.create("/apis/apiextensions.k8s.io/v1/customresourcedefinitions", yaml.safe_load(path.read_text()))
    cluster.namespace("dry")
    yield cluster
    cluster.stop()


@dataclass(frozen=True, slots=True)
class Releases:
    """One Helm at work in one namespace."""

    helm: Helm
    cluster: Cluster
    namespace: str
    players: Players
    home: Path

    def run(self, *arguments: str | Path) -> str:
        homes = {f"HELM_{kind}_HOME": str(self.home / kind) for kind in ("CACHE", "CONFIG", "DATA")}
        environment = {"KUBECONFIG": str(self.cluster.kubeconfig), "HOME": str(self.home), **homes}
        return self.helm.run(*arguments, "--namespace", self.namespace, environment=environment)

    def change(self, verb: str, values: Path, *options: str, chart: Path = CHART) -> str:
        return self.run(verb, RELEASE, chart, "--values", values, "--wait", "--timeout", PATIENCE, *options)

    def items(self, group: str, plural: str) -> dict[str, Object]:
        root = f"/apis/{group}" if "/" in group else f"/api/{group}"
        listed = self.cluster.items(f"{root}/namespaces/{self.namespace}/{plural}")
        return {item["metadata"]["name"]: item for item in listed}

    def left(self) -> set[str]:
        """The names of all objects of the release that exist."""
        kinds = {
            "v1": ("configmaps", "services", "serviceaccounts", "pods"),
            "apps/v1": ("deployments", "statefulsets"),
            "batch/v1": ("jobs", "cronjobs"),
            "policy/v1": ("poddisruptionbudgets",),
            "networking.k8s.io/v1": ("networkpolicies",),
            "autoscaling/v2": ("horizontalpodautoscalers",),
            "keda.sh/v1alpha1": ("scaledobjects",),
            "monitoring.coreos.com/v1": ("podmonitors", "prometheusrules"),
        }
        return {
            f"{plural}/{name}"
            for group, names in kinds.items()
            for plural in names
            for name in self.items(group, plural)
        }


@pytest.fixture
def releases(each_helm: Helm, cluster: Cluster, tmp_path: Path) -> Iterator[Releases]:
    namespace = tmp_path.name.replace("_", "-")
    cluster.namespace(namespace)
    with Players(cluster, namespace).at_work() as players:
        yield Releases(each_helm, cluster, namespace, players, tmp_path / "home")


def dry_run(cluster: Cluster, helm: Helm, manifests: str) -> subprocess.CompletedProcess[str]:
    """What the server would say to objects. (`helm install --dry-run=server` asks it nothing.)"""
    where = ["--kubeconfig", str(cluster.kubeconfig), "--namespace", "dry"]
    how = ["--dry-run=server", "--validate=strict", "--filename", "-"]
    command = [str(helm.binary.with_name("kubectl")), "apply", *where, *how]
    return subprocess.run(command, input=manifests, capture_output=True, text=True, check=False, timeout=60)


def with_pods(manifests: str) -> str:
    """The objects, and a pod of each template: the server holds only pods against the restricted standard.

    Left out is what a user adds: other containers, and classes that this server does not have.
    """
    documents = [document for document in yaml.safe_load_all(manifests) if document is not None]
    for document in documents:
        document["metadata"].pop("namespace", None)
        if document["kind"] in {"Deployment", "StatefulSet", "Job", "CronJob"}:
            given = pod_of(job_of(document))
            spec = {part: given[part] for part in ("enableServiceLinks", "securityContext", "volumes")}
            spec["containers"] = given["containers"][:1]
            name = f"pod-of-{document['metadata']['name']}"
            documents.append({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": spec})
    return yaml.safe_dump_all(documents)


@pytest.mark.parametrize("values", CASES, ids=case_id)
def test_the_server_takes_every_object(cluster: Cluster, helm: Helm, values: Path) -> None:
    done = dry_run(cluster, helm, with_pods(helm.text(values)))
    assert done.returncode == 0, done.stderr


PLANTED = {
    "a misspelt field": ("templates/_pod.tpl", "serviceAccountName:", "serviceAcountName:", "unknown field"),
    "a port that does not exist": (
        "templates/service.yaml",
        "port: {{ .Values.config.http.port }}",
        "port: 99090",
        "65535",
    ),
    "a user with all rights": ("values.yaml", "runAsNonRoot: true", "runAsNonRoot: false", "restricted"),
    "a misspelt field of another's": ("templates/podmonitor.yaml", "scrapeTimeout:", "scrapeTimeOut:", "unknown"),
}


@pytest.mark.parametrize("name", PLANTED)
def test_the_server_refuses_a_planted_mistake(cluster: Cluster, helm: Helm, tmp_path: Path, name: str) -> None:
    file, text, replacement, words = PLANTED[name]
    chart = planted(tmp_path, file, text, replacement)
    done = dry_run(cluster, helm, with_pods(helm.text(case("monitoring"), chart=chart)))
    assert done.returncode != 0
    assert words in done.stderr


def test_the_life_of_a_release(releases: Releases) -> None:
    releases.change("install", case("minimal"))
    first = releases.items("apps/v1", "deployments")[NAME]
    assert first["spec"]["replicas"] == 2
    assert first["spec"]["template"]["spec"]["volumes"][1]["secret"]["defaultMode"] == 0o440
    assert "jobs" not in {name.partition("/")[0] for name in releases.left()}, "the check is gone when it passed"
    before = releases.left()

    releases.change("upgrade", case("keda"))
    changed = releases.items("apps/v1", "deployments")[NAME]
    assert checksum(changed) != checksum(first)
    assert releases.left() == before | {f"scaledobjects/{NAME}"}

    releases.run("rollback", RELEASE, "1", "--wait", "--timeout", PATIENCE)
    again = releases.items("apps/v1", "deployments")[NAME]
    assert checksum(again) == checksum(first)
    assert releases.left() == before

    releases.run("test", RELEASE, "--timeout", PATIENCE)
    assert releases.items("v1", "pods").keys() == {f"{NAME}-ready"}
    releases.run("uninstall", RELEASE, "--wait", "--timeout", PATIENCE)
    # The pod of the last test stays for its log, as with every chart.
    assert releases.left() <= {f"pods/{NAME}-ready"}


def checksum(deployment: Object) -> str:
    found: str = deployment["spec"]["template"]["metadata"]["annotations"]["checksum/config"]
    return found


def test_jobs_go_with_a_release_and_are_made_anew_when_their_pods_change(releases: Releases) -> None:
    """An upgrade that tried to change the pods of a Job would fail: the server holds them fast."""

    def names() -> set[str]:
        return set(releases.items("batch/v1", "jobs"))

    def schedules() -> dict[str, str]:
        """Their uids: a CronJob is changed in place, so that its history stays."""
        return {name: item["metadata"]["uid"] for name, item in releases.items("batch/v1", "cronjobs").items()}

    releases.change("install", case("jobs"))
    first, scheduled = names(), schedules()
    assert {name.rpartition("-")[0] for name in first} == {f"{NAME}-fix-tiers", f"{NAME}-verify-once"}
    assert scheduled.keys() == {f"{NAME}-{name}" for name in ("nightly", "by-hand", "redrive", "weekly-verify")}
    releases.change("upgrade", case("jobs"), "--set", "jobs.verify-once.activeDeadlineSeconds=60")
    assert names() == first
    releases.change("upgrade", case("jobs"), "--set", "config.window.seconds=9")
    assert not names() & first
    assert len(names()) == 2
    assert schedules() == scheduled
    releases.run("rollback", RELEASE, "1", "--wait", "--timeout", PATIENCE)
    assert names() == first
    releases.run("uninstall", RELEASE, "--wait", "--timeout", PATIENCE)
    assert names() == set()
    assert schedules() == {}


def test_a_deployment_becomes_a_stateful_set_and_back(releases: Releases) -> None:
    """No immutable field stands in the way: the Service is headless in both."""
    releases.change("install", case("minimal"))
    releases.change("upgrade", case("static-membership"))
    assert releases.items("apps/v1", "deployments") == {}
    assert releases.items("apps/v1", "statefulsets")[NAME]["spec"]["replicas"] == 3
    releases.change("upgrade", case("minimal"))
    assert releases.items("apps/v1", "statefulsets") == {}


def test_a_check_that_fails_stops_the_install_and_stays_for_its_log(releases: Releases) -> None:
    releases.players.failing.add(f"{NAME}-check")
    with pytest.raises(Refused, match="pre-install"):
        releases.change("install", case("minimal"))
    assert releases.items("batch/v1", "jobs").keys() == {f"{NAME}-check"}
    assert releases.items("apps/v1", "deployments") == {}
    releases.players.failing.clear()
    releases.change("upgrade", case("minimal"), "--install")
    assert releases.items("apps/v1", "deployments").keys() == {NAME}


def test_a_check_that_fails_stops_an_upgrade_before_it_changes_anything(releases: Releases) -> None:
    releases.change("install", case("minimal"))
    before = releases.items("apps/v1", "deployments")[NAME]["spec"]
    releases.players.failing.add(f"{NAME}-check")
    with pytest.raises(Refused, match="pre-upgrade"):
        releases.change("upgrade", case("tls-sasl"))
    assert releases.items("apps/v1", "deployments")[NAME]["spec"] == before


def test_a_replica_that_is_not_ready_fails_the_test_of_the_release(releases: Releases) -> None:
    releases.change("install", case("minimal"))
    releases.players.failing.add(f"{NAME}-ready")
    with pytest.raises(Refused):
        releases.run("test", RELEASE, "--timeout", PATIENCE)
