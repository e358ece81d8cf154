"""Find the client's address and protocol: read the forwarding header from right to left, through trusted proxies only.

It must not know sessions. Tornado's own ``xheaders`` is not used, because it trusts every client.
"""

from __future__ import annotations

import ipaddress
import re
import socket
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from typing import NamedTuple

from tornado.httputil import HTTPServerRequest

__all__ = ["UNIX", "Network", "Origin", "Proxies", "is_forwarded", "network", "plain_address"]

Network = ipaddress.IPv4Network | ipaddress.IPv6Network

#: The name of a unix socket's peer in ``trusted_proxies`` and in nginx's ``$remote_addr``.
UNIX = "unix:"
# Missing on Windows.
_AF_UNIX = getattr(socket, "AF_UNIX", None)

# Limits of the number of hops and of the characters in one: a client may send a header of 64 KiB.
_MAX_HOPS = 32
_MAX_HOP = 256
_MAPPED = ipaddress.IPv6Network("::ffff:0:0/96")
_FORWARDED_PAIR = re.compile(r'\s*([A-Za-z]+)\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^\s;,"]*))\s*')
# RFC 7239 6: an IPv6 address has brackets; a port is a number, or an obfuscated name that starts with "_".
_PORT = r"(?::(?:[0-9]{1,5}|_[0-9A-Za-z._-]+))?"
_in_brackets = re.compile(rf"\[([^\[\]]*)\]{_PORT}").fullmatch
_with_port = re.compile(rf"([0-9.]+){_PORT}").fullmatch
_SECURE = frozenset({"https", "wss"})
_FORWARDING = frozenset(
    {
        "forwarded",
        "via",
        "x-real-ip",
        "x-remote-ip",
        "x-remote-addr",
        "x-scheme",
        "x-client-ip",
        "x-cluster-client-ip",
        "x-original-forwarded-for",
        "x-envoy-external-address",
        "true-client-ip",
        "cf-connecting-ip",
        "cf-connecting-ipv6",
        "fastly-client-ip",
    }
)


class Origin(NamedTuple):
    """The origin of a request: the client's address, and whether the client used https."""

    ip: str
    secure: bool


class Proxies:
    """Finds the origin of requests.

    Args:
        trusted: addresses or networks of your proxies, such as ``["127.0.0.1", "10.0.0.0/8"]``; ``"unix:"`` means connections
            over a unix socket.
        header: the header set by the proxies, ``"X-Forwarded-For"`` (with ``X-Forwarded-Proto``) or ``"Forwarded"``. The
            other one is ignored, because proxies pass on a client's forged copy of it.
    """

    def __init__(self, trusted: Sequence[str] = (), header: str = "X-Forwarded-For") -> None:
        self._trusts_unix = UNIX in trusted
        self._trusted = [network(text) for text in trusted if text != UNIX]
        self._trusts_any = bool(trusted)
        self._reads_forwarded = header.lower() == "forwarded"

    def of(self, request: HTTPServerRequest) -> Origin:
        """Return the origin of a Tornado request. The address is ``""`` behind a unix socket that is not trusted."""
        peer, protocol = _peer(request), request.protocol
        return self.origin(peer, protocol, request.headers) if self._trusts_any else _direct(peer, protocol)

    def is_trusted(self, request: HTTPServerRequest) -> bool:
        """Return whether a request comes directly from a trusted proxy, so that the headers it sets can be believed."""
        return self._trusts_any and self._is_trusted(_known(_peer(request)))

    def origin(self, remote_ip: str, protocol: str, headers: Mapping[str, str]) -> Origin:
        """Return the origin of a request.

        Args:
            remote_ip: address of the connection's peer; ``"unix:"`` for a unix socket.
            protocol: ``"http"`` or ``"https"``, of the connection itself.
            headers: of the request; used only if ``remote_ip`` is a trusted proxy.
        """
        secure = protocol == "https"
        ip = _known(remote_ip)
        if not self._trusts_any or not self._is_trusted(ip):
            return Origin(_shown(ip), secure)
        for address, proto in self._hops(headers):
            if proto:
                secure = proto in _SECURE
            plain = UNIX if address == UNIX else _address(address)
            if plain is None:
                # This hop is unknown, so everything to the left of it may be forged.
                break
            ip = plain
            if not self._is_trusted(ip):
                break
        return Origin(_shown(ip), secure)

    def trusts(self, remote_ip: str) -> bool:
        """Return whether a connection's peer is a trusted proxy: an address, or ``"unix:"``."""
        return self._is_trusted(_known(remote_ip))

    def _is_trusted(self, ip: str) -> bool:
        if ip == UNIX:
            return self._trusts_unix
        return any(_contains(part, ip) for part in self._trusted)

    def _hops(self, headers: Mapping[str, str]) -> Iterable[tuple[str, str]]:
        """Yield ``(address, protocol)`` of the hops, nearest first."""
        if self._reads_forwarded:
            return map(_parse_forwarded, _last_elements(headers.get("Forwarded", "")))
        addresses = _last_parts(headers.get("X-Forwarded-For", ""))
        protocols = [part.lower() for part in _last_parts(headers.get("X-Forwarded-Proto", ""))]
        # Each proxy adds an address, but most set a single protocol, which applies to every hop.
        if len(protocols) != len(addresses):
            protocols = protocols[:1] * len(addresses)
        return zip(addresses, protocols, strict=True)


