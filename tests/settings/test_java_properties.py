"""Properties in Java's form: rules one by one, and random texts compared with `java.util.Properties` itself."""

from __future__ import annotations

import random
import subprocess
import time
from base64 import b64decode, b64encode
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.support.absent import absent
from tests.support.java import Unavailable, java
from worker.settings.java_properties import NotProperties, entries

RULES = [
    # what a text holds, by name
    ("a=b", {"a": "b"}),
    ("a:b", {"a": "b"}),
    ("a b", {"a": "b"}),
    ("  a \t = \f b ", {"a": "b "}),
    ("a = = b", {"a": "= b"}),
    ("a", {"a": ""}),
    ("a=b=c:d e", {"a": "b=c:d e"}),
    (r"a\=b\:c\ d = e", {"a=b:c d": "e"}),
    ("# a=b\n ! c=d\n\n \t\ne=f", {"e": "f"}),
    ("a=b # c", {"a": "b # c"}),
    ("a=b\rc=d\r\ne=f\n", {"a": "b", "c": "d", "e": "f"}),
    ("a=b\x0bc\x85d\u2028e", {"a": "b\x0bc\x85d\u2028e"}),
    ("a=b\\\n   c\\\r\n\td", {"a": "bcd"}),
    ("a=b\\\\\nc=d", {"a": "b\\", "c": "d"}),
    ("a=b\\\n# c", {"a": "b# c"}),
    ("a=b\\\n\nc=d", {"a": "b", "c": "d"}),
    ("# a\\\nb=c", {"b": "c"}),
    ("a=b\\", {"a": "b"}),
    (r"a=\t\n\r\f\\\q\"", {"a": '\t\n\r\f\\q"'}),
    (r"a=p\u00e4\u0020\uD83D\uDE00", {"a": "pä 😀"}),
    ("a=\\u00\\\n e4", {"a": "ä"}),
    ("a=pä", {"a": "pä"}),
]
MALFORMED = [r"a=\u12", r"a=\u12g4", r"\uu0041=b"]
PIECES = (
    *("a", "b", "é", "😀", "=", ":", " ", "\t", "\f", "\\", "\n", "\r", "\r\n", "#", "!", " = ", "\\\\"),
    *("\\\n", "\\\r", "\\\r\n", "\\u00e9", "\\u12", "\\t", "\\n", "\\x", "\\ ", "\\=", "\x0b", "\x85", "\u2028"),
)


def read(text: str) -> dict[str, str] | None:
    try:
        return {entry.name: entry.value for entry in entries(text)}
    except NotProperties:
        return None


def read_by_java(texts: Sequence[str]) -> list[dict[str, str] | None]:
    command = java(str(Path(__file__).with_name("ReadProperties.java")))
    given = "".join(f"{b64encode(text.encode()).decode()}\n" for text in texts)
    done = subprocess.run(command, input=given, capture_output=True, text=True, check=False, timeout=120)
    if done.returncode != 0:
        raise Unavailable(f"this Java compiles nothing: {done.stderr[-200:]}")
    return [None if line == "!" else dict(map(_pair, line.split())) for line in done.stdout.split("\n")[:-1]]


def _pair(written: str) -> tuple[str, str]:
    name, value = (b64decode(part).decode("utf-16-be") for part in written.split(":"))
    return name, value


@pytest.mark.parametrize(("text", "properties"), RULES)
def test_rules(text: str, properties: dict[str, str]) -> None:
    assert read(text) == properties


@pytest.mark.parametrize("text", MALFORMED)
def test_a_malformed_escape_is_refused_with_its_line_and_without_its_text(text: str) -> None:
    with pytest.raises(NotProperties, match=r"has a \\u that is not followed") as caught:
        list(entries(f"# hunter2\nx=y\n{text}"))
    assert caught.value.line == 3
    assert "hunter2" not in str(caught.value)
    assert r"\u12" not in str(caught.value)


def test_each_property_has_the_line_that_it_starts_in() -> None:
    text = "a=b\r\n\n# c\rd=\\\n  e\nf=g\n\\\n  \\\n h=i"
    assert [(entry.name, entry.line) for entry in entries(text)] == [("a", 1), ("d", 4), ("f", 6), ("h", 9)]


def test_half_a_character_is_refused() -> None:
    """Java keeps it, but no client can be given it."""
    assert read(r"a=\uD83D") is None


@pytest.mark.parametrize("text", ["a\\\n" * 300_000, "\\\n" * 500_000, " " * 1_000_000 + "a", "a=" + "\\\\" * 500_000])
def test_long_texts_take_no_longer_than_they_are(text: str) -> None:
    began = time.process_time()
    list(entries(text))
    assert time.process_time() - began < 10


@pytest.mark.slow
def test_java_reads_the_same(request: pytest.FixtureRequest) -> None:
    """All but an empty name, which Java also makes of a lone backslash at the end."""
    seed = random.randrange(2**32)
    rng = random.Random(seed)
    texts = [text for text, _ in RULES] + MALFORMED
    texts += ["".join(rng.choices(PIECES, k=rng.randint(1, 14))) for _ in range(20_000)]
    try:
        by_java = read_by_java(texts)
    except Unavailable as reason:
        absent(request.config, "REQUIRE_JDK", "a JDK", reason)
    assert len(by_java) == len(texts)
    for text, wanted in zip(texts, by_java, strict=True):
        found = read(text)
        for properties in (wanted, found):
            (properties or {}).pop("", None)
        assert found == wanted, f"{text!r} (seed {seed})"
