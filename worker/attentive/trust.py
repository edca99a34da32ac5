"""The authorities that the destination's certificate is verified against."""

from __future__ import annotations

import os
import ssl
from collections.abc import Mapping
from pathlib import Path

import certifi

from worker.attentive.token import identity


class Trust:
    """The authorities in SSL_CERT_FILE or SSL_CERT_DIR if set, else certifi's. Reads them again when they change."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._context: ssl.SSLContext | None = None
        self._identity: tuple[int, ...] | None = None
        self.problem: str | None = None
        """Why the changed file cannot be used. Until it can, those read before it count. None if all is well."""
        name = next((name for name in ("SSL_CERT_FILE", "SSL_CERT_DIR") if environ.get(name)), None)
        self._is_folder = name == "SSL_CERT_DIR"
        self._path = Path(environ[name] if name else certifi.where())
        self._place = f"{name or 'certifi'} names {self._path}"

    def context(self) -> ssl.SSLContext:
        """The context for the next TLS connection. Costs one `stat`, and 20 milliseconds if the file has changed.

        Raises:
            ValueError: no authorities were ever read. The text names the variable, the path and the reason.
        """
        found = self._found()
        if self._context is None or found != self._identity:
            self._load(found)
        if self._context is None:
            raise ValueError(self.problem)
        return self._context

    def _found(self) -> tuple[int, ...] | None:
        try:
            return identity(self._path.stat())
        except OSError:
            return None

    def _load(self, found: tuple[int, ...] | None) -> None:
        self._identity = found
        try:
            context = self._read()
        except ValueError as error:
            reason = str(error)
        except ssl.SSLError:
            reason = "it holds no certificate"
        except OSError as error:
            reason = os.strerror(error.errno) if error.errno else "it cannot be read"
        else:
            self._context, self.problem = context, None
            return
        self.problem = f"{self._place}, which cannot be used: {reason}"

    def _read(self) -> ssl.SSLContext:
        if self._is_folder:
            next(self._path.iterdir(), None)  # OpenSSL reads it later, and reports no error then: so try now
            context = ssl.create_default_context(capath=self._path)
        elif self._path.is_fifo():
            raise ValueError("it is a named pipe")  # reading it would block the loop of all calls
        else:
            context = ssl.create_default_context(cafile=self._path)
        context.set_alpn_protocols(["http/1.1"])
        return context
