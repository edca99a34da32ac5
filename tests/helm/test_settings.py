"""The chart's `config` and the worker's settings are one vocabulary: the worker's own code loads what is rendered."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any, get_args

import certifi
import pytest
import yaml

from tests.helm.charts import CASES, CHART, Helm, Object, Objects, Refused, case, case_id, only
from tests.helm.kubelet import environment, projected_files, settings_file
from worker.kafka.properties import DEFAULTS_MS
from worker.masking import is_secret
from worker.settings.load import Loaded, load
from worker.settings.names import NAMES
from worker.settings.table import shown

pytestmark = pytest.mark.helm

SECRETS = {("kafka-user", "password"): 'p$(POD_NAME)$$w"\\', ("registry-user", "user-info"): "name:word\n"}
POD = "r-attribute-worker-1"
MOUNTED_CA = "/run/secrets/kafka-ca/ca.crt"
"""A file that the pod would mount. The settings look whether it can be read, so another one stands for it here."""
MOUNTED = {
    "/run/secrets/kafka/client.properties": "sasl.mechanism = PLAIN\nsasl.username = me\nsasl.password = p\\u00e4ss\n"
}
"""What the Secret of a client's properties holds."""


def loaded(rendered: Objects, kind: str, tmp_path: Path) -> Loaded:
    """The settings that the worker's code makes of the rendered file and environment, in a pod's place."""
    item = only(rendered, kind)
    variables = environment(item)
    assert variables.pop("WORKER_CONFIG") == "/etc/attribute-worker/worker.yaml"
    return load(with_local_paths(rendered, item, tmp_path), {}, variables)


def with_local_paths(rendered: Objects, item: Object, tmp_path: Path) -> Path:
    """The worker's file, with what the pod would mount here: the settings look whether it is there."""
    text = settings_file(rendered, item).replace(MOUNTED_CA, certifi.where())
    text = text.replace(" /run/", f" {tmp_path}/run/").replace(" /etc/", f" {tmp_path}/etc/")
    for path, content in (projected_files(item, pod=POD, secrets=SECRETS) | MOUNTED).items():
        local = tmp_path / path.lstrip("/")
        local.parent.mkdir(parents=True, exist_ok=True)
        local.write_text(content)
    for folder in ("run/secrets/attentive", "run/token", "etc/schemas"):
        (tmp_path / folder).mkdir(parents=True, exist_ok=True)
    written = tmp_path / "worker.yaml"
    written.write_text(text)
    return written


@pytest.mark.parametrize("values", CASES, ids=case_id)
def test_the_settings_code_accepts_what_the_chart_renders(helm: Helm, tmp_path: Path, values: Path) -> None:
    rendered = helm.render(values)
    kind = "StatefulSet" if "static" in values.name else "Deployment"
    settings = loaded(rendered, kind, tmp_path).settings
    for section, given in yaml.safe_load(values.read_text())["config"].items():
        for key, value in given.items():
            is_path = Path in get_args(NAMES[f"{section}.{key}"].info.annotation)
            if not NAMES[f"{section}.{key}"].properties and not is_path:
                now = shown(NAMES[f"{section}.{key}"], getattr(getattr(settings, section), key))
                assert now == ([value] if isinstance(now, list) and isinstance(value, str) else value)


def test_every_setting_can_be_given_and_arrives(helm: Helm, tmp_path: Path) -> None:
    """All settings at once, with their defaults written out: a new setting is in here by itself."""
    defaults = {
        path: json.loads(json.dumps(shown(name, name.info.get_default(call_default_factory=True))))
        for path, name in NAMES.items()
        if not name.secret and not name.info.is_required()
    }
    given = {path: value for path, value in defaults.items() if value is not None}
    rendered = helm.render({f"config.{path}": value for path, value in given.items()})
    made = loaded(rendered, "Deployment", tmp_path)
    required = {"kafka.bootstrap_servers", "schemas.registry_url", "attentive.token_file"}
    assert {path for path, source in made.sources.items() if source != "default"} == given.keys() | required
    for path, value in given.items():
        name = NAMES[path]
        assert shown(name, getattr(getattr(made.settings, name.section), name.field)) == value


