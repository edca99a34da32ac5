"""Attribute names that suggest data which Attentive's disclaimer on personal information excludes.

Source: https://docs.attentivemobile.com/pages/legal-docs/pi-disclaimer/
"""

from __future__ import annotations

import re

# Each line is one phrase. (…|…) is a choice of words, and a word with ? at its end is optional.

_TELLING = """
ssn
social security
social insurance number
(state|national|government|tax) (id|identification|identity) (number|no|num|nr|card)
national id
(driver|drivers|driving) (licence|license)
credit card (number|no|num|nr|pan)
debit card (number|no|num|nr|pan)
(cvv|cvc|cvn)
card security code
(security|access) (code|answer|question)
(access|auth|refresh|session|bearer) token
(api|secret|private) key
(bank|financial) account
(iban|routing number|sort code)
(racial|ethnic|ethnicity)
(religious|philosophical) (belief|beliefs|affiliation|view|views)
(trade|labor|labour) union
union (member|membership|status|affiliation)
genetic (data|test|info|information|marker|markers|profile|result|results)
(biometric|biometrics|faceprint|voiceprint)
(face|facial|retina|iris|fingerprint) (scan|template|recognition|geometry)
health (condition|conditions|status|data|info|information|record|records|history)
health (insurance|issue|issues|problem|problems)
(medical|diagnosis|diagnoses|disability|disabilities|pregnancy|hiv)
(mental|reproductive|sexual) health
blood (type|pressure|group|sugar)
(sexual|sex) (orientation|preference|life)
political (opinion|opinions|party|affiliation|view|views|leaning|leanings|belief|beliefs|orientation)
party affiliation
(citizenship|immigration)
citizen status
visa (status|number|no)
(precise|exact|gps|geo) location
(geolocation|gps)
(device|current|home|user|customer|geo) (latitude|longitude|lat|lng|lon|long|coordinates)
(criminal|arrest|felony)
under 13
"""
"""Denied anywhere in a name, as whole words."""

_ENDING = """
(password|passwd|passphrase|passcode)
passport
"""
"""Denied at the end of a name, or before words of `_FORM`: `password_hash` is denied, `password_changed_at` is not."""

_PLAIN = """
(race|race or ethnicity|ethnic origin)
(religion|faith)
(citizen|nationality)
(pwd|pin|credential|credentials|login credentials)
(credit|debit|payment) card details?
card details
card (number|no|num|nr|pan)
account (number|no|num|nr)
(dna|genome|genetics|genetic)
(fingerprint|fingerprints)
(health|illness|disease|diseases|medication|medications|prescription|prescriptions|allergies|disabled|pregnant)
(sexuality|sexual|lgbt|lgbtq)
(politics|political)
(latitude|longitude|lat|lng|lat lng|lat long|latlng|coordinates)
(crime|crimes|conviction|convictions)
"""
"""Denied as a whole name. Words of `_OWNER` may come before, and words of `_FORM` after."""

_OWNER = "(?:(?:user|users|customer|subscriber|person|member|contact|profile|client|my|their|is|has)_)*"
_FORM = (
    "(?:_(?:number|no|num|nr|id|code|value|text|hash|hashed|encrypted|plain|raw|data"
    "|expiry|expiration|country|type|status))*"
)


def _phrases(lines: str) -> str:
    """All lines as one regular expression. A phrase may also be written as one word, such as `socialsecurity`."""
    patterns = []
    for line in lines.split("\n"):
        spaced = re.sub(r" (\w+)\?$", r"(?: \1)?", line.strip())
        if spaced:
            patterns.append(spaced.replace("(?:", "\0").replace("(", "(?:").replace("\0", "(?:").replace(" ", "_?"))
    return "|".join(patterns)


_FORBIDDEN = re.compile(
    rf"(?:.*_)?(?:{_phrases(_TELLING)})(?:_?(?:number|no|num))?(?:_.*)?"
    rf"|(?:.*_)?(?:{_phrases(_ENDING)}){_FORM}"
    rf"|{_OWNER}(?:{_phrases(_PLAIN)}){_FORM}"
)


def is_forbidden(words: str) -> bool:
    """Whether a name, given as lower-case words joined by `_`, suggests a forbidden category."""
    return _FORBIDDEN.fullmatch(words) is not None
