"""What a kubelet makes of a pod before its process starts: the environment, the mounted settings and other files."""

from __future__ import annotations

from collections.abc import Mapping

from tests.helm.charts import Object, Objects, container, pod_of

Secrets = Mapping[tuple[str, str], str]
"""The values of Secrets, by name and key."""


def environment(item: Object) -> dict[str, str]:
    """The environment of the first container."""
    return {variable["name"]: variable["value"] for variable in container(item).get("env", [])}


def projected_files(item: Object, *, pod: str, secrets: Secrets) -> dict[str, str]:
    """The content of the files that projected volumes bring, by their paths in the first container."""
    files: dict[str, str] = {}
    folders = {mount["name"]: mount["mountPath"] for mount in container(item)["volumeMounts"]}
    for volume in pod_of(item)["volumes"]:
        for source in volume.get("projected", {}).get("sources", []):
            for part in source.get("secret", {}).get("items", []):
                files[f"{folders[volume['name']]}/{part['path']}"] = secrets[source["secret"]["name"], part["key"]]
            for part in source.get("downwardAPI", {}).get("items", []):
                assert part["fieldRef"] == {"fieldPath": "metadata.name"}
                files[f"{folders[volume['name']]}/{part['path']}"] = pod
    return files


def settings_file(rendered: Objects, item: Object) -> str:
    """The text of the worker's file, as the item's pods mount it."""
    volumes = {volume["name"]: volume for volume in item["spec"]["template"]["spec"]["volumes"]}
    name = volumes["settings"]["configMap"]["name"]
    text: str = rendered["ConfigMap", name]["data"]["worker.yaml"]
    return text
