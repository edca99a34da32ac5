"""Each object of the chart, looked at one by one."""

from __future__ import annotations

from typing import Any

import pytest
import yaml

from tests.helm.charts import CHART, NAME, NAMESPACE, RELEASE, SELECTOR, Helm, case, container, objects, only, pod_of

pytestmark = pytest.mark.helm

SECRET = {"name": "kafka-user", "key": "password"}
ALWAYS = {
    ("ConfigMap", NAME),
    ("Deployment", NAME),
    ("Service", NAME),
    ("ServiceAccount", NAME),
    ("PodDisruptionBudget", NAME),
    ("Pod", f"{NAME}-ready"),
    ("ConfigMap", f"{NAME}-check"),
    ("Job", f"{NAME}-check"),
    ("ServiceAccount", f"{NAME}-check"),
}


def test_what_an_installation_makes_by_default(helm: Helm) -> None:
    assert helm.render({}).keys() == ALWAYS


@pytest.mark.parametrize(
    ("values", "more", "less"),
    [
        ({"networkPolicy.enabled": True}, {("NetworkPolicy", NAME), ("NetworkPolicy", f"{NAME}-check")}, set()),
        ({"podMonitor.enabled": True}, {("PodMonitor", NAME)}, set()),
        ({"prometheusRule.enabled": True}, {("PrometheusRule", NAME)}, set()),
        ({"autoscaling.enabled": True}, {("ScaledObject", NAME)}, set()),
        ({"autoscaling.enabled": True, "autoscaling.kind": "hpa"}, {("HorizontalPodAutoscaler", NAME)}, set()),
        ({"staticMembership.enabled": True}, {("StatefulSet", NAME)}, {("Deployment", NAME)}),
        ({"podDisruptionBudget.enabled": False}, set(), {("PodDisruptionBudget", NAME)}),
        ({"replicaCount": 1}, set(), {("PodDisruptionBudget", NAME)}),
        ({"serviceAccount.create": False}, set(), {("ServiceAccount", NAME), ("ServiceAccount", f"{NAME}-check")}),
        ({"check.enabled": False}, set(), {key for key in ALWAYS if key[1] == f"{NAME}-check"}),
    ],
    ids=lambda part: ",".join(part) if isinstance(part, dict) else "",
)
def test_a_value_adds_and_removes_objects(
    helm: Helm, values: dict[str, Any], more: set[tuple[str, str]], less: set[tuple[str, str]]
) -> None:
    assert helm.render(values).keys() == (ALWAYS | more) - less


def test_the_deployment(helm: Helm) -> None:
    item = only(helm.render({}), "Deployment")
    spec = item["spec"]
    assert spec["replicas"] == 2
    assert spec["strategy"] == {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}}
    assert spec["selector"] == {"matchLabels": SELECTOR}
    assert spec["template"]["metadata"]["labels"].items() >= SELECTOR.items()
    pod = pod_of(item)
    assert pod["enableServiceLinks"] is False
    assert pod["automountServiceAccountToken"] is False
    assert pod["serviceAccountName"] == NAME
    assert "restartPolicy" not in pod
    for constraint in pod["topologySpreadConstraints"]:
        assert constraint["whenUnsatisfiable"] == "ScheduleAnyway"
        assert constraint["labelSelector"] == {"matchLabels": SELECTOR}
        assert constraint["matchLabelKeys"] == ["pod-template-hash"]
    worker = container(item)
    assert worker["image"] == "attentive-attribute-worker:0.1.0"
    assert worker["args"] == ["run"]
    assert "command" not in worker, "the image's entry point is the worker"
    assert worker["env"] == [{"name": "WORKER_CONFIG", "value": "/etc/attribute-worker/worker.yaml"}]