def test_the_command_config_accepts_the_rendered_file_and_environment(helm: Helm, tmp_path: Path) -> None:
    rendered = helm.render(case("static-membership"))
    item = only(rendered, "StatefulSet")
    file = with_local_paths(rendered, item, tmp_path)
    variables = environment(item) | {"WORKER_CONFIG": str(file)}
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("WORKER_")}
    done = subprocess.run(
        [sys.executable, "-m", "worker", "config", "--json"],
        env=inherited | variables,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    report: dict[str, Any] = json.loads(done.stdout)
    properties = {"client.rack": "$zone", "group.instance.id": POD, "session.timeout.ms": "60000"}
    assert report["kafka.properties"]["value"] == properties
    assert report["kafka.properties"]["sources"]["group.instance.id"].endswith("/properties/kafka/group.instance.id")
    assert report["kafka.topics"]["source"].startswith(str(file))


def test_secret_properties_join_the_others_from_files_whatever_is_in_them(helm: Helm, tmp_path: Path) -> None:
    made = loaded(helm.render(case("tls-sasl")), "Deployment", tmp_path)
    settings = made.settings
    assert settings.kafka.properties == {
        "security.protocol": "sasl_ssl",
        "sasl.mechanism": "SCRAM-SHA-512",
        "sasl.username": "attribute-worker",
        "sasl.password": 'p$(POD_NAME)$$w"\\',
        "ssl.ca.location": certifi.where(),
    }
    assert settings.schemas.registry_properties["basic.auth.user.info"] == "name:word"
    source = made.property_sources["kafka.properties"]["sasl.password"]
    assert source == f"{tmp_path}/run/secrets/properties/kafka/sasl.password"


def test_files_of_properties_that_the_user_mounts_join_the_chart_s(helm: Helm, tmp_path: Path) -> None:
    static = {"staticMembership.enabled": True, "config.kafka.property_files": {"client.rack": "/run/zone/name"}}
    text = settings_file(rendered := helm.render(static), only(rendered, "StatefulSet"))
    assert yaml.safe_load(text)["kafka"]["property_files"] == {
        "client.rack": "/run/zone/name",
        "group.instance.id": "/run/secrets/properties/kafka/group.instance.id",
    }
    settings = loaded(helm.render(case("properties-file")), "Deployment", tmp_path).settings
    assert settings.kafka.properties == {"sasl.mechanism": "PLAIN", "sasl.username": "me", "sasl.password": "päss"}


def test_large_numbers_among_properties_stay_whole(helm: Helm, tmp_path: Path) -> None:
    """Helm reads numbers as floats, and 1.8e+06 is no number of milliseconds."""
    given = {"max.poll.interval.ms": 1_800_000, "socket.keepalive.enable": True}
    wanted = {"max.poll.interval.ms": "1800000", "socket.keepalive.enable": "true"}
    settings = loaded(helm.render({"config.kafka.properties": given}), "Deployment", tmp_path).settings
    assert settings.kafka.properties == wanted


def test_defaults_that_the_chart_repeats_are_the_settings_own(helm: Helm) -> None:
    for section, values in yaml.safe_load((CHART / "values.yaml").read_text())["config"].items():
        for key, value in values.items():
            assert NAMES[f"{section}.{key}"].info.default == value
    trigger = only(helm.render({"autoscaling.enabled": True}), "ScaledObject")["spec"]["triggers"][0]
    assert trigger["metadata"]["consumerGroup"] == NAMES["kafka.group_id"].info.default


PROPERTIES = (
    "sasl.password",
    "sasl.username",
    "ssl.key.password",
    "ssl.key.pem",
    "ssl.key.location",
    "ssl.keystore.password",
    "ssl.keystore.location",
    "ssl.ca.pem",
    "sasl.jaas.config",
    "sasl.oauthbearer.config",
    "sasl.oauthbearer.client.id",
    "sasl.oauthbearer.client.secret",
    "sasl.oauthbearer.token.endpoint.url",
    "sasl.oauthbearer.client.credentials.client.secret",
    "sasl.oauthbearer.assertion.private.key.passphrase",
    "basic.auth.user.info",
    "basic.auth.credentials.source",
    "bearer.auth.token",
    "sasl.kerberos.keytab",
    "sasl.kerberos.kinit.cmd",
    "bearer.auth.credentials.source",
    "sasl.passwd",
    "a.pwd",
    "api_key",
    "user-info",
    "secret.name",
    *DEFAULTS_MS,
)


@pytest.mark.parametrize("where", ["kafka.properties", "schemas.registry_properties"])
def test_the_chart_refuses_what_the_worker_masks(helm: Helm, where: str) -> None:
    """In one rendering each: those that are no secrets pass together, each secret is refused alone."""
    plain = {name: "x" for name in PROPERTIES if not is_secret(name)}
    assert helm.render({f"config.{where}": plain})
    for name in PROPERTIES:
        if is_secret(name):
            with pytest.raises(Refused, match=f"{where}: {name} is a secret"):
                helm.render({f"config.{where}": {name: "x"}})
