"""The objects around the worker: network, scrapes, alerts, dashboards and scalers."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
import yaml

from tests.helm.charts import CHART, NAME, SELECTOR, Helm, Refused, case, only, planted

pytestmark = pytest.mark.helm


def test_the_network_policy(helm: Helm) -> None:
    spec = helm.render(case("network-policy"))["NetworkPolicy", NAME]["spec"]
    own = {name: value for name, value in SELECTOR.items() if not name.endswith("component")}
    assert spec["podSelector"] == {"matchLabels": own}
    assert spec["policyTypes"] == ["Ingress", "Egress"]
    monitoring = {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "monitoring"}}}
    kafka = {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "kafka"}}}
    release = {"podSelector": {"matchLabels": own}}
    assert spec["ingress"] == [{"ports": [{"port": "http"}], "from": [monitoring, release]}]
    assert spec["egress"] == [
        {"ports": [{"port": "http"}], "to": [release]},
        {"ports": [{"port": 53}, {"port": 53, "protocol": "UDP"}]},
        {"ports": [{"port": 9094}, {"port": 9095}, {"port": 9092}], "to": [kafka]},
        {"ports": [{"port": 443}, {"port": 8081}]},
        {"ports": [{"port": 443}], "to": [{"ipBlock": {"cidr": "0.0.0.0/0", "except": ["10.0.0.0/8"]}}]},
        {"ports": [{"port": 4318}]},
        {"to": [{"podSelector": {"matchLabels": {"app": "proxy"}}}]},
    ]


def test_ports_that_were_given_replace_those_of_the_urls(helm: Helm) -> None:
    values = {
        "networkPolicy.enabled": True,
        "networkPolicy.egress.brokers.ports": [9096, 9097],
        "config.attentive.base_url": "http://[::1]:8090/v1",
    }
    egress = helm.render(values)["NetworkPolicy", NAME]["spec"]["egress"]
    assert [[port["port"] for port in rule["ports"]] for rule in egress[2:]] == [[9096, 9097], [8081], [8090]]


@pytest.mark.parametrize("static", [False, True], ids=["deployment", "statefulset"])
@pytest.mark.parametrize("kind", ["keda", "hpa"])
def test_a_scaler_owns_the_number_of_replicas(helm: Helm, kind: str, static: bool) -> None:  # noqa: FBT001 - a parameter of the test
    values = {"autoscaling.enabled": True, "autoscaling.kind": kind, "staticMembership.enabled": static}
    rendered = helm.render(values)
    workload = "StatefulSet" if static else "Deployment"
    assert "replicas" not in only(rendered, workload)["spec"]
    spec = only(rendered, {"keda": "ScaledObject", "hpa": "HorizontalPodAutoscaler"}[kind])["spec"]
    assert spec["scaleTargetRef"] == {"apiVersion": "apps/v1", "kind": workload, "name": NAME}
    bounds = ("minReplicaCount", "maxReplicaCount") if kind == "keda" else ("minReplicas", "maxReplicas")
    assert [spec[bound] for bound in bounds] == [2, 4]


def test_keda_looks_at_the_lag_of_the_workers_group(helm: Helm) -> None:
    (trigger,) = only(helm.render(case("keda")), "ScaledObject")["spec"]["triggers"]
    assert trigger == {
        "type": "kafka",
        "metadata": {
            "bootstrapServers": "kafka:9093",
            "consumerGroup": "crm-worker",
            "lagThreshold": "10000",
            "tls": "enable",
            "sasl": "scram_sha512",
        },
        "authenticationRef": {"name": "kafka-credentials"},
    }


def test_a_number_for_keda_is_written_out(each_helm: Helm) -> None:
    """KEDA reads no exponents, and Helm writes large numbers with one."""
    metadata = {"activationLagThreshold": 1_000_000, "excludePersistentLag": True}
    values = {"autoscaling.enabled": True, "autoscaling.keda": {"metadata": metadata, "lagThreshold": 2_000_000}}
    (trigger,) = only(each_helm.render(values), "ScaledObject")["spec"]["triggers"]
    written = {"activationLagThreshold": "1000000", "excludePersistentLag": "true", "lagThreshold": "2000000"}
    assert trigger["metadata"].items() >= written.items()


def test_the_pod_monitor(helm: Helm) -> None:
    item = only(helm.render(case("monitoring")), "PodMonitor")
    assert item["metadata"]["labels"]["release"] == "prometheus"
    (endpoint,) = item["spec"]["podMetricsEndpoints"]
    assert (endpoint["port"], endpoint["path"]) == ("http", "/metrics")
    assert endpoint["metricRelabelings"] == [
        {"sourceLabels": ["__name__"], "regex": "python_gc_.*", "action": "drop"},
    ]


def test_the_rule_has_the_files_alerts(helm: Helm) -> None:
    groups = [
        group
        for path in sorted((CHART / "rules").glob("*.yaml"))
        for group in yaml.safe_load(path.read_text())["groups"]
    ]
    of_this_release = json.loads(json.dumps(groups).replace(".*attribute-worker.*", f"{NAME}-.*"))
    assert only(helm.render({"prometheusRule.enabled": True}), "PrometheusRule")["spec"]["groups"] == of_this_release
    changed = only(helm.render(case("monitoring")), "PrometheusRule")["spec"]["groups"]
    alerts = [rule for group in changed for rule in group["rules"]]
    assert "AttributeWorkerHalted" in {rule["alert"] for rule in alerts}
    assert "AttributeWorkerDeadLetters" not in {rule["alert"] for rule in alerts}
    assert {rule["labels"]["team"] for rule in alerts} == {"crm"}
    page = "https://wiki.example.com/attribute-worker/{}.md"
    assert all(rule["annotations"]["runbook_url"] == page.format(rule["alert"]) for rule in alerts)
    assert all(rule["annotations"].keys() == {"summary", "description", "runbook_url"} for rule in alerts)


def test_the_rule_can_be_for_one_release_alone(helm: Helm) -> None:
    """Every metric of the worker's gets the matchers, with and without some of its own; and nothing else changes."""
    matchers = 'namespace="crm", job=~"crm/.*"'
    plain = only(helm.render({"prometheusRule.enabled": True}), "PrometheusRule")["spec"]["groups"][0]["rules"]
    chosen = only(helm.render({"prometheusRule.enabled": True, "prometheusRule.matchers": matchers}), "PrometheusRule")[
        "spec"
    ]["groups"][0]["rules"]
    for before, after in zip(plain, chosen, strict=True):
        names = re.findall(r"attribute_worker_[a-z_]+", after["expr"])
        assert after["expr"].count("{" + matchers) == len(names), after["expr"]
        undone = after["expr"].replace(f"{{{matchers}, ", "{").replace(f"{{{matchers}}}", "")
        assert undone == before["expr"]