def test_probes_ask_the_right_endpoints(helm: Helm) -> None:
    """Liveness must not ask /readyz: a halted worker is not ready, and a restart would not help it."""
    worker = container(only(helm.render({}), "Deployment"))
    asked = {probe: worker[f"{probe}Probe"]["httpGet"] for probe in ("startup", "liveness", "readiness")}
    assert {probe: get["path"] for probe, get in asked.items()} == {
        "startup": "/livez",
        "liveness": "/livez",
        "readiness": "/readyz",
    }
    assert {get["port"] for get in asked.values()} == {"http"}
    assert worker["ports"] == [{"name": "http", "containerPort": 8080}]
    moved = container(only(helm.render({"config.http.port": 9000}), "Deployment"))
    assert moved["ports"] == [{"name": "http", "containerPort": 9000}]


@pytest.mark.parametrize(
    ("values", "grace", "ready"),
    [
        ({}, 50, 30),
        ({"config.shutdown.drain_seconds": 100}, 130, 110),
        ({"config.shutdown.drain_seconds": 0.5}, 31, 11),
        ({"terminationGracePeriodSeconds": 70, "rollout.minReadySeconds": 0}, 70, 0),
    ],
)
def test_times_follow_the_drain(helm: Helm, values: dict[str, Any], grace: int, ready: int) -> None:
    item = only(helm.render(values), "Deployment")
    assert pod_of(item)["terminationGracePeriodSeconds"] == grace
    assert item["spec"]["minReadySeconds"] == ready
    assert item["spec"]["progressDeadlineSeconds"] == ready + 600


