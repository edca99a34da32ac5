"""Remembers which values the destination refused and accepted lately, so that the next users' searches are short.

These are hints: a suspect is still tried alone before it becomes a dead letter. One conclusion is final: if a user's
call is refused, and so are two of its values, each alone, that were accepted for other users lately, then the
destination refuses the user.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from typing import Final, TypeAlias, TypeVar

from worker.core.delivery.isolation import Isolation, named_in, speaks_of_user
from worker.core.model import Scalar

KEPT_MAX: Final = 10_000  # in each of the three memories
_FRESH_SECONDS: Final = 10.0  # a value that was kept just now is not kept anew
KEPT_SECONDS: Final = 900.0  # the destination may accept a value later (somebody adds it to an enumeration)
# If this many different values of one type were refused for a name, and none was accepted since, suspect the type.
REFUSED_VALUES_FOR_TYPE: Final = 3
# With more suspects, or with all of the call's names suspected, halving is faster than trying each suspect alone.
SUSPECTS_MAX: Final = 8
LONG_VALUE_CHARACTERS: Final = 64  # of a longer value only the hash is kept

_Kind: TypeAlias = tuple[str, type]
_Pair: TypeAlias = tuple[str, type, Scalar]
_K = TypeVar("_K")
_V = TypeVar("_V")


class Refusals:
    """A bounded memory of values and types refused alone, and of values accepted. Everything expires."""

    def __init__(self) -> None:
        self._refused: OrderedDict[_Pair, float] = OrderedDict()
        self._refused_kinds: OrderedDict[_Kind, tuple[int, float]] = OrderedDict()
        self._accepted: OrderedDict[_Pair, float] = OrderedDict()

    def refused(self, name: str, value: Scalar, now: float) -> None:
        """The value was refused alone; `now` in monotonic seconds."""
        kind, pair = (name, type(value)), _pair(name, value)
        if pair not in self._refused:
            count, _ = self._refused_kinds.get(kind, (0, 0.0))
            _keep(self._refused_kinds, kind, (count + 1, now + KEPT_SECONDS))
        _keep(self._refused, pair, now + KEPT_SECONDS)
        self._accepted.pop(pair, None)

    def accepted(self, properties: Mapping[str, Scalar], now: float) -> None:
        """The values were delivered; `now` in monotonic seconds."""
        expires = now + KEPT_SECONDS
        for name, value in properties.items():
            pair = _pair(name, value)
            if self._accepted.get(pair, 0.0) < expires - _FRESH_SECONDS:
                _keep(self._accepted, pair, expires)
            if self._refused:
                self._refused.pop(pair, None)
                self._refused_kinds.pop((name, type(value)), None)

    def suspects(self, properties: Mapping[str, Scalar], now: float) -> list[str]:
        """The names whose value was refused lately, or whose value's type was."""
        if not self._refused:
            return []
        return [name for name, value in properties.items() if self._is_suspect(name, value, now)]

    def trusted(self, properties: Mapping[str, Scalar], now: float) -> list[str]:
        """The names whose exact value was accepted lately. If two of them are refused alone, the user is refused."""
        return [name for name, value in properties.items() if self._accepted.get(_pair(name, value), now) > now]

    def search(self, properties: Mapping[str, Scalar], message: str, now: float) -> Isolation:
        """A search for a refused call. Its hints come from the error's text, else from memory."""
        # Two controls, because one refused control proves nothing: an enumeration may have lost that value since. And
        # only values that were accepted: a text about an "email address" may mean an attribute that holds one.
        trusted = self.trusted(properties, now)
        controls = trusted[:2] if len(trusted) > 1 else []
        suspected = named_in(message, properties) or self.suspects(properties, now)
        if suspected and len(suspected) < len(properties) and len(suspected) <= SUSPECTS_MAX:
            blames_user = speaks_of_user(message, properties)  # then the controls go first, else the suspects are apart
            if not (controls and blames_user):
                return Isolation(properties, refused=True, suspected=suspected)
        return Isolation(properties, refused=True, controls=controls)

    def _is_suspect(self, name: str, value: Scalar, now: float) -> bool:
        if self._refused.get(_pair(name, value), now) > now:
            return True
        count, expires = self._refused_kinds.get((name, type(value)), (0, now))
        return expires > now and count >= REFUSED_VALUES_FOR_TYPE


def _pair(name: str, value: Scalar) -> _Pair:
    long = isinstance(value, str) and len(value) > LONG_VALUE_CHARACTERS
    return (name, type(value), hash(value) if long else value)


def _keep(kept: OrderedDict[_K, _V], key: _K, value: _V) -> None:
    kept[key] = value
    kept.move_to_end(key)
    if len(kept) > KEPT_MAX:
        kept.popitem(last=False)
