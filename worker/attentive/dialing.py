"""Opens a connection: TCP, a proxy's tunnel, TLS. If it fails, says why in plain words."""

from __future__ import annotations

import asyncio
import errno
import os
import socket
import ssl
from collections.abc import Callable, Mapping
from functools import partial
from http import HTTPStatus
from itertools import chain, zip_longest
from typing import Final, NamedTuple, TypeAlias

from worker.asides import in_daemon_thread
from worker.attentive.connection import Connection
from worker.attentive.http1 import written
from worker.attentive.message import NoAnswer, NoConnection, ProxyRefused
from worker.attentive.proxies import Proxy, proxy_for
from worker.attentive.trust import Trust

NEXT_ADDRESS_SECONDS: Final = 0.25
"""How long to wait for one address before also trying the next (RFC 8305)."""
_HANDSHAKE_SECONDS: Final = 3_600.0  # asyncio's own limit; the exchange's deadline comes first

_NO_ROUTE = frozenset(
    {
        errno.ENETUNREACH,
        errno.EHOSTUNREACH,
        errno.ENETDOWN,
        errno.EHOSTDOWN,
        errno.EADDRNOTAVAIL,
        errno.EAFNOSUPPORT,  # a kernel without IPv6
    }
)
_UNKNOWN_NAME = frozenset({socket.EAI_NONAME, getattr(socket, "EAI_NODATA", socket.EAI_NONAME)})
# OpenSSL's X509_V_ERR_*, stable since 1.1. For other codes we use OpenSSL's own text.
_CERTIFICATES = {
    9: "the certificate of {} is not yet valid",
    10: "the certificate of {} has expired",
    18: "the certificate of {} is from an unknown authority",
    19: "the certificate of {} is from an unknown authority",
    20: "the certificate of {} is from an unknown authority",
    21: "the certificate of {} is from an unknown authority",
    62: "the certificate of {} is for another host name",
    64: "the certificate of {} is for another address",
}
_UNKNOWN_AUTHORITY = frozenset({18, 19, 20, 21})

_SocketAddress: TypeAlias = tuple[str, int] | tuple[str, int, int, int] | tuple[int, bytes]
_Address: TypeAlias = tuple[socket.AddressFamily, _SocketAddress]


class Origin(NamedTuple):
    """Where requests go. Connections to one origin are interchangeable."""

    is_tls: bool
    host: str
    port: int


