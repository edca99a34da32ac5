"""Reads settings from flags, the environment and the file, without checking their values.

Each reader returns the settings and the problems it found. It continues after a problem, so that the user sees all of
them at once.
"""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import yaml

from worker.masking import is_secret
from worker.settings.names import ENVIRONMENT_PREFIX, FILE_VARIABLE, NAMES, nearest, section_models

_SERVICE_LINK = re.compile(r"WORKER_(SERVICE_(HOST|PORT)|PORT$|PORT_\d+_)")
_NODES_MAX = 100_000


@dataclass(frozen=True, slots=True)
class Given:
    """A value from one source, and its exact place."""

    value: object = field(repr=False)
    where: str


@dataclass(frozen=True, slots=True)
class Problem:
    """Something to mend: where it is, and what is wrong with it. Holds no secret."""

    where: str
    text: str

    def __str__(self) -> str:
        return f"{self.where}: {self.text}"


@dataclass(frozen=True, slots=True)
class Layer:
    """What one source gives, by the setting's path."""

    given: dict[str, Given] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)


def from_environment(environ: Mapping[str, str]) -> Layer:
    """Reads every variable whose name starts with `WORKER_`. Names are case-sensitive."""
    layer = Layer()
    by_variable = {name.variable: name for name in NAMES.values()}
    for variable, value in environ.items():
        if not variable.startswith(ENVIRONMENT_PREFIX) or variable == FILE_VARIABLE:
            continue
        where = f"environment variable {variable}"
        if variable in by_variable:
            layer.given[by_variable[variable].path] = Given(value, where)
        elif _SERVICE_LINK.match(variable):
            text = (
                "is not a setting. Kubernetes sets it for a Service named 'worker': "
                "put enableServiceLinks: false in the pod's spec"
            )
            layer.problems.append(Problem(where, text))
        else:
            layer.problems.append(Problem(where, _unknown(nearest(variable, [*by_variable, FILE_VARIABLE]))))
    return layer


def from_flags(flags: Mapping[str, object]) -> Layer:
    """Takes flags by the setting's path. Refuses secrets: other users of the machine can see a command's flags."""
    layer = Layer()
    for path, value in flags.items():
        name = NAMES[path]
        where = f"flag {name.flag}"
        if name.secret or (name.properties and any(is_secret(key, item) for key, item in _pairs(value))):
            text = f"holds a secret, which other users of this machine could see; use {name.variable} or the file"
            layer.problems.append(Problem(where, text))
        else:
            layer.given[path] = Given(value, where)
    return layer


def _pairs(value: object) -> Iterator[tuple[str, str]]:
    try:
        pairs = json.loads(value) if isinstance(value, str) else value
    except (ValueError, RecursionError):
        return  # not JSON: the check of the value reports it
    if isinstance(pairs, dict):
        yield from ((str(key), str(item)) for key, item in pairs.items())


def from_file(path: Path) -> Layer:
    """Reads a YAML file of sections. An empty file gives nothing."""
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        reason = (error.strerror or type(error).__name__).lower()
        return _only(Problem(str(path), f"the configuration file can't be read: {reason}"))
    except UnicodeDecodeError:
        return _only(Problem(str(path), "the configuration file is not UTF-8 text"))
    try:
        # Plain values need no tag. pyyaml's constructors fail in many ways if a value does not fit its tag.
        tag = next((token for token in yaml.scan(text, Loader=_Loader) if isinstance(token, yaml.TagToken)), None)
        if tag is not None:
            raise yaml.constructor.ConstructorError(None, None, "tag", tag.start_mark)
        loader = _Loader(text)
        node = loader.get_single_node()
        if node is not None and _size(node, {}) > _NODES_MAX:
            return _only(Problem(str(path), "its aliases (*…) write out to too many values; write out what you need"))
        return Layer() if node is None else _sections(path, loader, node)
    except yaml.YAMLError as error:
        return _only(_yaml_problem(path, error))
    except RecursionError:
        return _only(Problem(str(path), "is nested too deeply"))


