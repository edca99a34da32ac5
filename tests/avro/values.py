"""Whether a value that this worker has read is the one that Java has read."""

from __future__ import annotations

import math
from base64 import b64decode
from decimal import Decimal
from typing import Any

from worker.core.avro.render import OutOfRange, Unsupported, scalar


def check_same(java: Any, ours: Any, path: str = "value") -> None:  # noqa: ANN401 - any JSON, any value
    """Checks one value, with all that is in it.

    Args:
        java: As `AvroProbe.java` gives it.
        ours: What was decoded.
        path: Where it lies.

    Raises:
        AssertionError: They differ.
    """
    if not isinstance(java, list):
        assert ours == java, path
        assert type(ours) is type(java), path
        return
    kind, content = java[0], java[1]
    if kind == "array":
        assert len(ours) == len(content), path
        for index, item in enumerate(content):
            check_same(item, ours[index], f"{path}[{index}]")
    elif kind in {"map", "record"}:
        assert ours.keys() == content.keys(), path
        for name, item in content.items():
            check_same(item, ours[name], f"{path}.{name[:9]}")
    elif kind == "bytes":
        assert ours == b64decode(content), path
    elif kind == "real":
        assert ours == float(content) or (math.isnan(ours) and content == "NaN"), path
    else:
        _, logical, text, plain = java
        _check_logical(logical, text, plain, ours, path)


def _check_logical(logical: str, text: str | None, plain: Any, ours: Any, path: str) -> None:  # noqa: ANN401 - as above
    """Checks a value of a logical type: by Java's text of it, if it has one and the calendar ends no earlier here."""
    if plain == ["bytes", ""] and logical == "decimal":
        assert not ours, path  # Java refuses it
    elif text is not None and logical in {"decimal", "big-decimal"}:
        assert isinstance(ours, Decimal), path
        assert format(ours, "f") == text, path
    elif logical == "uuid" and isinstance(plain, str):
        assert ours == plain, path  # Java's reader also takes shortened ones
    elif text is None or logical == "duration" or _beyond_calendar(text):
        check_same(plain, ours.units if isinstance(ours, OutOfRange) else ours, path)
    else:
        try:
            shown = scalar(ours)
        except Unsupported as why:
            raise AssertionError(f"{path}: {logical}: {why}") from None
        assert isinstance(shown, str), path
        assert _full(shown) == _full(text), path


def _beyond_calendar(text: str) -> bool:
    """Java writes years before 0 and after 9999 with a sign. Python has none, and no year 0 either."""
    return text.startswith(("+", "-", "0000-"))


def _full(text: str) -> str:
    """A date or time without the zeros at its end, which the two write differently."""
    zone = "Z" if text.endswith("Z") else ""
    date, separator, time = text.removesuffix("Z").rpartition("T")
    if ":" not in time:
        return text
    clock, _, fraction = time.partition(".")
    seconds = clock if clock.count(":") == 2 else clock + ":00"
    return f"{date}{separator}{seconds}.{fraction.rstrip('0')}{zone}"
