"""compose.yaml: its parts fit each other, the worker accepts its settings, and the traffic reaches the destination."""

from __future__ import annotations

import functools
import re
import sys
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import click
import pytest
import yaml

from tests.support.brokers import LocalBroker
from tests.support.java import Process
from tests.support.processes import SandboxCommand, WorkerCommand, until
from tests.support.registry import Registry
from worker.commands.demo.traffic import TIER, TIERS
from worker.commands.sandbox import sandbox as sandbox_command
from worker.settings.load import load
from worker.settings.model import Settings

ROOT = Path(__file__).parents[2]
SERVICES: dict[str, dict[str, Any]] = yaml.safe_load((ROOT / "compose.yaml").read_text(encoding="utf-8"))["services"]
WORKER: dict[str, str] = SERVICES["worker"]["environment"]
TRAFFIC: dict[str, str] = SERVICES["traffic"]["environment"]
# Where the container has the folder `compose`, this machine has it here.
SANDBOX: list[str] = [argument.replace("/compose/", f"{ROOT}/compose/") for argument in SERVICES["sandbox"]["command"]]
CHART = "./helm/"


@functools.cache
def settings() -> Settings:
    return load(None, {}, WORKER).settings


def sandbox_options() -> dict[str, Any]:
    with click.Context(sandbox_command):
        return sandbox_command.make_context("sandbox", SANDBOX[1:]).params


def test_the_worker_accepts_its_settings() -> None:
    assert settings().attentive.allow_plain_http


def test_the_sandbox_takes_its_command_and_the_worker_has_its_token() -> None:
    assert SANDBOX[0] == "sandbox"
    options = sandbox_options()
    token = settings().attentive.token
    assert token is not None
    assert options["tokens"] == (token.get_secret_value(),)
    assert options["enumerations_file"].exists()
    assert urlsplit(settings().attentive.base_url).netloc == f"sandbox:{options['port']}"


def test_traffic_and_worker_meet_at_the_same_servers() -> None:
    assert TRAFFIC["BOOTSTRAP_SERVERS"] == settings().kafka.bootstrap_servers
    assert TRAFFIC["REGISTRY_URL"] == settings().schemas.registry_url
    advertised = SERVICES["kafka"]["environment"]["KAFKA_ADVERTISED_LISTENERS"]
    assert advertised == f"PLAINTEXT://{settings().kafka.bootstrap_servers}"


def test_every_host_that_a_setting_names_is_a_service() -> None:
    for service in SERVICES.values():
        for value in service.get("environment", {}).values():
            for host in re.findall(r"(?:^|//|@)([a-z]+):\d+", value):
                assert host in {*SERVICES, "localhost"}, value


def test_prometheus_scrapes_the_worker_and_grafana_asks_prometheus() -> None:
    [job] = yaml.safe_load((ROOT / "compose/prometheus.yaml").read_text(encoding="utf-8"))["scrape_configs"]
    [found] = job["dns_sd_configs"]
    assert (found["names"], found["port"]) == (["worker"], settings().http.port)
    sources = yaml.safe_load((ROOT / "compose/grafana/datasources/prometheus.yaml").read_text(encoding="utf-8"))
    assert sources["datasources"][0]["url"] == "http://prometheus:9090"


def test_the_ports_are_open_to_this_machine_alone_and_every_mounted_file_is_there() -> None:
    for service in SERVICES.values():
        assert all(port.startswith("127.0.0.1:") for port in service.get("ports", []))
        for volume in service.get("volumes", []):
            source, _, mode = volume.split(":")
            assert mode == "ro"
            assert source.startswith(CHART) or (ROOT / source).exists(), source


def test_an_image_is_named_with_its_version() -> None:
    for name, service in SERVICES.items():
        assert ("build" in service) != bool(
            re.fullmatch(r"[a-z.]+/[a-z/-]+:v?\d+\.\d+\.\d+\S*", service.get("image", ""))
        ), name


def test_the_worker_has_time_to_drain_and_runs_as_strictly_as_in_a_cluster() -> None:
    service = SERVICES["worker"]
    assert int(service["stop_grace_period"].removesuffix("s")) >= settings().shutdown.drain_seconds + 30
    assert (service["read_only"], service["cap_drop"]) == (True, ["ALL"])


@pytest.mark.kafka
@pytest.mark.registry
@pytest.mark.slow
def test_the_traffic_reaches_the_sandbox(
    own_broker: LocalBroker, registry: Registry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All but the containers: the same traffic, settings and sandbox, at other addresses."""
    own_broker.start()
    addresses = {"BOOTSTRAP_SERVERS": own_broker.bootstrap_servers, "REGISTRY_URL": registry.url}
    for name, value in {**TRAFFIC, **addresses}.items():
        monkeypatch.setenv(name, value)
    sandbox = SandboxCommand(tmp_path / "sandbox", "--enumerations", str(sandbox_options()["enumerations_file"]))
    sandbox.tokens(*sandbox_options()["tokens"])
    traffic = Process([sys.executable, str(ROOT / "compose/traffic.py")], tmp_path / "traffic.log")
    elsewhere = {
        "WORKER_KAFKA__BOOTSTRAP_SERVERS": own_broker.bootstrap_servers,
        "WORKER_SCHEMAS__REGISTRY_URL": registry.url,
        "WORKER_ATTENTIVE__BASE_URL": sandbox.base_url,
    }
    worker = WorkerCommand(tmp_path / "worker", {**WORKER, **elsewhere})
    try:
        until(lambda: len(sandbox.users()) > 300, 60, "most users arrived", pause=0.5)
        tiers = {user["attributes"].get(TIER) for user in sandbox.users()}
        assert tiers <= {*TIERS, None}
        assert worker.status()["halt"] is None
        assert set(worker.status()["totals"]["dead_letters"]) >= {"invalid_identity", "sensitive_data"}
        assert worker.stop() == 0
    finally:
        traffic.stop()
        sandbox.kill()
        worker.kill()
    assert "Traceback" not in traffic.tail()