def _peer(request: HTTPServerRequest) -> str:
    # Tornado reports 0.0.0.0 for a connection without an address, so check the kind of the socket.
    try:
        family = request.connection.context.address_family  # type: ignore[union-attr]
    except AttributeError:
        family = None
    return UNIX if family is not None and family == _AF_UNIX else request.remote_ip or ""


def is_forwarded(headers: Iterable[str]) -> bool:
    """Return whether a header shows that a proxy forwarded the request. If so, the client may be on another machine."""
    return any(
        name in _FORWARDING
        or "forwarded" in name
        or name.startswith("x-original-")
        or name.endswith(("-clientip", "client-ip"))
        for name in map(str.lower, headers)
    )


def plain_address(text: str) -> str:
    """Return an address in its normal form: an IPv4-mapped IPv6 address becomes IPv4, a zone is dropped.

    Raises:
        ValueError: the text is not an address.
    """
    address = ipaddress.ip_address(text)
    return str(getattr(address, "ipv4_mapped", None) or address).partition("%")[0]


def network(text: str) -> Network:
    """Return a network. A single address becomes a network of one; an IPv4-mapped IPv6 network becomes IPv4.

    Raises:
        ValueError: the text is neither an address nor a network.
    """
    found = ipaddress.ip_network(text, strict=False)
    if isinstance(found, ipaddress.IPv6Network) and found.subnet_of(_MAPPED):
        inside = int(found.network_address) & 0xFFFFFFFF
        return ipaddress.IPv4Network((inside, found.prefixlen - 96))
    return found


@lru_cache(4096)
def _known(remote_ip: str) -> str:
    """Return the address of a connection in its normal form; any other text is returned unchanged."""
    try:
        return plain_address(remote_ip)
    except ValueError:
        return remote_ip


@lru_cache(4096)
def _contains(part: Network, ip: str) -> bool:
    try:
        return ipaddress.ip_address(ip) in part
    except ValueError:
        return False


@lru_cache(4096)
def _direct(remote_ip: str, protocol: str) -> Origin:
    """Return the origin of a request that no trusted proxy forwards."""
    return Origin(_shown(_known(remote_ip)), protocol == "https")


def _shown(ip: str) -> str:
    return "" if ip == UNIX else ip


def _last_parts(header: str) -> list[str]:
    """Return the last 32 parts of a comma-separated header, last one first."""
    return [part.strip(" \t") for part in reversed(header.rsplit(",", _MAX_HOPS)[-_MAX_HOPS:])]


def _last_elements(header: str) -> Iterable[str]:
    """Yield the elements of a ``Forwarded`` header, last one first.

    Reading starts from the right, so a quote that a client leaves open cannot hide the element added by our proxy. Quotes are
    respected, so a comma inside a value that our proxy quotes, such as ``host``, does not start a hop.
    """
    end = len(header)
    for _ in range(_MAX_HOPS):
        begin = _begin_of_element(header, end)
        if begin is None:
            # The element is too long for one hop, so this hop is unknown.
            yield ""
            return
        yield header[begin:end].strip(" \t")
        if begin == 0:
            return
        end = begin - 1


def _begin_of_element(header: str, end: int) -> int | None:
    """Return the start of the element that ends before ``end``; ``None`` if the element is too long."""
    low = max(0, end - _MAX_HOP - 1)
    at, is_quoted = end, False
    while (at := max(header.rfind(",", low, at), header.rfind('"', low, at))) >= 0:
        if header[at] == '"':
            is_quoted ^= not _is_escaped(header, low, at)
        elif not is_quoted:
            return at + 1
    return 0 if low == 0 else None


def _is_escaped(text: str, low: int, at: int) -> bool:
    before = text[low:at]
    return (len(before) - len(before.rstrip("\\"))) % 2 == 1


def _parse_forwarded(element: str) -> tuple[str, str]:
    found = _FORWARDED_PAIR.findall(element)
    pairs = {name.lower(): quoted or bare for name, quoted, bare in found}
    if len(element) > _MAX_HOP or len(pairs) < len(found):
        # A name may occur only once. The client has injected the second one, into a value that the proxy did not quote.
        return "", ""
    return pairs.get("for", ""), pairs.get("proto", "").lower()


def _address(text: str) -> str | None:
    """Parse ``1.2.3.4``, ``1.2.3.4:80``, ``2001:db8::1`` or ``[2001:db8::1]:80``; return ``None`` for other text.

    RFC 7239 also allows ``unknown`` and names such as ``_gateway``, which are not addresses.
    """
    if len(text) > _MAX_HOP:
        return None
    found = _in_brackets(text) or _with_port(text)
    try:
        return plain_address(found[1] if found else text)
    except ValueError:
        return None
