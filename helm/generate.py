"""Makes the chart's values.schema.json and the tables in its README.md (`scripts/generate-chart` runs it).

Their sources are the comments in values.yaml, and the worker's settings for everything under `config`.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from helm import jobs
from worker.settings.names import NAMES, Name, section_models
from worker.settings.table import default_text

CHART = Path(__file__).parent / "attribute-worker"
SETTINGS_KEY = "config"
JOBS_KEY = "jobs"

Schema = dict[str, Any]

_KINDS = {bool: "boolean", int: "integer", float: "number", str: "string", list: "array", dict: "object"}
# Kubernetes takes texts alone in these: a number or `true` without quotes would be refused only by its server.
_TEXTS = ("labels", "annotations", "nodeselector")
# pydantic leaves these as they are where a bound stands outside of a union.
_BOUNDS = {"gt": "exclusiveMinimum", "ge": "minimum", "lt": "exclusiveMaximum", "le": "maximum"}


@dataclass(frozen=True, slots=True)
class Value:
    """One key of values.yaml: its path, default, and what the comment above it says."""

    path: tuple[str, ...]
    default: object
    description: str
    added: Schema

    @property
    def open(self) -> bool:
        """Whether it takes keys that values.yaml does not list."""
        return not self.default or "properties" in self.added

    @property
    def needed(self) -> bool:
        """Whether the templates need it. Helm takes null as a removal; lists, and what is empty by default, may go."""
        removable = isinstance(self.default, list) or (isinstance(self.default, dict) and self.open)
        return not removable and self.default not in (None, "") and "null" not in self.added.get("type", ())


def values_of(text: str) -> Iterator[Value]:
    """Yields every described key, outer ones first. Keys without a description are parts of a default."""
    lines = text.splitlines()
    loader = yaml.SafeLoader(text)
    root = loader.get_single_node()

    def walk(node: yaml.MappingNode, above: tuple[str, ...]) -> Iterator[Value]:
        for key, value in node.value:
            path = (*above, key.value)
            description, added = _comment(lines, key.start_mark.line)
            if description:
                yield Value(path, loader.construct_object(value, deep=True), description, added)
            if isinstance(value, yaml.MappingNode):
                yield from walk(value, path)

    if isinstance(root, yaml.MappingNode):
        yield from walk(root, ())


def _comment(lines: list[str], key_line: int) -> tuple[str, Schema]:
    """The description right above a line, and what `@schema` adds."""
    words: list[str] = []
    added: Schema = {}
    for line in reversed(lines[:key_line]):
        text = line.strip()
        if text.startswith("# @schema "):
            added = yaml.safe_load(text.removeprefix("# @schema "))
        elif text.startswith("# -- "):
            return " ".join([text.removeprefix("# -- "), *words]), added
        elif text.startswith("#"):
            words.insert(0, text.removeprefix("#").strip())
        else:
            break
    return "", {}


def schema(text: str) -> Schema:
    """The schema of all values."""
    root = _closed({"global": {"type": "object", "description": "Values that a parent chart gives to all its charts."}})
    for value in values_of(text):
        home = root
        for key in value.path[:-1]:
            home = home["properties"][key]
        home["properties"][value.path[-1]] = _schema_of(value)
        if value.needed:
            home.setdefault("required", []).append(value.path[-1])
    return {"$schema": "http://json-schema.org/draft-07/schema#", "title": "Values", **root}


def _schema_of(value: Value) -> Schema:
    if value.path == (SETTINGS_KEY,) and isinstance(value.default, dict):
        settings = settings_schema()
        for section, given in value.default.items():
            settings["properties"][section]["required"] = list(given)
        return {"description": value.description, **settings, "required": list(value.default)}
    if value.path == (JOBS_KEY,):
        return {"description": value.description, **jobs.schema()}
    kind = "null" if value.default is None else _KINDS[type(value.default)]
    made: Schema = {"description": value.description, "type": kind}
    if kind == "object" and not value.open:
        made |= _closed({})
    if kind == "object" and value.path[-1].lower().endswith(_TEXTS):
        made["additionalProperties"] = {"type": "string"}
    made |= value.added
    return {key: item for key, item in made.items() if item is not None}


def _closed(properties: Mapping[str, Schema]) -> Schema:
    return {"type": "object", "additionalProperties": False, "properties": dict(properties)}


def settings_schema() -> Schema:
    """The schema of the worker's file, as the chart takes it: all but the token, for which a ConfigMap is no place."""
    sections = _closed({})
    for section, model in section_models().items():
        fields = model.model_json_schema(mode="validation")["properties"]
        names = [name for name in NAMES.values() if name.section == section and not name.secret]
        sections["properties"][section] = {
            "description": (model.__doc__ or "").splitlines()[0],
            **_closed({name.field: _setting(name, fields[name.field]) for name in names}),
        }
    # Probes and scrapes need a port that is known before the worker runs.
    sections["properties"]["http"]["properties"]["port"]["minimum"] = 1
    return sections


