"""What a kubelet makes of a pod before its process starts: the environment and the mounted settings."""

from __future__ import annotations

import re
from collections.abc import Mapping

from tests.helm.charts import Object, Objects, container


def environment(item: Object, *, pod: str, secrets: Mapping[tuple[str, str], str]) -> dict[str, str]:
    """The environment of the first container, with the values of Secrets by (name, key)."""
    made: dict[str, str] = {}
    for variable in container(item).get("env", []):
        origin = variable.get("valueFrom", {})
        if "fieldRef" in origin:
            assert origin["fieldRef"]["fieldPath"] == "metadata.name"
            made[variable["name"]] = pod
        elif "secretKeyRef" in origin:
            made[variable["name"]] = secrets[origin["secretKeyRef"]["name"], origin["secretKeyRef"]["key"]]
        else:
            made[variable["name"]] = expanded(variable["value"], made)
    return made


def expanded(text: str, before: Mapping[str, str]) -> str:
    """`$(NAME)` becomes the variable that stands before, if there is one, and `$$` becomes `$`."""

    def replace(match: re.Match[str]) -> str:
        if match[0] == "$$":
            return "$"
        return before.get(match[1], match[0])

    return re.sub(r"\$\$|\$\(([^)]*)\)", replace, text)


def settings_file(rendered: Objects, item: Object) -> str:
    """The text of the worker's file, as the item's pods mount it."""
    volumes = {volume["name"]: volume for volume in item["spec"]["template"]["spec"]["volumes"]}
    name = volumes["settings"]["configMap"]["name"]
    text: str = rendered["ConfigMap", name]["data"]["worker.yaml"]
    return text
