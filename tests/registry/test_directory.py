"""Schemas from a directory of files."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.support.avro import fields
from worker.core.model import SchemaId
from worker.registry.bundled import bundled
from worker.registry.directory import DirectorySchemas

ROW = fields(("id", "string"))


def put(directory: Path, name: str, schema: object) -> None:
    text = schema if isinstance(schema, str) else json.dumps(schema)
    (directory / name).write_text(text, encoding="utf-8")


def asked(schemas: DirectorySchemas, schema_id: int) -> list[tuple[SchemaId, object | None]]:
    schemas.request(schema_id)
    return schemas.answers()


def test_an_id_without_a_file_is_unknown(tmp_path: Path) -> None:
    put(tmp_path, "7.avsc", ROW)
    put(tmp_path, "notes.txt", "not looked at")
    schemas = DirectorySchemas(tmp_path, 0)
    assert asked(schemas, 7) == [(7, ROW)]
    assert asked(schemas, 8) == [(8, None)]
    assert schemas.answers() == []
    assert (schemas.waiting(), schemas.dead_letter_schema_id()) == (None, 0)


def test_a_file_that_is_added_later_answers_an_earlier_question(tmp_path: Path) -> None:
    schemas = DirectorySchemas(tmp_path, 0)
    assert asked(schemas, 8) == [(8, None)]
    put(tmp_path, "8.avsc", ROW)
    assert schemas.answers() == [(8, ROW)]
    assert schemas.answers() == []


def test_a_missing_file_is_waited_for_before_its_id_does_not_exist(tmp_path: Path) -> None:
    now = 100.0
    schemas = DirectorySchemas(tmp_path, 30, clock=lambda: now)
    assert asked(schemas, 8) == []
    assert "there is no" in (schemas.waiting() or "")
    now = 129.0
    assert asked(schemas, 8) == []
    put(tmp_path, "9.avsc", ROW)
    assert asked(schemas, 9) == [(9, ROW)]
    now = 130.0
    assert asked(schemas, 8) == [(8, None)]
    assert schemas.waiting() is None
    now = 190.0
    assert asked(schemas, 8) == [(8, None)]
    now = 10_000.0
    assert asked(schemas, 8) == []


def test_the_name_of_the_dead_letter_schemas_file_gives_its_id(tmp_path: Path) -> None:
    put(tmp_path, "7.avsc", ROW)
    put(tmp_path, "42.avsc", bundled("dead_letter"))
    assert DirectorySchemas(tmp_path).dead_letter_schema_id() == 42


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("7.avsc", '{"type": "record",\n oops', "7.avsc: not JSON at line 2, column 2"),
        ("7.avsc", '/* a\n b */ {"type": // c\n oops', "7.avsc: not JSON at line 3, column 2"),
        ("7.avsc", {"type": "record", "name": "R"}, "7.avsc: not a valid Avro schema"),
        ("profile.avsc", ROW, "profile.avsc: name the file by the schema id"),
        ("7.avsc", "[" * 100_000, "7.avsc: nested too deep"),
        ("7.avsc", '{"a": ' + "9" * 5_000 + "}", "7.avsc: cannot be read"),
        ("2147483648.avsc", ROW, "2147483648.avsc: schema ids end at 2147483647"),
        ("07.avsc", ROW, "07.avsc: name the file by the schema id"),
        ("9" * 100 + ".avsc", ROW, "9.avsc: schema ids end at 2147483647"),
    ],
)
def test_a_broken_file_prevents_the_start_and_is_named(tmp_path: Path, name: str, content: object, says: str) -> None:
    put(tmp_path, name, content)
    with pytest.raises(ValueError, match="avsc") as caught:
        DirectorySchemas(tmp_path)
    assert says in str(caught.value)


def test_a_file_that_breaks_after_the_start_has_no_answer_until_it_is_mended(tmp_path: Path) -> None:
    schemas = DirectorySchemas(tmp_path)
    put(tmp_path, "7.avsc", "{half")
    assert asked(schemas, 7) == []
    assert "7.avsc: not JSON" in (schemas.waiting() or "")
    put(tmp_path, "7.avsc", ROW)
    assert asked(schemas, 7) == [(7, ROW)]
    assert schemas.waiting() is None


def test_a_directory_that_does_not_exist_is_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="gone cannot be read"):
        DirectorySchemas(tmp_path / "gone")


def test_a_broken_file_is_no_problem_once_no_record_needs_it(tmp_path: Path) -> None:
    """The partition with the record that needed it went to another worker."""
    schemas = DirectorySchemas(tmp_path)
    put(tmp_path, "7.avsc", "{half")
    assert asked(schemas, 7) == []
    assert schemas.waiting()
    schemas.answers()
    assert schemas.waiting() is None


def test_a_file_may_hold_comments_and_begin_with_a_byte_order_mark(tmp_path: Path) -> None:
    row = fields(("id", "string"), name="Row", id={"doc": "// no comment"})
    put(tmp_path, "7.avsc", "\ufeff// of Windows\n" + json.dumps(row, indent=1).replace("\n", '/* " */\n'))
    assert asked(DirectorySchemas(tmp_path), 7) == [(7, row)]


def test_in_a_directory_that_vanishes_no_id_is_unknown(tmp_path: Path) -> None:
    directory = tmp_path / "schemas"
    directory.mkdir()
    schemas = DirectorySchemas(directory, 0)
    directory.rmdir()
    assert asked(schemas, 7) == []
    assert str(schemas.waiting()).startswith(f"the schema directory {directory} cannot be read")
    directory.mkdir()
    put(directory, "7.avsc", ROW)
    assert asked(schemas, 7) == [(7, ROW)]
    assert schemas.waiting() is None


def test_a_link_that_leads_nowhere_is_a_broken_file(tmp_path: Path) -> None:
    schemas = DirectorySchemas(tmp_path, 0)
    (tmp_path / "7.avsc").symlink_to(tmp_path / "later")
    assert asked(schemas, 7) == []
    assert "7.avsc: cannot be read" in str(schemas.waiting())
    put(tmp_path, "later", ROW)
    assert asked(schemas, 7) == [(7, ROW)]
