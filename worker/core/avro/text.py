"""A schema's text: JSON in which there may be comments, as Java's Avro takes it."""

from __future__ import annotations

import json
import re

_STRING_OR_COMMENT = re.compile(
    r"""
    "(?:[^"\\]++|\\.?)*+"?           # a string, also one without end: so nothing is looked at twice
    | //[^\n]*+
    | /\*(?:[^*]++|\*(?!/))*+(?:\*/)?
    """,
    re.DOTALL | re.VERBOSE,
)
_VISIBLE = re.compile(r"[^\n]+")


def schema_in(text: str) -> object:
    """The schema in a text, as `json.loads` gives it.

    Raises:
        json.JSONDecodeError: It is not JSON. Says at which line and column of the text.
        ValueError: It has a number of thousands of digits.
        RecursionError: It is nested too deep.
    """
    schema: object = json.loads(_STRING_OR_COMMENT.sub(_blanked, text))
    return schema


def _blanked(found: re.Match[str]) -> str:
    """A comment as blanks, so that lines and columns stay as they are."""
    text = found[0]
    return _VISIBLE.sub(lambda line: " " * len(line[0]), text) if text.startswith("/") else text
