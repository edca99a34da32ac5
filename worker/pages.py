"""Writes generated tables into pages of the documentation."""

from __future__ import annotations

import re


def with_table(page: str, name: str, table: str) -> str:
    """The page with this table between its markers, `<!-- name:begin -->` and `<!-- name:end -->`.

    Raises:
        ValueError: A marker is missing.
    """
    begin, end = f"<!-- {name}:begin -->", f"<!-- {name}:end -->"
    if begin not in page or end not in page:
        raise ValueError(f"the markers {begin} and {end} are missing")
    return re.sub(f"{begin}.*{end}", lambda _: f"{begin}\n{table}\n{end}", page, flags=re.DOTALL)
