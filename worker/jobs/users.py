"""Users as people type them, and whether a record or a letter is about one of them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final, NamedTuple

from worker.core.model import User
from worker.core.rules.identity import IdentityRules, compared
from worker.jobs.when import Unreadable

_PLAIN: Final = ("phone", "email", "client_user_id")


class Identifier(NamedTuple):
    """One identifier. Only a custom one has a name."""

    kind: str
    name: str
    value: str

    @property
    def family(self) -> str:
        """Its kind as it is typed: `phone`, or `custom:NAME`."""
        return f"{self.kind}:{self.name}" if self.name else self.kind

    def __repr__(self) -> str:
        return f"Identifier({self.kind})"


def identifier(text: str) -> Identifier:
    """A USER: `phone=+15551230001`, `email=…`, `client_user_id=…` or `custom:NAME=…`.

    Raises:
        Unreadable: It is none of these. Never repeats the text: it may be personal.
    """
    kind, found, value = text.strip().partition("=")
    family, _, name = kind.partition(":")
    if found and value and kind in _PLAIN:
        return Identifier(kind, "", value)
    if found and value and family == "custom" and name:
        return Identifier("custom", name, value)
    raise Unreadable("a user is phone=…, email=…, client_user_id=… or custom:NAME=…")


def users_of_file(path: Path) -> list[Identifier]:
    """The users in a file, one a line. Empty lines and lines that start with `#` are passed over.

    Raises:
        Unreadable: The file cannot be read, or a line is no user; says which line.
    """
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()  # some editors begin a file with a mark
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        raise Unreadable(f"{path} cannot be read: {why}") from None
    found = []
    for number, line in enumerate(lines, 1):
        if line.strip() and not line.lstrip().startswith("#"):
            try:
                found.append(identifier(line))
            except Unreadable as problem:
                raise Unreadable(f"{path}, line {number}: {problem}") from None
    return found


def typed_users(texts: Sequence[str], path: Path | None) -> list[Identifier] | None:
    """The users of `--user` and `--users-file` together. None if neither is given; errors as the two above."""
    if not texts and path is None:
        return None
    return [*map(identifier, texts), *(users_of_file(path) if path else ())]


class Users:
    """Whether a user is one of those that were typed. None typed: everybody is. It remembers whom it met."""

    def __init__(self, typed: Iterable[Identifier] | None, rules: IdentityRules) -> None:
        self._rules = rules
        self._typed = None if typed is None else {self._compared(one): one for one in typed}
        self._met: set[Identifier] = set()

    def include(self, user: User) -> bool:
        """Whether one of the user's identifiers was typed. They are compared in the form in which they are sent."""
        if self._typed is None:
            return True
        plain = ((kind, getattr(user, kind)) for kind in _PLAIN)
        found = [Identifier(kind, "", value) for kind, value in plain if value is not None]
        found += [Identifier("custom", name, value) for name, value in user.custom]
        met = self._typed.keys() & set(map(self._compared, found))
        self._met |= met
        return bool(met)

    @property
    def unmet(self) -> list[Identifier]:
        """Those that were typed and that nobody had so far, as they were typed."""
        return [one for key, one in (self._typed or {}).items() if key not in self._met]

    def _compared(self, one: Identifier) -> Identifier:
        return one._replace(value=compared(*one, self._rules))