def test_an_alert_that_is_left_out_must_exist(helm: Helm) -> None:
    with pytest.raises(Refused, match="there is no alert Nope; there are AttributeWorkerHalted"):
        helm.render({"prometheusRule.enabled": True, "prometheusRule.disabled": ["Nope"]})


def test_a_crash_loop_is_seen_whatever_the_pods_are_called(helm: Helm) -> None:
    """A pod that ends before it is scraped is known by its name alone."""
    rendered = helm.render({"prometheusRule.enabled": True, "fullnameOverride": "crm"})
    (rule,) = [
        rule
        for rule in only(rendered, "PrometheusRule")["spec"]["groups"][0]["rules"]
        if rule["alert"] == "AttributeWorkerCrashLoop"
    ]
    assert 'pod=~"crm-.*"' in rule["expr"]


def test_dashboards_are_taken_from_files(helm: Helm, tmp_path: Path) -> None:
    chart = planted(tmp_path, "Chart.yaml", "type: application", "type: application")
    (chart / "dashboards").mkdir(exist_ok=True)
    (chart / "dashboards" / "worker.json").write_text('{"title": "{{ worker }}"}')
    item = helm.render(case("monitoring"), chart=chart)["ConfigMap", f"{NAME}-dashboards"]
    assert item["data"]["worker.json"] == '{"title": "{{ worker }}"}'
    assert item["metadata"]["labels"]["grafana_dashboard"] == "1"
    assert item["metadata"]["annotations"] == {"grafana_folder": "Kafka"}
