"""Rules that a registry's schema has for its readers: Confluent's data contracts, such as field encryption.

This worker runs no rules. If it read the records all the same, ciphertext would become a user's attribute.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from fnmatch import fnmatchcase
from typing import Any

from worker.core.avro.schema import full_name, is_record
from worker.core.events.mapping import LEFT_OUT

_NO_READERS = frozenset({"WRITE", "UPGRADE", "DOWNGRADE", "UPDOWN"})
"""Modes of rules that only writers run, or readers that ask for another version. No mode means WRITEREAD."""
_TAGS = "confluent:tags"


class RulesToRun(Exception):
    """The schema has rules that a reader must run. The message names them, and how to mend it."""


def check(answer: Mapping[str, Any], root: object, *, leave_out: bool) -> None:
    """Checks a schema's rules.

    Args:
        answer: The registry's answer.
        root: Its schema, parsed. With `leave_out`, the fields with the rules' tags are marked in it.
        leave_out: Whether to leave out the fields that the rules are about.

    Raises:
        RulesToRun: A reader must run a rule. With `leave_out` only if a rule has no tags: it may be about any field.
        TypeError, AttributeError: The rules are not in the registry's form.
    """
    rules = list(_rules_of_readers(answer.get("ruleSet") or {}))
    if not rules:
        return
    untagged = [rule for rule in rules if not rule.get("tags")]
    if leave_out and not untagged:
        paths = ((answer.get("metadata") or {}).get("tags") or {}).items()
        tags = frozenset().union(*(_tags(rule["tags"]) for rule in rules))
        _mark(root, tags, [(path, _tags(of_path)) for path, of_path in paths])
        return
    named = ", ".join(_shown(rule) for rule in (untagged if leave_out else rules)[:3])
    advice = (
        "remove it from the schema"
        if leave_out
        else "read a topic without such rules, or set WORKER_SCHEMAS__READ_RULES to leave_out"
    )
    raise RulesToRun(f"its rules are to be run by readers, and this worker runs none ({named}); {advice}")


def _rules_of_readers(rule_set: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    for phase in ("domainRules", "encodingRules"):
        for rule in rule_set.get(phase) or ():
            mode = rule.get("mode") or "WRITEREAD"
            # A condition changes no value, and the writer has checked it, unless it is for readers alone.
            checked = rule.get("kind") == "CONDITION" and mode == "WRITEREAD"
            if rule.get("disabled") is not True and mode not in _NO_READERS and not checked:
                yield rule


def _shown(rule: Mapping[str, Any]) -> str:
    text = f"{rule.get('name')}: {rule.get('type')}"[:80]
    return text if text.isprintable() else ascii(text)


def _tags(given: object) -> frozenset[str]:
    if not isinstance(given, list):
        raise TypeError("tags are not a list")
    return frozenset(given)


def _mark(schema: Any, tags: frozenset[str], paths: list[tuple[str, frozenset[str]]], namespace: str = "") -> None:  # noqa: ANN401 - Avro's schemas are str, dict or list
    """Marks the fields with one of the tags, by their own tags or by the schema's list of paths."""
    if isinstance(schema, list):
        for branch in schema:
            _mark(branch, tags, paths, namespace)
    if not isinstance(schema, dict):
        return
    for part in ("type", "items", "values"):
        _mark(schema.get(part), tags, paths, namespace)
    if not is_record(schema):
        return
    name = full_name({"namespace": namespace, **schema})
    for field in schema["fields"]:
        path = f"{name}.{field['name']}"
        own = _tags(field.get(_TAGS) or []).union(*(more for glob, more in paths if fnmatchcase(path, glob)))
        if tags & own:
            field[LEFT_OUT] = True
        _mark(field["type"], tags, paths, name.rpartition(".")[0])
