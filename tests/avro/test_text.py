"""Comments in schemas' texts. What Java takes of them is in `test_java`."""

from __future__ import annotations

import json
import time
from contextlib import suppress

import pytest

from worker.core.avro.text import schema_in


@pytest.mark.parametrize(
    ("text", "schema"),
    [
        ('// a "quote\n"int"', "int"),
        ('/* a // b * / \n **/"int"/**/', "int"),
        (r'{"doc": "// \" /* \\", "type": "int"}', {"doc": '// " /* \\', "type": "int"}),
        ('["a/*", "*/b"]', ["a/*", "*/b"]),
        ('"int" // end', "int"),
    ],
)
def test_comments_are_passed_over_and_texts_are_kept(text: str, schema: object) -> None:
    assert schema_in(text) == schema


def test_a_fault_has_its_place_in_the_whole_text() -> None:
    with pytest.raises(json.JSONDecodeError) as caught:
        schema_in('/* one\n two */ {"type": // three\n  oops}')
    assert (caught.value.lineno, caught.value.colno) == (3, 3)


@pytest.mark.parametrize("piece", ["/*", '"', '"\\', "/", "//\n", '\\"', "/**/", "*/"])
def test_odd_texts_take_no_longer_than_they_are(piece: str) -> None:
    began = time.process_time()
    with suppress(ValueError):
        schema_in(piece * (150_000 // len(piece)))
    assert time.process_time() - began < 5
