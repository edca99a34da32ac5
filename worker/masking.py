"""Masks secrets: which properties contain one, and what to show instead."""

from __future__ import annotations

import re
from collections.abc import Mapping

MASK = "********"

_SECRET_NAME = re.compile(r"passw|passphrase|secret|token|credential|jaas|user\.?info|oauthbearer\.config|\bkey\b")
_PLAIN_NAME = re.compile(r"(location|url|file|name|type|ms)$")
_URL_WITH_PASSWORD = re.compile(r"://[^/\s]*@")


def is_secret(name: str, value: str = "") -> bool:
    """Whether a property with this name and value holds a secret. A path or an address is not one.

    When in doubt, yes: a masked value costs a look at the source, a printed one costs a new key.
    """
    folded = name.casefold()
    named = bool(_SECRET_NAME.search(folded)) and not _PLAIN_NAME.search(folded)
    return named or bool(_URL_WITH_PASSWORD.search(value))


def masked(properties: Mapping[str, str]) -> dict[str, str]:
    """The properties with the value of every secret replaced by `MASK`."""
    return {name: MASK if is_secret(name, value) else value for name, value in properties.items()}
