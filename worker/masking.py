"""Masks secrets: which properties contain one, and what to show instead."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping

MASK = "********"

_SECRET_PART = re.compile(r"pass|pwd|secret|token|credential|jaas|user[._-]?info|key|oauthbearer\.config|\bcmd\b")
_NAMES_A_PLACE = re.compile(r"\.(location|url|file|source|keytab)$")
_SECRET_VALUE = re.compile(r"://[^/\s]*@|PRIVATE KEY-----")


def is_secret(name: str, value: str = "") -> bool:
    """Whether a property with this name and value holds a secret. A path or an address is not one.

    When in doubt, yes: a masked value costs a look at the source, a printed one costs a new key.
    """
    folded = name.casefold()
    named = bool(_SECRET_PART.search(folded)) and not _NAMES_A_PLACE.search(folded)
    return named or bool(_SECRET_VALUE.search(value))


def masked(properties: Mapping[str, str], known: Collection[str]) -> dict[str, str]:
    """The properties, with `MASK` for the value of every secret, and of every property whose name is not a known one.

    A misspelt name may be meant for a secret.
    """
    return {name: value if name in known and not is_secret(name, value) else MASK for name, value in properties.items()}
