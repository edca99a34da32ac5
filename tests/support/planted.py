"""Private texts that a test plants, and the search for them in whatever a program shows."""

from __future__ import annotations

import base64
import html
import json
from collections.abc import Iterable, Iterator, Mapping
from urllib.parse import quote, quote_plus


def spellings(private: str) -> frozenset[str]:
    """The text as it is, and as URLs, JSON, HTML, Python, hex and base64 write it; all in lower case."""
    raw = private.encode()
    found = {
        private,
        quote(private, safe=""),
        quote(private),
        quote_plus(private),
        json.dumps(private)[1:-1],
        json.dumps(private, ensure_ascii=False)[1:-1],
        html.escape(private),
        repr(private)[1:-1],
        ascii(private)[1:-1],
        private.encode("unicode_escape").decode(),
        raw.hex(),
        *(_in_base64(raw)),
    }
    return frozenset(spelling.casefold() for spelling in found)


def _in_base64(raw: bytes) -> Iterator[str]:
    """Wherever it stands within what is encoded: the characters that depend on it alone."""
    for before in range(3):
        encoded = base64.b64encode(bytes(before) + raw).decode().rstrip("=")
        inner = encoded[-(-before * 8 // 6) : len(encoded) - 1]
        yield inner
        yield inner.replace("+", "-").replace("/", "_")


class Search:
    """Looks for every private text in every spelling.

    Args:
        private: the texts, by what they are.
    """

    def __init__(self, private: Mapping[str, str]) -> None:
        self._spellings = {what: spellings(text) for what, text in private.items()}
        self.found: set[tuple[str, str]] = set()
        """What was found where."""
        self.characters: dict[str, int] = {}
        """How much was searched, by place."""

    def look(self, place: str, shown: str | bytes) -> None:
        """Search one text."""
        text = (shown.decode("utf-8", "replace") if isinstance(shown, bytes) else shown).casefold()
        self.characters[place] = self.characters.get(place, 0) + len(text)
        self.found |= {(what, place) for what, those in self._spellings.items() if _any_in(those, text)}


def _any_in(those: Iterable[str], text: str) -> bool:
    return any(spelling in text for spelling in those)
