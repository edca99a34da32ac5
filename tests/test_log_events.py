"""docs/logs.md lists every event that `run` can log, with its levels and fields, and nothing else."""

from __future__ import annotations

import ast
import re
from collections import defaultdict
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parent.parent
LEVELS = {"debug", "info", "warning", "error"}
LOGGERS = {"log", "_log"}
NOT_OF_RUN = ("sandbox", "commands/check", "commands/demo", "commands/sandbox.py")
ROW = re.compile(
    r"^\| `(?P<event>\w+)` \| (?P<levels>[a-z, ]+) \| (?P<fields>[^|]*) \| (?P<meaning>[^|]+) \|$", re.MULTILINE
)
NAME = re.compile(r"[a-z][a-z_]*")


@dataclass
class Event:
    levels: set[str] = field(default_factory=set)
    fields: set[str] = field(default_factory=set)
    more: bool = False  # fields that the call takes from elsewhere (**figures)


@cache
def logged() -> dict[str, Event]:
    """The events in the code, by name. Fails where a name is not a literal: nobody could search for it."""
    found: defaultdict[str, Event] = defaultdict(Event)
    for path in sorted((ROOT / "worker").rglob("*.py")):
        if str(path.relative_to(ROOT / "worker")).startswith(NOT_OF_RUN):
            continue
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            level = level_of(node)
            if level is None or not isinstance(node, ast.Call):
                continue
            name = node.args[1 if level == "log" else 0]
            assert isinstance(name, ast.Constant), f"{path.name}:{node.lineno}: the event must be a literal"
            event = found[str(name.value)]
            event.levels |= {"info", "warning"} if level == "log" else {level}
            event.fields |= {keyword.arg for keyword in node.keywords if keyword.arg is not None}
            event.more |= any(keyword.arg is None for keyword in node.keywords)
    return found


def level_of(node: ast.AST) -> str | None:
    """The method's name, where the node calls a logger."""
    if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Attribute):
        return None
    on, method = node.func.value, node.func.attr
    name = on.attr if isinstance(on, ast.Attribute) else on.id if isinstance(on, ast.Name) else ""
    made = isinstance(on, ast.Call) and isinstance(on.func, ast.Attribute) and on.func.attr == "get_logger"
    return method if (name in LOGGERS or made) and method in {*LEVELS, "log"} else None


def listed() -> dict[str, re.Match[str]]:
    page = (ROOT / "docs/logs.md").read_text(encoding="utf-8")
    return {row["event"]: row for row in ROW.finditer(page)}


def test_the_page_lists_the_events_of_the_code() -> None:
    assert listed().keys() == logged().keys()


def test_the_page_lists_their_levels_and_fields() -> None:
    page = listed()
    for name, event in logged().items():
        assert set(page[name]["levels"].split(", ")) == event.levels, name
        fields = set(re.findall(r"`(\w+)`", page[name]["fields"]))
        assert fields == event.fields or (event.more and fields > event.fields), name


def test_an_event_has_a_name_that_programs_can_rely_on() -> None:
    assert [name for name in logged() if not NAME.fullmatch(name)] == []
