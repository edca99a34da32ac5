"""Objects against the strict schemas of Kubernetes' versions, and of the custom resources that the chart makes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import jsonschema
import kubernetes_validate
import yaml

from tests.helm.charts import Object

KUBERNETES = ("1.29", "1.31", "1.34", "1.37")
DEFINITIONS = sorted((Path(__file__).parent / "crds").glob("*.yaml"))


class Invalid(Exception):
    """An object does not fit its schema."""


def validate(item: Object, version: str) -> None:
    """Checks an object against the schema of its kind in a version of Kubernetes.

    Raises:
        Invalid: it has an unknown field, or one of a wrong type.
    """
    try:
        if (custom := CUSTOM.get((item["apiVersion"], item["kind"]))) is not None:
            jsonschema.validate(item, custom)
        else:
            kubernetes_validate.validate(item, version, strict=True)
    except (kubernetes_validate.ValidationError, jsonschema.ValidationError) as error:
        raise Invalid(f"{item['kind']}: {error.message}") from None


def _custom_schemas() -> dict[tuple[str, str], dict[str, Any]]:
    found = {}
    for path in DEFINITIONS:
        spec = yaml.safe_load(path.read_text())["spec"]
        for version in spec["versions"]:
            schema = version["schema"]["openAPIV3Schema"]
            named: dict[str, Any] = {name: {} for name in ("apiVersion", "kind", "metadata")}
            schema["properties"] = named | schema["properties"]
            found[f"{spec['group']}/{version['name']}", spec["names"]["kind"]] = _strict(schema)
    return found


def _strict(schema: Any) -> Any:  # noqa: ANN401 - JSON of any kind
    """The schema, with every listed set of properties closed."""
    if isinstance(schema, list):
        return [_strict(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    closed = {"additionalProperties": False} if "properties" in schema else {}
    return closed | {key: _strict(each) for key, each in schema.items()}


CUSTOM = _custom_schemas()
