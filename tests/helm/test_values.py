"""Every value of the chart shows in what it makes: a template that forgot one would leave it without a word."""

from __future__ import annotations

from typing import Any

import pytest

from helm.generate import CHART, SETTINGS_KEY, Value, values_of
from tests.helm.charts import Helm

pytestmark = pytest.mark.helm

ALL_ON = {f"{part}.enabled": True for part in ("networkPolicy", "podMonitor", "prometheusRule", "dashboards")}
SCALED = {**ALL_ON, "autoscaling.enabled": True}
SINGLE = [
    value
    for value in values_of((CHART / "values.yaml").read_text())
    if value.path[0] != SETTINGS_KEY and not isinstance(value.default, dict | list)
]


def another(value: Value) -> Any:  # noqa: ANN401 - a value of any kind
    """One that the schema takes, and that is not the default."""
    if "enum" in value.added:
        return next(word for word in value.added["enum"] if word != value.default)
    if isinstance(value.default, bool):
        return not value.default
    if isinstance(value.default, int) or "integer" in value.added.get("type", ()):
        return int(str(value.default or 0)) + 1
    by_form: dict[tuple[str, ...], str] = {
        ("image", "digest"): f"sha256:{'0' * 64}",
        ("prometheusRule", "matchers"): 'namespace="crm"',
        ("resources", "requests", "cpu"): "300m",
        ("resources", "requests", "memory"): "300Mi",
        ("resources", "limits", "cpu"): "2",
        ("resources", "limits", "memory"): "2Gi",
    }
    return by_form.get(value.path, f"{value.default or 'other'}1")


@pytest.mark.parametrize("value", SINGLE, ids=lambda value: ".".join(value.path))
def test_a_value_shows(helm: Helm, value: Value) -> None:
    change = {".".join(value.path): another(value)}
    assert any(helm.text({**given, **change}) != helm.text(given) for given in ({}, ALL_ON, SCALED))


@pytest.mark.parametrize("kind", ["keda", "hpa"])
def test_the_behaviour_of_a_scaler_shows(helm: Helm, kind: str) -> None:
    given = {**SCALED, "autoscaling.kind": kind}
    change = {"autoscaling.behavior": {"scaleDown": {"selectPolicy": "Disabled"}}}
    assert helm.text({**given, **change}) != helm.text(given)


def test_the_metrics_of_a_scaler_show(helm: Helm) -> None:
    given = {**SCALED, "autoscaling.kind": "hpa"}
    assert helm.text({**given, "autoscaling.hpa.metrics": []}) != helm.text(given)
