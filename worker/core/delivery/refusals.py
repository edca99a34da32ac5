"""What the destination refused lately, and what it took: this spares the next users most of the search.

It is only a hint: a suspect is still tried alone before it becomes a dead letter. One conclusion is drawn: if two
values that the destination took from others lately are refused, each alone, then the user is what is refused.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from typing import Final, TypeAlias, TypeVar

from worker.core.delivery.isolation import Isolation, named_in, speaks_of_user
from worker.core.model import Scalar

KEPT_MAX: Final = 10_000  # of each kind
KEPT_SECONDS: Final = 900.0  # then the destination may have changed its mind (a value was added to an enumeration)
# If so many different values of one type were refused for a name, and none taken since, the type is to blame.
REFUSED_VALUES_FOR_TYPE: Final = 3
# An error's text with more names than these, or with all of the call's, is no hint: halving is faster then.
SUSPECTS_MAX: Final = 8
LONG_VALUE_CHARACTERS: Final = 64  # a longer one is remembered by its hash

_Kind: TypeAlias = tuple[str, type]
_Pair: TypeAlias = tuple[str, type, Scalar]
_K = TypeVar("_K")
_V = TypeVar("_V")


class Refusals:
    """A bounded, expiring memory of the attribute values and types that were refused alone, and of those taken."""

    def __init__(self) -> None:
        self._refused: OrderedDict[_Pair, float] = OrderedDict()
        self._refused_kinds: OrderedDict[_Kind, tuple[int, float]] = OrderedDict()
        self._taken: OrderedDict[_Pair, float] = OrderedDict()

    def refused(self, name: str, value: Scalar, now: float) -> None:
        """The value was refused alone; `now` in monotonic seconds."""
        kind, pair = (name, type(value)), _pair(name, value)
        if pair not in self._refused:
            count, _ = self._refused_kinds.get(kind, (0, 0.0))
            _keep(self._refused_kinds, kind, (count + 1, now + KEPT_SECONDS))
        _keep(self._refused, pair, now + KEPT_SECONDS)
        self._taken.pop(pair, None)

    def taken(self, properties: Mapping[str, Scalar], now: float) -> None:
        """The values were delivered; `now` in monotonic seconds."""
        for name, value in properties.items():
            kind, pair = (name, type(value)), _pair(name, value)
            _keep(self._taken, pair, now + KEPT_SECONDS)
            self._refused.pop(pair, None)
            self._refused_kinds.pop(kind, None)

    def suspects(self, properties: Mapping[str, Scalar], now: float) -> list[str]:
        """The names whose value, or whose type of value, was refused lately."""
        if not self._refused:
            return []
        return [name for name, value in properties.items() if self._is_suspect(name, value, now)]

    def trusted(self, properties: Mapping[str, Scalar], now: float) -> list[str]:
        """The names whose very value was taken lately. If two of them are refused alone, the user is refused."""
        return [name for name, value in properties.items() if self._taken.get(_pair(name, value), now) > now]

    def search(self, properties: Mapping[str, Scalar], message: str, now: float) -> Isolation:
        """How to search a refused call: by what the error's text says, else by what is remembered."""
        suspected = named_in(message, properties) or self.suspects(properties, now)
        if suspected and len(suspected) < len(properties) and len(suspected) <= SUSPECTS_MAX:
            return Isolation(properties, refused=True, suspected=suspected)
        # One refused probe is no proof: the destination may have changed its mind, or the text may mean an attribute.
        trusted = self.trusted(properties, now)
        probes = [*trusted, *(name for name in properties if name not in trusted)][:2]
        told = len(trusted) > 1 or speaks_of_user(message, properties)
        return Isolation(properties, refused=True, probes=probes if told else ())

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
