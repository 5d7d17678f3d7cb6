"""Which network addresses a client may make the server read from.

An address is judged by what it resolves to, not by how it is written, and is connected to as it was judged: a name is
never resolved a second time.
"""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Callable
from dataclasses import dataclass
from urllib.parse import urlsplit

from rlivs.serving.refusals import Refusal
from rlivs.serving.settings import ServeSettings

DEFAULT_PORTS = {"http": 80, "https": 443, "rtsp": 554}
LONGEST_URL = 2048

Resolver = Callable[[str, int], list[str]]

# Addresses that carry an IPv4 address inside: NAT64, 6to4, Teredo. Who may reach what is behind them is unknown.
_TUNNELS = tuple(ipaddress.ip_network(net) for net in ("64:ff9b::/96", "64:ff9b:1::/48", "2002::/16", "2001::/32"))


@dataclass(frozen=True)
class CheckedAddress:
    """An address that may be read: its parts, and the IP addresses it stood for when it was checked."""

    scheme: str
    credentials: str  # `user:password@`, or empty
    host: str
    port: int
    path: str  # with the query
    addresses: tuple[str, ...]

    @property
    def url(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.scheme}://{self.credentials}{host}:{self.port}{self.path}"


def resolve(host: str, port: int) -> list[str]:
    """Every IP address of `host`. Raises OSError where there is none."""
    return list(dict.fromkeys(str(info[4][0]) for info in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)))


def check_url(url: str, settings: ServeSettings, resolver: Resolver = resolve) -> CheckedAddress:
    """The parts of `url` if a client may have it read. Raises Refusal, naming what is not allowed."""
    if len(url) > LONGEST_URL:
        raise Refusal(f"the address is longer than {LONGEST_URL} characters")
    # What parsers disagree on has no place in an address: they would check one host and connect to another.
    if any(not "!" <= character <= "~" or character in '\\<>"^`{|}' for character in url) or url.count("@") > 1:
        raise Refusal("the address holds characters that must be percent-encoded")
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise Refusal("the address is malformed") from None
    if parts.scheme not in settings.schemes:
        raise Refusal(f"addresses of scheme '{parts.scheme}' are not allowed here; use {', '.join(settings.schemes)}")
    host = (parts.hostname or "").rstrip(".")
    if not host or "%" in host or "#" in url.partition("://")[2].partition("/")[0]:
        raise Refusal("the address names no host")
    if port is None:
        port = DEFAULT_PORTS[parts.scheme]
    credentials = parts.netloc.rpartition("@")[0]
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    addresses = check_host(host, port, settings, resolver)
    return CheckedAddress(parts.scheme, f"{credentials}@" if credentials else "", host, port, path, addresses)


def check_host(host: str, port: int, settings: ServeSettings, resolver: Resolver = resolve) -> tuple[str, ...]:
    """The IP addresses of an allowed host. Raises Refusal if it is not allowed or any of them is not."""
    if not 1 <= port <= 65535:
        raise Refusal("the address has no valid port")
    host = host.lower().rstrip(".")
    if not any(_matches(host, allowed) for allowed in settings.hosts):
        raise Refusal(f"host '{host}' is not allowed here; the server is started with --allow-host {host}")
    try:
        addresses = resolver(host, port)
    except (OSError, UnicodeError):
        addresses = []
    if not addresses:
        raise Refusal(f"host '{host}' has no address; check its name")
    for address in addresses:
        if not is_allowed_address(address, allow_private=settings.allow_private):
            # The address itself is not told: it would map the network behind the server.
            raise Refusal(f"host '{host}' leads to an address that is not public, which is not allowed here")
    return tuple(addresses)


def is_allowed_address(text: str, *, allow_private: bool) -> bool:
    """Whether an IP address may be connected to: public, or with `allow_private` also private and loopback.

    Link-local addresses (cloud metadata services among them), multicast and unspecified ones never are.
    """
    try:
        address = ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return False
    if isinstance(address, ipaddress.IPv6Address):
        if address.ipv4_mapped is not None:
            address = address.ipv4_mapped
        elif any(address in net for net in _TUNNELS):
            return False
    if address.is_link_local or address.is_multicast or address.is_unspecified or address.is_reserved:
        return False
    if isinstance(address, ipaddress.IPv6Address) and address.is_site_local:
        return False
    return allow_private or address.is_global


def without_password(source: str) -> str:
    """A source as it may be shown: a password in its address is left out."""
    scheme, sign, rest = source.partition("://")
    authority, slash, path = rest.partition("/")
    credentials, at, host = authority.rpartition("@")
    if not sign or not at:
        return source
    user = credentials.partition(":")[0]
    return f"{scheme}://{user}:***@{host}{slash}{path}" if ":" in credentials else source


def _matches(host: str, allowed: str) -> bool:
    if allowed == "*":
        return True
    if allowed.startswith("*."):
        return host.endswith(allowed[1:])
    return host == allowed
