"""A page as a person finds it: its elements and its text."""

from __future__ import annotations

from html.parser import HTMLParser

VOID = {"meta", "br"}
CELLS = {"th", "td", "dt", "dd", "p", "h2", "strong", "text"}


class Outline(HTMLParser):
    """A page's elements and visible text. Also checks that the elements nest properly."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self._open: list[str] = []
        self.feed(page)
        self.close()
        assert self._open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self._open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag
        if tag in CELLS:
            self.text += " "

    def handle_data(self, data: str) -> None:
        if "style" not in self._open:
            self.text += data

    @property
    def words(self) -> str:
        """The text, in one line."""
        return " ".join(self.text.split())

    @property
    def links(self) -> list[str]:
        """Where its links lead."""
        return [str(attributes["href"]) for tag, attributes in self.tags if tag == "a"]
