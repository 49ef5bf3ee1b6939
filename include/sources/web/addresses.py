"""
Where a crawl may go: http and https, to addresses of the public internet, or to what the declaration allows by name.

A page says where to go next, so its author could send us to a service inside our own network. A name is resolved once,
every address that it has is checked, and the connection is made to one of those very addresses: no second look-up can
give another one.
"""

from __future__ import annotations

import ipaddress
import re
import socket
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any
from urllib.parse import SplitResult, quote, urljoin, urlsplit

from include.errors import SourceUnavailableError, UnsafeAddressError

PORTS = {"http": 80, "https": 443}
_NAT64 = ipaddress.ip_network("64:ff9b::/96")
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_NOT_PLAIN = re.compile(r"[^\x21-\x7e]")
_OWN_PATH = re.compile(r"(?:/[A-Za-z0-9_~%=&-][A-Za-z0-9._~%=&-]*)+")
_SAFE = "%/:@!$&'()*+,;=~?[]"
Resolve = Callable[..., list[Any]]


@dataclass(frozen=True, kw_only=True)
class Guard:
    """What is allowed beside public addresses (`host:port`), and how names are resolved."""

    allowed: frozenset[str]
    resolve: Resolve = socket.getaddrinfo

    def addresses_of(self, host: str, port: int) -> list[tuple[int, Any]]:
        """
        Resolve a name to what may be connected to: pairs of family and socket address.

        Raises
        ------
        UnsafeAddressError
            If one of its addresses is not public, and the name is not allowed.
        SourceUnavailableError
            If the name has no address now.

        """
        try:
            found = self.resolve(host, port, type=socket.SOCK_STREAM)
        except (OSError, UnicodeError) as error:
            raise SourceUnavailableError(
                f"{host}: the name has no address now ({type(error).__name__}): retry, or correct it"
            ) from None
        if name_of_host(host, port) not in self.allowed:
            for *_, address in found:
                if not is_public(address[0]):
                    raise UnsafeAddressError(
                        f"{host}:{port} resolves to an address that is not public: nothing was sent there; if the host "
                        f"is meant, allow it by source.allow_private_hosts=({name_of_host(host, port)!r},)"
                    )
        return [(family, address) for family, *_, address in found]


def is_public(text: str) -> bool:
    """Tell whether an IP address is one of the public internet; an IPv4 address inside an IPv6 one counts by itself."""
    try:
        address = ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return False
    for inner in _inner_addresses(address):
        if not is_public(str(inner)):
            return False
    return address.is_global and not (address.is_multicast or address.is_reserved or address.is_unspecified)


def _inner_addresses(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> list[ipaddress.IPv4Address]:
    if isinstance(address, ipaddress.IPv4Address):
        return []
    inner = [address.ipv4_mapped, address.sixtofour, *(address.teredo or ())]
    if address in _NAT64 or int(address) >> 32 == 0:  # the latter: the retired "IPv4-compatible" form
        inner.append(ipaddress.IPv4Address(int(address) & 0xFFFFFFFF))
    return [found for found in inner if found is not None]


def name_of_host(host: str, port: int) -> str:
    """`host:port` as the declaration writes it."""
    return f"{host.lower().strip('[]')}:{port}"


def plain_address(address: str, *, base: str = "") -> str:
    """
    Bring an address into the one form under which a page is archived: absolute, lower-case host, no default port, no
    fragment; what stands in it as it may not (a space, an umlaut) is percent-encoded, as browsers do.

    Raises
    ------
    UnsafeAddressError
        If it is no address of http or https, or holds a user name, a backslash or a control character.

    """
    try:
        parts = urlsplit(urljoin(base, address.strip()))
        port = parts.port
    except ValueError:
        raise UnsafeAddressError(
            f"{shown(address)}: is no address of a page: correct the link, or leave it out of source.follow"
        ) from None
    if parts.scheme not in PORTS or not parts.hostname:
        raise UnsafeAddressError(f"{shown(address)}: only http:// and https:// addresses are crawled")
    if "@" in parts.netloc or "\\" in parts.netloc or " " in parts.netloc or _CONTROL.search(address.strip()):
        raise UnsafeAddressError(
            f"{shown(address)}: holds a user name, a backslash or a space: nothing is sent to such an address"
        )
    return _rebuilt(parts, port)


def is_own_path(link: str) -> bool:
    """
    Tell whether a link is a plain path on its page's own host, as by far most are: no look at its parts
    is needed then.
    """
    return _OWN_PATH.fullmatch(link) is not None


def on_own_host(address: str, path: str) -> str:
    """Address of such a path, as the long way gives it."""
    return f"{'/'.join(address.split('/', 3)[:3])}{path}"


def _rebuilt(parts: SplitResult, port: int | None) -> str:
    host = (parts.hostname or "").lower()
    host = f"[{host}]" if ":" in host else host
    netloc = host if port in {None, PORTS[parts.scheme]} else f"{host}:{port}"
    return parts._replace(
        netloc=netloc, path=_quoted(parts.path) or "/", query=_quoted(parts.query), fragment=""
    ).geturl()


def _quoted(text: str) -> str:
    return quote(text, safe=_SAFE) if _NOT_PLAIN.search(text) else text


@lru_cache(maxsize=4096)
def host_of(address: str) -> str:
    """`host:port` of a plain address."""
    parts = urlsplit(address)
    return name_of_host(parts.hostname or "", parts.port or PORTS[parts.scheme])


def shown(address: str) -> str:
    """Show an address in a message: without its query, which may hold a secret, and not at any length."""
    bare = address.partition("?")[0].partition("#")[0]
    scheme, separator, rest = bare.partition("://")
    return f"{scheme}{separator}{rest.rpartition('@')[2] if '@' in rest.partition('/')[0] else rest}"[:200]