def _setting(name: Name, made: Schema) -> Schema:
    """One setting. Lists may be given as comma-separated text, and properties as numbers or booleans."""
    description = {"description": name.info.description}
    kind = {_BOUNDS.get(key, key): item for key, item in made.items() if key not in {"title", "description", "default"}}
    if "anyOf" in kind:
        kind["anyOf"] = [{_BOUNDS.get(key, key): item for key, item in each.items()} for each in kind["anyOf"]]
    if kind.get("type") == "array":
        kind = {"anyOf": [kind, {"type": "string"}]}
    if name.properties:
        kind["additionalProperties"] = {"type": ["string", "number", "boolean"]}
    return {**description, **kind}


def values_table(text: str) -> str:
    """The Markdown table of the chart's own values."""
    rows = []
    for value in values_of(text):
        holds_others = isinstance(value.default, dict) and not value.open
        default = "" if holds_others or value.path == (SETTINGS_KEY,) else f"`{json.dumps(value.default)}`"
        rows.append((f"`{'.'.join(value.path)}`", default, value.description))
    return _table(("value", "default", "meaning"), rows)


def settings_table() -> str:
    """The Markdown table of everything under `config`."""
    rows = []
    for name in NAMES.values():
        if not name.secret:
            default = default_text(name)
            written = "required" if name.info.is_required() else f"`{default}`" if default else "none"
            rows.append((f"`{SETTINGS_KEY}.{name.path}`", written, name.info.description or ""))
    return _table(("value", "default", "meaning"), rows)


def jobs_table() -> str:
    """The Markdown table of an entry of `jobs`."""
    return _table(("key", "meaning"), [(f"`{key}`", schema["description"]) for key, schema in jobs.ENTRY.items()])


def _table(head: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> str:
    lines = [head, ("---",) * len(head), *(tuple(cell.replace("|", r"\|") for cell in row) for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def generated(chart: Path) -> dict[Path, str]:
    """The text of each generated file of a chart, from its values.yaml and its present README.md."""
    text = (chart / "values.yaml").read_text(encoding="utf-8")
    readme = (chart / "README.md").read_text(encoding="utf-8")
    for part, table in (("values", values_table(text)), ("jobs", jobs_table()), ("settings", settings_table())):
        begin, end = f"<!-- {part}:begin -->", f"<!-- {part}:end -->"
        if begin not in readme or end not in readme:
            raise ValueError(f"the markers {begin} and {end} are missing")
        before, after = readme.split(begin)[0], readme.split(end)[1]
        readme = f"{before}{begin}\n{table}\n{end}{after}"
    as_json = json.dumps(schema(text), indent=2, ensure_ascii=False) + "\n"
    return {chart / "values.schema.json": as_json, chart / "README.md": readme}


if __name__ == "__main__":
    for path, content in generated(CHART).items():
        path.write_text(content, encoding="utf-8")
