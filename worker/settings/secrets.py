"""Tells which properties are secrets, by their names and by what they hold."""

from __future__ import annotations

import re
from collections.abc import Mapping

MASK = "********"

_SECRET_NAME = re.compile(r"passw|passphrase|secret|token|credential|jaas|user\.?info|oauthbearer\.config|\bkey\b")
_PLAIN_NAME = re.compile(r"(location|url|file|name|type|ms)$")
_URL_WITH_PASSWORD = re.compile(r"://[^/\s]*@")


def is_secret(name: str, value: str = "") -> bool:
    """Returns whether a property of this name and value holds a secret; a path or an address is none.

    Where it is not clear the answer is yes: a masked value costs a look at the source, a printed one a new key.
    """
    folded = name.casefold()
    named = bool(_SECRET_NAME.search(folded)) and not _PLAIN_NAME.search(folded)
    return named or bool(_URL_WITH_PASSWORD.search(value))


def masked(properties: Mapping[str, str]) -> dict[str, str]:
    """Returns the properties with every secret's value replaced."""
    return {name: MASK if is_secret(name, value) else value for name, value in properties.items()}
