"""Who sent a request, and over what: the forwarding header read right to left, through trusted proxies only.

It must not know sessions. Tornado's own ``xheaders`` is not used, since it believes anyone.
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

#: How ``trusted_proxies`` and nginx's ``$remote_addr`` name the other end of a unix socket.
UNIX = "unix:"
# Missing on Windows.
_AF_UNIX = getattr(socket, "AF_UNIX", None)

# Hops that are read, and characters that one may take: a client may send a header of 64 KiB.
_MAX_HOPS = 32
_MAX_HOP = 256
_MAPPED = ipaddress.IPv6Network("::ffff:0:0/96")
_FORWARDED_PAIR = re.compile(r'\s*([A-Za-z]+)\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^\s;,"]*))\s*')
# RFC 7239 6: an IPv6 address stands in brackets; a port is a number or, hidden, begins with "_".
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
    """Where a request came from: the client's address, and whether it spoke https to the first proxy."""

    ip: str
    secure: bool


class Proxies:
    """Finds the origin of a request.

    Args:
        trusted: addresses or networks of our own proxies, such as ``["127.0.0.1", "10.0.0.0/8"]``; ``"unix:"`` is whatever
            connects through a unix socket.
        header: the one header that our proxies write, ``"X-Forwarded-For"`` (with ``X-Forwarded-Proto``) or ``"Forwarded"``; the
            other one is ignored, since a client may send it through them.
    """

    def __init__(self, trusted: Sequence[str] = (), header: str = "X-Forwarded-For") -> None:
        self._trusts_unix = UNIX in trusted
        self._trusted = [network(text) for text in trusted if text != UNIX]
        self._trusts_any = bool(trusted)
        self._reads_forwarded = header.lower() == "forwarded"

    def of(self, request: HTTPServerRequest) -> Origin:
        """Where a request came from. The address is ``""`` where nobody knows it: behind a unix socket that is not trusted."""
        # Tornado calls whatever has no address 0.0.0.0; only the kind of socket tells it from that address.
        context = getattr(request.connection, "context", None)
        is_unix = _AF_UNIX is not None and getattr(context, "address_family", None) == _AF_UNIX
        remote_ip = UNIX if is_unix else request.remote_ip or ""
        return self.origin(remote_ip, request.protocol, request.headers)

    def origin(self, remote_ip: str, protocol: str, headers: Mapping[str, str]) -> Origin:
        """Where a request came from.

        Args:
            remote_ip: the address at the other end of the connection; ``"unix:"`` for a unix socket.
            protocol: ``"http"`` or ``"https"``, of the connection itself.
            headers: the request's; used only when ``remote_ip`` is a trusted proxy.
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
                # Nobody knows who that was; what stands further left was written by anybody.
                break
            ip = plain
            if not self._is_trusted(ip):
                break
        return Origin(_shown(ip), secure)

    def _is_trusted(self, ip: str) -> bool:
        if ip == UNIX:
            return self._trusts_unix
        return any(_contains(part, ip) for part in self._trusted)

    def _hops(self, headers: Mapping[str, str]) -> Iterable[tuple[str, str]]:
        """``(address, protocol)`` of the hops, the nearest first."""
        if self._reads_forwarded:
            return map(_parse_forwarded, _last_elements(headers.get("Forwarded", "")))
        addresses = _last_parts(headers.get("X-Forwarded-For", ""))
        protocols = [part.lower() for part in _last_parts(headers.get("X-Forwarded-Proto", ""))]
        # Proxies add an address each but mostly set one protocol; it is then the first proxy's, and belongs to every hop.
        if len(protocols) != len(addresses):
            protocols = protocols[:1] * len(addresses)
        return zip(addresses, protocols, strict=True)


def is_forwarded(headers: Iterable[str]) -> bool:
    """Whether any header says that a proxy passed the request on, whoever wrote it: the request is not from this machine then."""
    return any(name.lower() in _FORWARDING or name.lower().startswith("x-forwarded") for name in headers)


def plain_address(text: str) -> str:
    """The one spelling of an address; IPv4 inside IPv6 becomes IPv4, a zone is dropped.

    Raises:
        ValueError: the text is no address.
    """
    address = ipaddress.ip_address(text)
    return str(getattr(address, "ipv4_mapped", None) or address).partition("%")[0]


def network(text: str) -> Network:
    """A network, or an address as the network that holds nothing else; IPv4 inside IPv6 becomes IPv4.

    Raises:
        ValueError: the text is neither.
    """
    found = ipaddress.ip_network(text, strict=False)
    if isinstance(found, ipaddress.IPv6Network) and found.subnet_of(_MAPPED):
        inside = int(found.network_address) & 0xFFFFFFFF
        return ipaddress.IPv4Network((inside, found.prefixlen - 96))
    return found


@lru_cache(4096)
def _known(remote_ip: str) -> str:
    """The address of a connection, in its one spelling; what is no address stays as it is."""
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


def _shown(ip: str) -> str:
    return "" if ip == UNIX else ip


def _last_parts(header: str) -> list[str]:
    """The last parts of a comma-separated header, the last one first, so many that the way through our proxies ends before."""
    return [part.strip(" \t") for part in reversed(header.rsplit(",", _MAX_HOPS)[-_MAX_HOPS:])]


def _last_elements(header: str) -> Iterable[str]:
    """The elements of a ``Forwarded`` header, the last one first.

    Read from the right, so that a quote which a client left open swallows nothing of what our proxy added; and with its quotes, so
    that a comma in what our proxy quotes of the client's, such as ``host``, begins no hop.
    """
    end = len(header)
    for _ in range(_MAX_HOPS):
        begin = _begin_of_element(header, end)
        if begin is None:
            # Too long for one hop. Nobody knows who that was.
            yield ""
            return
        yield header[begin:end].strip(" \t")
        if begin == 0:
            return
        end = begin - 1


def _begin_of_element(header: str, end: int) -> int | None:
    """Where the element that ends before ``end`` begins; ``None`` when it is too long."""
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
        # A name may occur once. A second one was written by the client, into a value that the proxy did not quote.
        return "", ""
    return pairs.get("for", ""), pairs.get("proto", "").lower()


def _address(text: str) -> str | None:
    """The address in ``1.2.3.4``, ``1.2.3.4:80``, ``2001:db8::1`` or ``[2001:db8::1]:80``; ``None`` for anything else.

    RFC 7239 allows ``unknown`` and hidden names such as ``_gateway``: those are no address either.
    """
    if len(text) > _MAX_HOP:
        return None
    found = _in_brackets(text) or _with_port(text)
    try:
        return plain_address(found[1] if found else text)
    except ValueError:
        return None
