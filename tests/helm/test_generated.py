"""The generated parts of the chart are fresh and complete, and its numbers are the project's. Needs no Helm."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from jsonschema import Draft7Validator

import worker
from helm.generate import CHART, generated, values_of
from worker.settings.names import NAMES

SCHEMA: dict[str, Any] = json.loads((CHART / "values.schema.json").read_text())


def test_generated_files_are_fresh() -> None:
    for path, text in generated(CHART).items():
        assert path.read_text(encoding="utf-8") == text, f"{path.name} is old: run scripts/generate-chart"


def test_a_new_value_makes_them_old(tmp_path: Path) -> None:
    chart = tmp_path / "chart"
    shutil.copytree(CHART, chart)
    with (chart / "values.yaml").open("a") as values:
        values.write("# -- A new one.\nnewOne: 1\n")
    assert {path.name for path, text in generated(chart).items() if path.read_text() != text} == {
        "values.schema.json",
        "README.md",
    }


def test_a_readme_without_the_markers_is_refused(tmp_path: Path) -> None:
    shutil.copytree(CHART, tmp_path / "chart")
    (tmp_path / "chart" / "README.md").write_text("no tables here")
    with pytest.raises(ValueError, match="markers"):
        generated(tmp_path / "chart")


def properties_of(schema: dict[str, Any], above: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    for key, value in schema.get("properties", {}).items():
        yield f"{above}{key}", value
        yield from properties_of(value, f"{above}{key}.")


def test_every_value_is_described() -> None:
    Draft7Validator.check_schema(SCHEMA)
    assert [path for path, value in properties_of(SCHEMA) if not value.get("description")] == []


def test_every_key_of_the_values_is_described_or_a_part_of_a_default() -> None:
    """A key without a comment would be missing from the schema, and so be refused."""
    known = {value.path for value in values_of((CHART / "values.yaml").read_text())}
    whole = {
        ("config",),
        ("podSecurityContext",),
        ("securityContext",),
        ("dashboards", "labels"),
        ("test", "resources"),
    }
    whole |= {("autoscaling", "behavior")}

    def walk(node: dict[str, Any], above: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
        for key, value in node.items():
            path = (*above, key)
            yield path
            if isinstance(value, dict) and path not in whole:
                yield from walk(value, path)

    assert set(walk(yaml.safe_load((CHART / "values.yaml").read_text()), ())) == known


def test_the_schema_is_strict() -> None:
    """Every object whose keys are listed takes no others. Only resources may have names that nobody knows here."""
    lax = {path for path, value in properties_of(SCHEMA) if "properties" in value and value["additionalProperties"]}
    assert lax == {"resources.requests", "resources.limits"}
    assert SCHEMA["additionalProperties"] is False


def test_every_feature_that_is_off_by_default_has_a_file_of_values() -> None:
    """ci/ holds a file for each, which linters and both Helms then see."""
    off = {value.path for value in values_of((CHART / "values.yaml").read_text()) if value.default is False}
    given = [yaml.safe_load(path.read_text()) for path in (CHART / "ci").glob("*-values.yaml")]
    assert off == {path for path in off if any(at(values, path) is True for values in given)}


def at(values: Any, path: tuple[str, ...]) -> Any:  # noqa: ANN401 - values of any kind
    for key in path:
        values = values.get(key, {})
    return values


def test_the_schema_knows_every_setting_but_the_token() -> None:
    sections = SCHEMA["properties"]["config"]["properties"]
    known = {f"{section}.{key}" for section, value in sections.items() for key in value["properties"]}
    assert known == NAMES.keys() - {"attentive.token"}


def test_the_defaults_fit_the_schema() -> None:
    Draft7Validator(SCHEMA).validate(yaml.safe_load((CHART / "values.yaml").read_text()))


def test_the_chart_names_the_version_of_this_worker() -> None:
    assert yaml.safe_load((CHART / "Chart.yaml").read_text())["appVersion"] == worker.__version__
