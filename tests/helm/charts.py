"""The chart, rendered by a Helm, as objects."""

from __future__ import annotations

import functools
import json
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

CHART = Path(__file__).parents[2] / "helm" / "attribute-worker"
CASES = sorted((CHART / "ci").glob("*-values.yaml"))
RELEASE = "r"
NAMESPACE = "crm"

NAME = f"{RELEASE}-attribute-worker"
"""The full name of the release."""
SELECTOR = {
    "app.kubernetes.io/name": "attribute-worker",
    "app.kubernetes.io/instance": RELEASE,
    "app.kubernetes.io/component": "worker",
}

Object = dict[str, Any]
Objects = dict[tuple[str, str], Object]
"""By kind and name."""


class Refused(Exception):
    """Helm refused; the message is its stderr."""


@dataclass(frozen=True, slots=True)
class Helm:
    """One version of Helm."""

    version: str
    binary: Path

    def run(self, *arguments: str | Path, environment: Mapping[str, str] | None = None) -> str:
        """Its stdout.

        Raises:
            Refused: it ended with another status than 0.
        """
        command = [self.binary, *arguments]
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120, env=environment)
        if done.returncode != 0:
            raise Refused(done.stderr + done.stdout)
        return done.stdout

    def text(self, values: Path | Mapping[str, Any], *, chart: Path = CHART) -> str:
        """The rendered manifests. `values` is a file, or a mapping on top of the least that the chart needs."""
        return _template(self, chart, tuple(values_arguments(values)))

    def render(self, values: Path | Mapping[str, Any], *, chart: Path = CHART) -> Objects:
        """The rendered objects."""
        return objects(self.text(values, chart=chart))


@functools.cache  # many tests look at the same objects
def _template(helm: Helm, chart: Path, values: tuple[str, ...]) -> str:
    return helm.run("template", RELEASE, chart, "--namespace", NAMESPACE, *values)


def values_arguments(values: Path | Mapping[str, Any]) -> Sequence[str]:
    """Helm's options for a file of values, or for a mapping on top of the least that the chart needs."""
    if isinstance(values, Path):
        return ["--values", str(values)]
    single = [option for key, value in values.items() for option in ("--set-json", f"{key}={json.dumps(value)}")]
    return ["--values", str(CHART / "ci" / "minimal-values.yaml"), *single]


def objects(manifests: str) -> Objects:
    """The objects of a stream of YAML documents.

    Raises:
        AssertionError: two have the same kind and name.
    """
    found: Objects = {}
    for document in yaml.load_all(manifests, Loader=yaml.CSafeLoader):
        if document is not None:
            key = (document["kind"], document["metadata"]["name"])
            assert key not in found, f"{key} is there twice"
            found[key] = document
    return found


def only(rendered: Objects, kind: str) -> Object:
    """The object of a kind of which there is one."""
    (found,) = [item for (its_kind, _), item in rendered.items() if its_kind == kind]
    return found


def pod_of(item: Object) -> Object:
    """The pod's spec in a pod, or in an object with a pod template."""
    pod: Object = item["spec"] if item["kind"] == "Pod" else item["spec"]["template"]["spec"]
    return pod


def job_of(item: Object) -> Object:
    """The Job in an object: itself, or what a CronJob makes."""
    return {"kind": "Job", **item["spec"]["jobTemplate"]} if item["kind"] == "CronJob" else item


def container(item: Object) -> Object:
    """The first container of a pod, or of an object with a pod template."""
    first: Object = pod_of(item)["containers"][0]
    return first


def case(name: str) -> Path:
    """One of the chart's files of values."""
    return CHART / "ci" / f"{name}-values.yaml"


def case_id(path: Path) -> str:
    """Its name, for the names of tests."""
    return path.name.removesuffix("-values.yaml")


def planted(tmp_path: Path, file: str, text: str, replacement: str) -> Path:
    """A copy of the chart with a mistake in it."""
    chart = tmp_path / "attribute-worker"
    shutil.copytree(CHART, chart)
    path = chart / file
    content = path.read_text()
    assert text in content
    path.write_text(content.replace(text, replacement))
    return chart