@pytest.mark.parametrize("kind", ["Deployment", "Job", "Pod"])
def test_every_pod_fits_the_restricted_standard(helm: Helm, kind: str) -> None:
    item = only(helm.render({}), kind)
    pod = item["spec"] if kind == "Pod" else pod_of(item)
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["runAsUser"] == 10001
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert pod["automountServiceAccountToken"] is False
    assert pod["enableServiceLinks"] is False
    assert container(item)["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }


def test_no_token_of_the_service_account_is_mounted_by_other_pods_either(helm: Helm) -> None:
    assert helm.render({})["ServiceAccount", NAME]["automountServiceAccountToken"] is False


@pytest.mark.parametrize("kind", ["Deployment", "Job"])
def test_everything_is_mounted_read_only(helm: Helm, kind: str) -> None:
    values = {"mounts": [{"path": "/a", "secret": "s"}], "secretProperties.kafka": {"sasl.password": SECRET}}
    mounts = container(only(helm.render(values), kind))["volumeMounts"]
    assert {mount["name"] for mount in mounts} == {"settings", "token", "properties", "mount-0"}
    assert all(mount["readOnly"] is True for mount in mounts)


def test_the_resources_of_the_test_can_be_set(helm: Helm) -> None:
    assert container(only(helm.render({}), "Pod"))["resources"] == {
        "requests": {"cpu": "50m", "memory": "64Mi"},
        "limits": {"memory": "64Mi"},
    }
    resources = container(only(helm.render({"test.resources.limits.memory": "1Gi"}), "Pod"))["resources"]
    assert resources["limits"] == {"memory": "1Gi"}


def test_the_platform_may_choose_the_user(each_helm: Helm) -> None:
    values = {f"podSecurityContext.{name}": None for name in ("runAsUser", "runAsGroup", "fsGroup")}
    pod = pod_of(only(each_helm.render(values), "Deployment"))
    assert pod["securityContext"].keys() == {"runAsNonRoot", "fsGroupChangePolicy", "seccompProfile"}


def test_the_token_is_a_file_that_kubernetes_can_replace(helm: Helm) -> None:
    """A whole folder, not a subPath: that would never be updated."""
    rendered = helm.render({"token.key": "api"})
    item = only(rendered, "Deployment")
    (mount,) = [each for each in container(item)["volumeMounts"] if each["name"] == "token"]
    assert mount == {"name": "token", "mountPath": "/run/secrets/attentive", "readOnly": True}
    (volume,) = [each for each in pod_of(item)["volumes"] if each["name"] == "token"]
    assert volume["secret"] == {"secretName": "attentive", "defaultMode": 0o440}
    settings = yaml.safe_load(rendered["ConfigMap", NAME]["data"]["worker.yaml"])
    assert settings["attentive"]["token_file"] == "/run/secrets/attentive/api"


@pytest.mark.parametrize("kind", ["Deployment", "Job"])
def test_secret_properties_are_files_of_the_worker_and_of_the_check_and_no_variables(helm: Helm, kind: str) -> None:
    """A variable would show in `kubectl describe`, in crash dumps and to every process in the container."""
    rendered = helm.render(case("tls-sasl"))
    item = only(rendered, kind)
    assert [variable["name"] for variable in container(item)["env"]] == ["WORKER_CONFIG"]
    (mount,) = [each for each in container(item)["volumeMounts"] if each["name"] == "properties"]
    assert mount == {"name": "properties", "mountPath": "/run/secrets/properties", "readOnly": True}
    (volume,) = [each for each in pod_of(item)["volumes"] if each["name"] == "properties"]
    kafka = {"name": "kafka-user", "items": [{"key": "password", "path": "kafka/sasl.password"}]}
    registry = {"name": "registry-user", "items": [{"key": "user-info", "path": "registry/basic.auth.user.info"}]}
    assert volume["projected"] == {"defaultMode": 0o440, "sources": [{"secret": kafka}, {"secret": registry}]}
    settings = yaml.safe_load(rendered["ConfigMap", NAME]["data"]["worker.yaml"])
    files = {"sasl.password": "/run/secrets/properties/kafka/sasl.password"}
    assert settings["kafka"]["property_files"] == files
    files = {"basic.auth.user.info": "/run/secrets/properties/registry/basic.auth.user.info"}
    assert settings["schemas"]["registry_property_files"] == files


def test_no_secret_property_no_volume(helm: Helm) -> None:
    item = only(helm.render({"secretProperties.kafka": None}), "Deployment")
    assert {volume["name"] for volume in pod_of(item)["volumes"]} == {"settings", "token"}


def test_only_a_change_of_the_settings_changes_the_checksum(helm: Helm) -> None:
    def checksum(values: dict[str, Any]) -> str:
        found: str = only(helm.render(values), "Deployment")["spec"]["template"]["metadata"]["annotations"][
            "checksum/config"
        ]
        return found

    assert checksum({}) == checksum({"replicaCount": 5, "service.labels": {"a": "b"}})
    assert checksum({}) != checksum({"config.window.seconds": 6})


@pytest.mark.parametrize(
    ("values", "requests", "limits"),
    [
        ({}, {"cpu": "250m", "memory": "512Mi"}, {"memory": "512Mi"}),
        ({"config.window.max_bytes": 65_536}, {"cpu": "250m", "memory": "257Mi"}, {"memory": "257Mi"}),
        (
            {"resources.limits": {"memory": "2Gi", "cpu": 2}, "resources.requests.cpu": None},
            {"memory": "512Mi"},
            {"memory": "2Gi", "cpu": 2},
        ),
        (
            {
                "resources.requests": {"memory": "478M", "cpu": "1e0"},
                "resources.limits": {"memory": "478150656", "cpu": "1"},
            },
            {"memory": "478M", "cpu": "1e0"},
            {"memory": "478150656", "cpu": "1"},
        ),
    ],
)
def test_memory_follows_the_budget(
    each_helm: Helm, values: dict[str, Any], requests: dict[str, Any], limits: dict[str, Any]
) -> None:
    found = container(only(each_helm.render(values), "Deployment"))["resources"]
    assert found == {"requests": requests, "limits": limits}


def test_static_membership(helm: Helm) -> None:
    item = only(helm.render(case("static-membership")), "StatefulSet")
    spec = item["spec"]
    assert spec["serviceName"] == NAME
    assert spec["podManagementPolicy"] == "Parallel"
    assert spec["updateStrategy"] == {"type": "RollingUpdate"}
    assert not {"strategy", "progressDeadlineSeconds"} & spec.keys()
    assert all("matchLabelKeys" not in each for each in pod_of(item)["topologySpreadConstraints"])
    (volume,) = [each for each in pod_of(item)["volumes"] if each["name"] == "properties"]
    own_name = {"path": "kafka/group.instance.id", "fieldRef": {"fieldPath": "metadata.name"}}
    assert volume["projected"]["sources"] == [{"downwardAPI": {"items": [own_name]}}]


def test_the_check_runs_before_anything_else_with_what_it_needs(helm: Helm) -> None:
    rendered = helm.render(case("network-policy"))
    parts = {key: item for key, item in rendered.items() if key[1] == f"{NAME}-check"}
    assert {kind for kind, _ in parts} == {"Job", "ConfigMap", "ServiceAccount", "NetworkPolicy"}
    for (kind, _), item in parts.items():
        annotations = item["metadata"]["annotations"]
        assert annotations["helm.sh/hook"] == "pre-install,pre-upgrade"
        assert annotations["helm.sh/hook-delete-policy"] == "before-hook-creation,hook-succeeded"
        assert ("helm.sh/hook-weight" in annotations) == (kind != "Job")
    job = parts["Job", f"{NAME}-check"]
    assert job["metadata"]["annotations"]["helm.sh/hook-output-log-policy"] == "hook-failed", "people see why"
    assert parts["ServiceAccount", f"{NAME}-check"]["automountServiceAccountToken"] is False
    assert container(job)["args"] == ["check"]
    assert pod_of(job)["restartPolicy"] == "Never"
    assert pod_of(job)["serviceAccountName"] == f"{NAME}-check"
    settings = [volume for volume in pod_of(job)["volumes"] if volume["name"] == "settings"]
    assert settings == [{"name": "settings", "configMap": {"name": f"{NAME}-check"}}]
    assert parts["ConfigMap", f"{NAME}-check"]["data"] == rendered["ConfigMap", NAME]["data"]
    for part in ("readinessProbe", "ports"):
        assert part not in container(job)
    assert job["spec"]["template"]["metadata"]["labels"]["app.kubernetes.io/component"] == "check"


def test_nothing_but_the_worker_carries_its_labels(helm: Helm) -> None:
    """Else a Service, a budget or a monitor would take hold of the check's pod or the test's."""
    for values in (case("monitoring"), case("network-policy")):
        for (kind, _), item in helm.render(values).items():
            if kind in {"Job", "Pod"}:
                labels = (item["spec"]["template"] if kind == "Job" else item)["metadata"]["labels"]
                assert labels["app.kubernetes.io/component"] != "worker"
            if kind in {"PodDisruptionBudget", "PodMonitor"}:
                assert item["spec"]["selector"] == {"matchLabels": SELECTOR}
            if kind == "Service":
                assert item["spec"]["selector"] == SELECTOR


def test_the_service_finds_halted_workers_too(helm: Helm) -> None:
    spec = only(helm.render({"config.http.port": 9000}), "Service")["spec"]
    assert spec["clusterIP"] == "None"
    assert spec["publishNotReadyAddresses"] is True
    assert spec["ports"] == [{"name": "http", "port": 9000, "targetPort": "http"}]


def test_a_drain_of_nodes_takes_one_at_a_time_and_passes_halted_workers(helm: Helm) -> None:
    spec = only(helm.render({}), "PodDisruptionBudget")["spec"]
    assert spec["maxUnavailable"] == 1
    assert spec["unhealthyPodEvictionPolicy"] == "AlwaysAllow"


def test_what_a_platform_adds_arrives(helm: Helm) -> None:
    values = yaml.safe_load(case("customised").read_text())
    rendered = helm.render(case("customised"))
    item = only(rendered, "Deployment")
    assert item["metadata"]["name"] == "crm"
    template = item["spec"]["template"]
    pod, worker = pod_of(item), container(item)
    assert template["metadata"]["labels"].items() >= {"team": "crm", "cost-centre": "crm"}.items()
    assert template["metadata"]["annotations"]["example.com/scrape"] == "false"
    for key in (
        "nodeSelector",
        "tolerations",
        "affinity",
        "topologySpreadConstraints",
        "priorityClassName",
        "runtimeClassName",
        "dnsConfig",
        "hostAliases",
        "imagePullSecrets",
        "initContainers",
    ):
        assert pod[key] == values[key], key
    assert pod["serviceAccountName"] == "crm-worker"
    assert pod["containers"][1:] == values["sidecars"]
    assert worker["image"] == f"registry.example/crm/attribute-worker@{values['image']['digest']}"
    assert worker["imagePullPolicy"] == "Always"
    assert worker["env"][-1] == values["extraEnv"][0]
    assert worker["envFrom"] == values["extraEnvFrom"]
    assert values["extraVolumes"][0] in pod["volumes"]
    assert values["extraVolumeMounts"][0] in worker["volumeMounts"]
    assert only(rendered, "Service")["metadata"]["annotations"] == {"example.com/note": "headless"}
    assert {("ConfigMap", "further"), ("ConfigMap", f"{RELEASE}-further")} <= rendered.keys()
    for hook in (only(rendered, "Pod"), only(rendered, "Job")["spec"]["template"]):
        assert hook["metadata"]["labels"]["sidecar.istio.io/inject"] == "false"
        assert hook["metadata"]["annotations"]["example.com/hook"] == "true"
    assert len(pod_of(only(rendered, "Job"))["containers"]) == 1, "a sidecar would keep the check from ending"


def test_mounts_reach_the_worker_and_the_check(helm: Helm) -> None:
    rendered = helm.render({"mounts": [{"path": "/a", "secret": "s"}, {"path": "/b", "configMap": "c"}]})
    for kind in ("Deployment", "Job"):
        item = only(rendered, kind)
        assert {"name": "mount-0", "secret": {"secretName": "s", "defaultMode": 0o440}} in pod_of(item)["volumes"]
        assert {"name": "mount-1", "configMap": {"name": "c"}} in pod_of(item)["volumes"]
        paths = {mount["mountPath"] for mount in container(item)["volumeMounts"]}
        assert paths == {"/etc/attribute-worker", "/run/secrets/attentive", "/a", "/b"}


def test_names_leave_room_for_what_kubernetes_adds(helm: Helm) -> None:
    arguments = ["--values", str(case("minimal")), "--set", "nameOverride=" + "n" * 80]
    manifests = helm.run("template", "r" * 53, CHART, *arguments)
    names = {document["metadata"]["name"] for document in yaml.safe_load_all(manifests) if document}
    assert max(map(len, names)) == 52 + len("-check")


@pytest.mark.parametrize("release", ["no", "on", "null"])
def test_a_release_may_be_called_by_a_word_of_yaml(each_helm: Helm, release: str) -> None:
    rendered = objects(each_helm.run("template", release, CHART, "--values", case("minimal")))
    for item in rendered.values():
        assert item["metadata"]["labels"]["app.kubernetes.io/instance"] == release
    assert only(rendered, "Deployment")["spec"]["selector"]["matchLabels"]["app.kubernetes.io/instance"] == release


def test_the_notes_say_how_to_see_it_work(helm: Helm) -> None:
    notes = helm.run(
        "install", RELEASE, CHART, "--dry-run=client", "--namespace", NAMESPACE, "--values", case("minimal")
    )
    for command in (f"rollout status deployment/{NAME}", f"helm -n {NAMESPACE} test {RELEASE}", "port-forward"):
        assert command in notes
    assert "new password" not in notes
    values = ("--values", case("tls-sasl"))
    notes = helm.run("install", RELEASE, CHART, "--dry-run=client", "--namespace", NAMESPACE, *values)
    assert f"rollout restart deployment/{NAME}" in notes
