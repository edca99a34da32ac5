"""The bearer token, from the settings or from a file that may change while the worker runs."""

from __future__ import annotations

import os
import stat
from pathlib import Path

BYTES_MAX = 16 * 1024
"""No proxy lets a header be so long, so a larger file must be the wrong file."""


class Token:
    """The current token, read again when its file changes. Used from one thread; its text is in no repr."""

    def __init__(self, *, fixed: str | None = None, path: Path | None = None) -> None:
        self._path = path
        self._value: str | None = None
        self._identity: tuple[int, ...] | None = None
        self.problem: str | None = None
        """Why there is no token: where it was looked for and what is wrong, never the content. None if there is one."""
        if path is None:
            self._take((fixed or "").encode("utf-8", "surrogatepass"), "the configured token")
        else:
            self.reload()

    @classmethod
    def given(cls, value: str) -> Token:
        """A token from the settings, which stays as it is."""
        return cls(fixed=value)

    @classmethod
    def from_file(cls, path: str | os.PathLike[str]) -> Token:
        """A token in a file. A file that is missing now may appear later."""
        return cls(path=Path(path))

    def __repr__(self) -> str:
        return f"Token({'given' if self._path is None else str(self._path)})"

    @property
    def renewable(self) -> bool:
        """Whether it may change while the worker runs: it is in a file."""
        return self._path is not None

    def value(self) -> str | None:
        """The token. None if there is none; `problem` then says why.

        Costs one `stat` of the file, which follows links. So it notices when Kubernetes changes a secret by pointing a
        link at another folder: the inode differs.
        """
        if self._path is not None and self._current_identity() != self._identity:
            self.reload()
        return self._value

    def reload(self) -> bool:
        """Reads the file now, even if it looks unchanged. Returns whether the token has changed."""
        if self._path is None:
            return False
        before = self._value
        try:
            # Non-blocking: if the path is a named pipe without a writer, a blocking open would stop the whole worker.
            descriptor = os.open(self._path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        except OSError as error:
            self._forget(f"token file {self._path}: {error.strerror}")
            self._identity = None
            return before is not None
        try:
            self._read(descriptor)
        finally:
            os.close(descriptor)
        return self._value != before

    def _read(self, descriptor: int) -> None:
        status = os.fstat(descriptor)  # of the open file, so that identity and content belong together
        self._identity = identity(status)
        if not stat.S_ISREG(status.st_mode):
            self._forget(f"token file {self._path}: not a regular file")
            return
        try:
            content = os.read(descriptor, BYTES_MAX + 1)
        except OSError as error:
            self._identity = None
            self._forget(f"token file {self._path}: {error.strerror}")
            return
        self._take(content, f"token file {self._path}")

    def _current_identity(self) -> tuple[int, ...] | None:
        if self._path is None:
            return None
        try:
            return identity(self._path.stat())
        except OSError:
            return None

    def _take(self, content: bytes, place: str) -> None:
        token = content.removeprefix(b"\xef\xbb\xbf").strip()  # some editors begin a file with a byte order mark
        if len(token) > BYTES_MAX:
            self._forget(f"{place}: larger than {BYTES_MAX} bytes, which is no token")
        elif not token:
            self._forget(f"{place}: empty")
        elif not all(0x21 <= byte <= 0x7E for byte in token):  # noqa: PLR2004 - the visible characters of ASCII
            self._forget(f"{place}: holds a space, a line break or a character that an HTTP header cannot carry")
        else:
            self._value = token.decode("ascii")
            self.problem = None

    def _forget(self, problem: str) -> None:
        self._value = None
        self.problem = problem


def identity(status: os.stat_result) -> tuple[int, ...]:
    """Differs between two versions of a file, whether it was rewritten or replaced by another file."""
    return (status.st_mtime_ns, status.st_ctime_ns, status.st_size, status.st_ino, status.st_dev)
