"""Chooses the proxy for a host: by HTTPS_PROXY, ALL_PROXY and NO_PROXY, as curl and most libraries read them."""

from __future__ import annotations

import base64
import contextlib
import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import SplitResult, unquote_to_bytes, urlsplit

_PORTS = {"http": 80, "https": 443}


@dataclass(frozen=True, slots=True)
class Proxy:
    """A proxy that opens tunnels by CONNECT. `is_tls`: the connection to the proxy itself is TLS."""

    host: str
    port: int
    is_tls: bool
    authorization: str | None = field(default=None, repr=False)
    """The Proxy-Authorization header, where the environment names a user."""


def proxy_for(host: str, port: int, environ: Mapping[str, str]) -> Proxy | None:
    """The proxy for `https://host:port`. None: connect directly.

    Raises:
        ValueError: the environment names a proxy that cannot be used. The text names the variable and not its value,
            which may hold a password.
    """
    if is_exempt(host, port, environ.get("no_proxy") or environ.get("NO_PROXY") or ""):
        return None  # and the proxy may be of a kind that is not supported
    for name in ("https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"):
        if environ.get(name, "").strip():
            return _parsed(name, environ[name].strip())
    return None


def is_exempt(host: str, port: int, no_proxy: str) -> bool:
    """Whether NO_PROXY names the host. Ignores entries that make no sense.

    An entry is `*`, a name (which stands for its subdomains too; `.name` and `*.name` are the same), an address, or a
    network such as 10.0.0.0/8; a port after it narrows it. Names are compared without regard to case.
    """
    host = host.strip("[]").rstrip(".").lower()
    return any(_names(entry, host, port) for entry in no_proxy.lower().replace(",", " ").split())


def _names(entry: str, host: str, port: int) -> bool:
    if entry == "*":
        return True
    entry = entry.rpartition("://")[2]  # some write URLs
    network = _network(entry)
    if network is None:
        entry, port_wanted = _host_and_port(entry)
        if port_wanted is not None and port_wanted != str(port):
            return False
        network = _network(entry)
    if network is not None:
        with contextlib.suppress(ValueError):
            return ipaddress.ip_address(host) in network
        return False
    name = entry.removeprefix("*").strip(".")
    return bool(name) and (host == name or host.endswith(f".{name}"))


def _network(text: str) -> ipaddress.IPv4Network | ipaddress.IPv6Network | None:
    try:
        return ipaddress.ip_network(text.removeprefix("[").removesuffix("]"), strict=False)
    except ValueError:
        return None


def _host_and_port(entry: str) -> tuple[str, str | None]:
    """Splits `[::1]:443` or `name:443`. A bare IPv6 address never gets here: `_names` has read it as a network."""
    host, colon, port = entry.rstrip("/").rpartition(":")
    return (host, port) if colon and port.isdecimal() else (entry.rstrip("/"), None)


def _parsed(name: str, value: str) -> Proxy:
    url = _split(value if "://" in value else f"http://{value}")
    if url is None or not url.hostname:
        raise ValueError(
            f"{name} must be http://host:port or https://host:port; other kinds of proxies are not supported, and "
            "special characters of a password must be percent-encoded"
        )
    authorization = None
    if url.username is not None:
        credentials = unquote_to_bytes(url.username) + b":" + unquote_to_bytes(url.password or "")
        authorization = f"Basic {base64.b64encode(credentials).decode('ascii')}"
    return Proxy(url.hostname, url.port or _PORTS[url.scheme], url.scheme == "https", authorization)


def _split(value: str) -> SplitResult | None:
    """The parts of a proxy's URL. None if it is not valid: not an exception, because its text would quote the URL."""
    with contextlib.suppress(ValueError):
        url = urlsplit(value)
        if url.scheme in _PORTS and (url.port is None or url.port > 0) and not url.path.strip("/"):
            return url
    return None
