"""Names as words, whatever their spelling: `phoneNumber2`, `phone-number 2` and `PHONE_NUMBER_2` are the same."""

from __future__ import annotations

import re
import unicodedata
from typing import Final

LOOKED_AT_MAX: Final = 1_000


def words(name: str) -> str:
    """A name as lower-case words joined by `_`: `SSNNumber2` is `ssn_number_2`."""
    return spelled(name).strip("_")


def spelled(text: str) -> str:
    """The same of a part of a name, which may begin or end with a separator."""
    text = unicodedata.normalize("NFKC", text)[:LOOKED_AT_MAX]  # NFKC makes up to 18 characters of one
    text = re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])|(?<=[A-Za-z])(?=[0-9])", "_", text)
    return re.sub(r"[\W_]+", "_", text).casefold()