def _size(node: yaml.Node, known: dict[yaml.Node, int]) -> int:
    """The number of values, with all aliases written out, as merges (`<<`) do."""
    if node not in known:
        parts = itertools.chain(*node.value) if isinstance(node, yaml.MappingNode) else node.value
        known[node] = 1 + (0 if isinstance(node, yaml.ScalarNode) else sum(_size(part, known) for part in parts))
    return known[node]


def _only(problem: Problem) -> Layer:
    return Layer(problems=[problem])


class _Loader(yaml.SafeLoader):
    """Safe YAML in which a duplicate key is an error. pyyaml silently keeps the last one."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[object, object]:  # noqa: FBT001, FBT002 - the signature is pyyaml's
        seen: set[str] = set()
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode):
                if key.value in seen:
                    raise yaml.constructor.ConstructorError(None, None, "a key is given twice", key.start_mark)
                seen.add(key.value)
        return super().construct_mapping(node, deep=deep)


def _sections(path: Path, loader: _Loader, root: yaml.Node) -> Layer:
    """Walks the two levels of the file node by node, so that every setting keeps its line."""
    layer = Layer()
    models = section_models()
    for section, node, line in _entries(path, loader, root, layer, "the file"):
        where = f"{path}:{line}: {section}"
        if section not in models:
            near = nearest(section, models)
            if section in NAMES:
                near = f"the key {NAMES[section].field} under {NAMES[section].section}"
            layer.problems.append(Problem(where, _unknown(near)))
            continue
        for key, value, key_line in _entries(path, loader, node, layer, section):
            setting = f"{section}.{key}"
            if setting in NAMES:
                where = f"{path}:{key_line}: {setting}"
                try:
                    layer.given[setting] = Given(loader.construct_object(value, deep=True), where)
                except ValueError:  # a date such as 2026-99-99
                    layer.problems.append(
                        Problem(where, "looks like a date or a number, but is not one; put it in quotes")
                    )
            else:
                elsewhere = next((name.path for name in NAMES.values() if name.field == key), None)
                near = nearest(key, models[section].model_fields) or elsewhere
                layer.problems.append(Problem(f"{path}:{key_line}: {setting}", _unknown(near)))
    return layer


def _entries(
    path: Path, loader: _Loader, node: yaml.Node, layer: Layer, what: str
) -> Iterator[tuple[str, yaml.Node, int]]:
    """Yields (key, value, line) of a mapping. A missing value counts as an empty mapping."""
    if node.tag == "tag:yaml.org,2002:null":
        return
    if not isinstance(node, yaml.MappingNode):
        problem = Problem(f"{path}:{node.start_mark.line + 1}", f"{what} must be a mapping of keys to values")
        layer.problems.append(problem)
        return
    loader.flatten_mapping(node)
    seen: set[str] = set()
    for key, value in node.value:
        line = key.start_mark.line + 1
        if not isinstance(key, yaml.ScalarNode):
            layer.problems.append(Problem(f"{path}:{line}", "a key must be plain text"))
        elif key.value in seen:
            layer.problems.append(Problem(f"{path}:{line}: {key.value}", "is given twice; keep one"))
        else:
            seen.add(key.value)
            yield key.value, value, line


def _yaml_problem(path: Path, error: yaml.YAMLError) -> Problem:
    """Says where the file stops being YAML. Never repeats its text, which may be a secret."""
    if not isinstance(error, yaml.MarkedYAMLError):
        return Problem(str(path), "is not YAML: it contains a character that is not allowed in text")
    mark = error.problem_mark or error.context_mark
    where = f"{path}:{mark.line + 1}:{mark.column + 1}" if mark else str(path)
    problem = error.problem or "can't be read"
    if "\\t" in problem:
        return Problem(where, "there is a tab where YAML allows only spaces; indent with spaces")
    if isinstance(error, yaml.constructor.ConstructorError) and "tag" in problem:
        return Problem(where, "a tag (!…) is not allowed; write the plain value, in quotes")
    # These messages repeat the text after `*` or `&`, and a secret may start with one of them.
    quotable = re.sub(r"(alias|anchor) .*", r"\1", problem)
    return Problem(where, f"is not YAML: {quotable}")


def _unknown(near: str | None) -> str:
    hint = f"did you mean {near}?" if near else "`attribute-worker config --help` lists the settings"
    return f"there is no setting of this name; {hint}"
