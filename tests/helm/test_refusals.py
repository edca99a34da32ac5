"""Values that are refused, each with words that say what to mend."""

from __future__ import annotations

from typing import Any

import pytest

from tests.helm.charts import CHART, Helm, Refused, case

pytestmark = pytest.mark.helm

SECRET = {"name": "kafka-user", "key": "password"}
REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "an unknown key": ({"replicas": 3}, "replicas"),
    "an unknown key of a part": ({"image.name": "x"}, "name"),
    "an unknown setting": ({"config.window.second": 3}, "second"),
    "an unknown section": ({"config.windows.seconds": 3}, "windows"),
    "a setting of a wrong kind": ({"config.window.seconds": "soon"}, "seconds"),
    "a setting out of its bounds": ({"config.attentive.concurrency": 0}, "concurrency"),
    "a setting out of the bounds of a union": ({"config.kafka.lease_seconds": 0}, "lease_seconds"),
    "a setting that is none of the words": ({"config.log.level": "loud"}, "level"),
    "a port that nobody knows before": ({"config.http.port": 0}, "port"),
    "the token in the clear": ({"config.attentive.token": "secret"}, "token"),
    "none of the words": ({"image.pullPolicy": "Sometimes"}, "pullPolicy"),
    "a digest that is none": ({"image.digest": "latest"}, "digest"),
    "a mount of two things": ({"mounts": [{"path": "/x", "secret": "a", "configMap": "b"}]}, "mounts"),
    "a mount without a place": ({"mounts": [{"secret": "a"}]}, "path"),
    "a secret property without its key": ({"secretProperties.kafka": {"sasl.password": {"name": "x"}}}, "key"),
    "a secret property whose name is a path": ({"secretProperties.kafka": {"../x": {"name": "x", "key": "y"}}}, "x"),
    "a property in a Secret and in the settings": (
        {"config.kafka.properties": {"client.rack": "a"}, "secretProperties.kafka": {"client.rack": SECRET}},
        "client.rack is under secretProperties.kafka as well; keep one",
    ),
    "a registry's property in a Secret and in the settings": (
        {"config.schemas.registry_properties": {"proxy": "a"}, "secretProperties.registry": {"proxy": SECRET}},
        "proxy is under secretProperties.registry as well; keep one",
    ),
    "a property of two files": (
        {"config.kafka.property_files": {"sasl.password": "/x"}, "secretProperties.kafka": {"sasl.password": SECRET}},
        "sasl.password is under secretProperties.kafka as well; keep one",
    ),
    "a registry's property of two files": (
        {"config.schemas.registry_property_files": {"proxy": "/x"}, "secretProperties.registry": {"proxy": SECRET}},
        "proxy is under secretProperties.registry as well; keep one",
    ),
    "a private key": ({"config.kafka.properties": {"x": "-----BEGIN PRIVATE KEY-----"}}, "is a secret"),
    "one instance id for all, from a Secret": (
        {"secretProperties.kafka": {"group.instance.id": SECRET}},
        "secretProperties.kafka: group.instance.id would be",
    ),
    "one instance id for all, from a file": (
        {"config.kafka.property_files": {"group.instance.id": "/x"}},
        "config.kafka.property_files: group.instance.id would be",
    ),
    "a setting among the variables": ({"extraEnv": [{"name": "WORKER_LOG__LEVEL", "value": "debug"}]}, "put it under"),
    "one instance id for all": ({"config.kafka.properties": {"group.instance.id": "one"}}, "staticMembership.enabled"),
    "static members that leave": (
        {"staticMembership.enabled": True, "config.kafka.properties": {"group.protocol": "consumer"}},
        "keep one of the two",
    ),
    "two tokens": ({"config.attentive.token_file": "/x/y"}, "keep one"),
    "no token": ({"token.existingSecret": ""}, "token.existingSecret is required"),
    "a password in a URL": ({"config.kafka.properties": {"x": "http://u:p@host"}}, "is a secret"),
    "a password in the registry's URL": ({"config.schemas.registry_url": "http://u:p@registry"}, "in a ConfigMap"),
    "a password in the API's URL": ({"config.attentive.base_url": "https://u:p@host/v1"}, "in a ConfigMap"),
    "a label that is no text": ({"podLabels.cost-centre": 42}, "cost-centre"),
    "an annotation that is no text": ({"hookPodAnnotations.inject": False}, "inject"),
    "a variable that is no text": ({"extraEnv": [{"name": "X", "value": 1}]}, "value"),
    "a name that no Service may have": ({"fullnameOverride": "My_App"}, "My_App.*set fullnameOverride"),
    "a name that ends in a dash": ({"fullnameOverride": "app-"}, "set fullnameOverride"),
    "a drain that is removed": (
        {"config.shutdown.drain_seconds": None},
        "drain_seconds is required|property .drain_seconds",
    ),
    "a budget that is removed": ({"config.window": None}, "window is required|property .window"),
    "a part that is removed": ({"rollout": None}, "rollout is required|property .rollout"),
    "a limit below the request that follows from the budget": (
        {"resources.limits.memory": "500Mi"},
        "resources.limits.memory: 500Mi is below resources.requests.memory, 512Mi",
    ),
    "a limit of another resource below its request": (
        {"resources.limits.cpu": 0.2},
        "resources.limits.cpu: 0.2 is below resources.requests.cpu, 250m",
    ),
    "a limit below what the budget needs": (
        {"resources.requests.memory": "64Mi", "resources.limits.memory": "478M"},
        "the worker needs 456Mi, .*killed at 478M",
    ),
    "a budget above the limit": (
        {
            "config.window.max_bytes": 1073741824,
            "resources.requests.memory": "1Gi",
            "resources.limits.memory": "1250000000",
        },
        "the worker needs 1224Mi",
    ),
    "an amount that is none": ({"resources.limits.memory": "512MB"}, '"512MB" is no amount'),
    "a request that is no amount": ({"resources.requests.cpu": "a core"}, 'requests.cpu: "a core" is no amount'),
    "two mounts at one path": (
        {"mounts": [{"path": "/a", "secret": "s"}, {"path": "/a/", "configMap": "c"}]},
        "mounts: /a is taken by mounts",
    ),
    "a mount over the settings": (
        {"mounts": [{"path": "/etc/attribute-worker", "secret": "s"}]},
        "mounts: /etc/attribute-worker is taken by the worker's settings",
    ),
    "a mount over the token": (
        {"extraVolumeMounts": [{"name": "x", "mountPath": "/run/secrets/attentive"}]},
        "extraVolumeMounts: /run/secrets/attentive is taken by the token",
    ),
    "a mount over the properties": (
        {
            "secretProperties.kafka": {"sasl.password": SECRET},
            "mounts": [{"path": "/run/secrets/properties", "secret": "s"}],
        },
        "is taken by secretProperties",
    ),
    "two kinds of mounts at one path": (
        {"mounts": [{"path": "/a", "secret": "s"}], "extraVolumeMounts": [{"name": "x", "mountPath": "/a"}]},
        "extraVolumeMounts: /a is taken by mounts",
    ),
    "a token's key that is empty": ({"token.key": ""}, "key"),
    "a token's key that is a path": ({"token.key": "../token"}, "key"),
    **{
        f"{where}, with a label of the chart": (
            {where: {"app.kubernetes.io/name": "x"}},
            f"{where}: .*is set by the chart",
        )
        for where in (
            "commonLabels",
            "podLabels",
            "hookPodLabels",
            "service.labels",
            "podMonitor.labels",
            "prometheusRule.labels",
            "dashboards.labels",
        )
    },
    "a label for the pods that is for all objects": (
        {"commonLabels": {"team": "crm"}, "podLabels": {"team": "x"}},
        "podLabels: team is set by commonLabels",
    ),
    "an annotation of the chart": (
        {"podAnnotations": {"checksum/config": "x"}},
        "podAnnotations: .*is set by the chart",
    ),
    "a hook's annotation": (
        {"hookPodAnnotations": {"helm.sh/hook": "test"}},
        "hookPodAnnotations: .*is set by the chart",
    ),
    "bounds the wrong way round": ({"autoscaling.enabled": True, "autoscaling.minReplicas": 9}, "maxReplicas"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refused(each_helm: Helm, name: str) -> None:
    values, words = REFUSED[name]
    with pytest.raises(Refused, match=words):
        each_helm.render(values)


def test_brokers_are_required(each_helm: Helm) -> None:
    with pytest.raises(Refused, match=r"config\.kafka\.bootstrap_servers is required"):
        each_helm.run("template", CHART, "--set", "token.existingSecret=attentive")


@pytest.mark.parametrize("release", ["2024-crm", "crm.prod"])
def test_a_release_after_which_no_service_can_be_named(each_helm: Helm, release: str) -> None:
    with pytest.raises(Refused, match="set fullnameOverride"):
        each_helm.run("template", release, CHART, "--values", case("minimal"))


def test_values_of_a_parent_chart_are_taken(each_helm: Helm) -> None:
    assert each_helm.render({"global.anything": {"at": "all"}})


def test_an_old_kubernetes_is_refused(each_helm: Helm) -> None:
    with pytest.raises(Refused, match=r"1\.28"):
        each_helm.run("template", CHART, "--values", case("minimal"), "--kube-version", "1.28.0")
