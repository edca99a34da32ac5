"""What people need to know of a halt: what the worker met, and what to do about it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from worker.attentive.token import Token
from worker.core.delivery.gate import HaltReason

MENDS: Final[Mapping[HaltReason, str]] = {
    HaltReason.UNAUTHORIZED: "check that the token is the app's current one, and that the app has attributes:write",
    HaltReason.WRONG_URL: "check WORKER_ATTENTIVE__BASE_URL, and whether a proxy or a gateway answers on the way",
    HaltReason.UNAVAILABLE: "the worker keeps everything, asks again and goes on by itself; "
    "if others reach the destination, check the way there",
    HaltReason.REJECTION_STORM: "read the latest dead letters; if they are right, "
    "raise WORKER_STORM__LETTERS_MAX and restart",
}

_NEW_TOKEN: Final = {
    True: "; the worker reads the token's file again by itself",
    False: "; a new token in WORKER_ATTENTIVE__TOKEN needs a restart, one in WORKER_ATTENTIVE__TOKEN_FILE does not",
}


class Advice:
    """Explains halts. A token that cannot be read explains more than the refusal that follows from it."""

    def __init__(self, token: Token) -> None:
        self._token = token

    def on(self, reason: HaltReason, met: str) -> tuple[str, str]:
        """What the worker `met`, and how to mend it. The second is empty if the first says that, too."""
        if self._token.problem is not None:
            return self._token.problem, ""
        then = _NEW_TOKEN[self._token.renewable] if reason is HaltReason.UNAUTHORIZED else ""
        return met, MENDS[reason] + then

    def in_one(self, reason: HaltReason, met: str) -> str:
        """The same as one text."""
        return "; ".join(filter(None, self.on(reason, met)))
