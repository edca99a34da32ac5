"""The search for private texts finds them in every spelling, and nothing where there is none."""

from __future__ import annotations

import base64
import html
import json
from urllib.parse import quote

import pytest

from tests.support.planted import Search

PRIVATE = 'Ann "ü" O\'Neil+7/@example.com'


@pytest.mark.parametrize(
    "shown",
    [
        PRIVATE,
        PRIVATE.lower(),
        PRIVATE.upper(),
        json.dumps({"a": PRIVATE}),
        json.dumps({"a": PRIVATE}, ensure_ascii=False),
        html.escape(f"<p>{PRIVATE}"),
        quote(PRIVATE),
        quote(PRIVATE, safe="").lower(),
        repr([PRIVATE]),
        ascii(PRIVATE),
        PRIVATE.encode(),
        PRIVATE.encode().hex(),
        *(base64.b64encode(f"{before}{PRIVATE}:and more".encode()) for before in ("", "x", "xy", "user:")),
        base64.urlsafe_b64encode(PRIVATE.encode()),
    ],
)
def test_it_is_found(shown: str | bytes) -> None:
    search = Search({"name": PRIVATE, "other": "something else"})
    search.look("here", shown)
    assert search.found == {("name", "here")}


def test_nothing_is_found_elsewhere() -> None:
    search = Search({"name": PRIVATE})
    search.look("here", json.dumps({"event": "halted", "detail": "ann@example.com and O'Neil"}))
    assert search.found == set()