class Opening:
    """Opens one connection. `doing` says what it is at: the words for a deadline that passes now."""

    def __init__(
        self, origin: Origin, trust: Trust, environ: Mapping[str, str], made: Callable[[Connection], None]
    ) -> None:
        """`made` is called with the connection as soon as it has a socket."""
        self._origin = origin
        self._made = made
        self._trust = trust
        self._environ = environ
        self._loop = asyncio.get_running_loop()
        self.doing = ""

    async def connection(self) -> Connection:
        """Opens it. Uses a proxy only for https: with plain http, the proxy would see the token.

        Raises:
            NoConnection: it cannot be opened; says why.
            ValueError: the environment's proxy or authorities cannot be used.
        """
        is_tls, host, port = self._origin
        try:  # asyncio does this in a callback, and an error in a callback stops the senders
            host.encode("idna")
        except UnicodeError:
            raise NoConnection(f"{host} is not a valid host name") from None
        proxy = proxy_for(host, port, self._environ) if is_tls else None
        if proxy is None:
            connection = await self._connected(host, port, _place_of(host, port))
        else:
            connection = await self._connected(proxy.host, proxy.port, _place(proxy))
        self._made(connection)
        try:
            if proxy is not None:
                await self._tunnel(connection, proxy)
            if is_tls:
                await self._encrypt(connection, host)
        except BaseException:
            connection.abort()
            raise
        return connection

    async def _connected(self, host: str, port: int, place: str) -> Connection:
        self.doing = f"looking up the name {host}"
        try:
            found = await in_daemon_thread(partial(socket.getaddrinfo, host, port, type=socket.SOCK_STREAM))
        except socket.gaierror as error:
            problem = "does not exist" if error.errno in _UNKNOWN_NAME else "cannot be looked up at the moment"
            raise NoConnection(f"the name {host} {problem}") from None
        except (UnicodeError, OSError):  # the name of a proxy is not valid; or no file descriptor is left
            raise NoConnection(f"the name {host} cannot be looked up") from None
        self.doing = f"connecting to {place}"
        try:
            connected = await self._first([(family, address) for family, _, _, _, address in found])
            _, connection = await self._loop.create_connection(lambda: Connection(self._loop), sock=connected)
        except OSError as error:
            raise NoConnection(_unreachable(error, place)) from None
        return connection

    async def _first(self, addresses: list[_Address]) -> socket.socket:
        """Tries the addresses: the next one after a failure, or after `NEXT_ADDRESS_SECONDS`. Returns the first socket.

        Raises:
            OSError: All failed. It is the error of an address that has a route, if there is one.
        """
        waiting = _families_in_turn(addresses)
        pending: set[asyncio.Task[socket.socket]] = set()
        errors: list[BaseException] = [OSError(errno.EHOSTUNREACH, os.strerror(errno.EHOSTUNREACH))]
        try:
            while waiting or pending:
                if waiting:
                    pending.add(self._loop.create_task(self._socket(*waiting.pop(0))))
                more = NEXT_ADDRESS_SECONDS if waiting else None
                done, _ = await asyncio.wait(pending, timeout=more, return_when=asyncio.FIRST_COMPLETED)
                for task in done:
                    pending.discard(task)
                    error = task.exception()
                    if error is None:
                        return task.result()
                    errors.append(error)
        finally:
            await _give_up(pending)
        # A host without IPv6 has no route to half of the addresses: the other half tells more.
        raise next((error for error in errors if getattr(error, "errno", None) not in _NO_ROUTE), errors[0])

    async def _socket(self, family: socket.AddressFamily, address: _SocketAddress) -> socket.socket:
        made = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
        try:
            made.settimeout(0)
            await self._loop.sock_connect(made, address)
        except BaseException:
            made.close()
            raise
        return made

    async def _tunnel(self, connection: Connection, proxy: Proxy) -> None:
        place = _place(proxy)
        if proxy.is_tls:
            await self._encrypt(connection, proxy.host)
        self.doing = f"waiting for the tunnel of {place}"
        target = _place_of(self._origin.host, self._origin.port).encode("ascii")
        headers = [(b"Host", target)]
        if proxy.authorization is not None:
            headers.append((b"Proxy-Authorization", proxy.authorization.encode("ascii")))
        try:
            answer = await connection.begin(b"CONNECT", written(b"CONNECT", target, headers, b""), lambda: None)
        except NoAnswer:
            raise ProxyRefused(f"{place} gave no answer to CONNECT; is it an HTTP proxy?") from None
        if answer.status == HTTPStatus.PROXY_AUTHENTICATION_REQUIRED:
            refused = (
                "asks for a user and a password" if proxy.authorization is None else "refused the user or password"
            )
            raise ProxyRefused(f"{place} {refused} (407)")
        if answer.status not in range(200, 300):
            raise ProxyRefused(f"{place} answered {answer.status} to CONNECT")

    async def _encrypt(self, connection: Connection, host: str) -> None:
        self.doing = f"waiting for the TLS handshake with {host}"
        context = self._trust.context()
        if not connection.is_open:
            raise NoConnection(f"{host} closed the connection, or spoke, before TLS began")
        try:
            transport = await self._loop.start_tls(
                connection.transport,
                connection,
                context,
                server_hostname=host.rstrip("."),
                ssl_handshake_timeout=_HANDSHAKE_SECONDS,
            )
        except OSError as error:
            raise NoConnection(self._untrusted(error, host)) from None
        if transport is None:  # the connection was lost in the turn of the loop in which the handshake ended
            raise NoConnection(f"{host} closed the connection after the TLS handshake")
        connection.upgraded(transport)

    def _untrusted(self, error: OSError, host: str) -> str:
        if isinstance(error, ssl.SSLCertVerificationError):
            words = _CERTIFICATES.get(error.verify_code, "the certificate of {} was refused").format(host)
            if error.verify_code not in _CERTIFICATES:
                words += f": {error.verify_message}"
            elif error.verify_code in _UNKNOWN_AUTHORITY and self._trust.problem is not None:
                words += f"; {self._trust.problem}"
            return words
        if isinstance(error, ssl.SSLError) and error.reason:
            return f"TLS with {host} failed: {error.reason.lower().replace('_', ' ')}"
        return f"{host} closed the connection during the TLS handshake"


def _place_of(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _place(proxy: Proxy) -> str:
    return f"the proxy {_place_of(proxy.host, proxy.port)}"


def _unreachable(error: OSError, place: str) -> str:
    if isinstance(error, ConnectionRefusedError):
        return f"{place} refused the connection"
    if error.errno in _NO_ROUTE:
        return f"no route to {place}"
    if isinstance(error, TimeoutError):
        return f"{place} did not answer"
    return f"{place}: {os.strerror(error.errno) if error.errno else 'the connection failed'}"


def _families_in_turn(addresses: list[_Address]) -> list[_Address]:
    """The resolver's preferred family first, then alternating. So a broken IPv6 costs one wait, not one per address."""
    preferred = [one for one in addresses if one[0] == addresses[0][0]]
    others = [one for one in addresses if one[0] != addresses[0][0]]
    return [one for one in chain.from_iterable(zip_longest(preferred, others)) if one is not None]


async def _give_up(tasks: set[asyncio.Task[socket.socket]]) -> None:
    """Cancels the other attempts and closes their sockets, also one that was connected in this turn of the loop."""
    for task in tasks:
        task.cancel()
    for made in await asyncio.gather(*tasks, return_exceptions=True):
        if isinstance(made, socket.socket):
            made.close()
