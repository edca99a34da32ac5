"""Tells which properties are secrets, by their names."""

from __future__ import annotations

import re

MASK = "********"

_SECRET = re.compile(
    r"passw|secret|token(?!\.endpoint)|credential|jaas|user\.?info|oauthbearer\.config|\.key$|key\.pem|\bkey\b"
)
_NO_SECRET = re.compile(r"location$|url$|\.file$|\bname$")


def is_secret(name: str) -> bool:
    """Returns whether a property of this name holds a secret; a path or an address is none.

    Where it is not clear the answer is yes: a masked value costs a look at the source, a printed one a new key.
    """
    folded = name.casefold()
    return bool(_SECRET.search(folded)) and not _NO_SECRET.search(folded)


def masked(properties: dict[str, str]) -> dict[str, str]:
    """Returns the properties with every secret's value replaced."""
    return {name: MASK if is_secret(name) else value for name, value in properties.items()}
