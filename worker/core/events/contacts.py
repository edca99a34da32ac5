"""Which fields look like a phone or an e-mail address: nobody means to send these as attributes by a `*`."""

from __future__ import annotations

import re

from worker.core.words import words

_NAME = re.compile(
    r"(?:.*_)?(?:phone|telephone|tel|mobile|cell|cellphone|landline|fax|whatsapp|msisdn|e_?mail)"
    r"(?:_(?:number|numbers|no|num|nr|address|addr|adr|e_?164|\d+))*"
    r"|(?:.*_)?contact_(?:number|no|num|nr)|mail(?:_address)?"
)
_PHONE = re.compile(r"\+[1-9](?:[ ()./-]{0,2}[0-9]){7,14}", re.ASCII)
_EMAIL = re.compile(r"[^@\s]+@[^@\s.]+(?:\.[^@\s.]+)+")
_LENGTH_MAX = 320


def is_contact_name(name: str) -> bool:
    """Whether a field by this name holds one: `mobilePhone`, `contact_email_2`; but not `phone_verified`."""
    return _NAME.fullmatch(words(name)) is not None


def is_contact(text: str) -> bool:
    """Whether the text is one: a phone with its country code, or an address. Cheap for all other texts."""
    if text[:1] == "+":
        return _PHONE.fullmatch(text) is not None
    return "@" in text and len(text) <= _LENGTH_MAX and _EMAIL.fullmatch(text) is not None
