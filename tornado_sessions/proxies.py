"""Who sent the request, and over what: ``X-Forwarded-*`` and ``Forwarded`` read right to left through trusted proxies only.

Pure functions of headers. It must not know sessions; Tornado's own ``xheaders`` is not used, since it believes anyone.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Mapping, Sequence
from typing import NamedTuple

__all__ = ["Origin", "Proxies"]

_FORWARDED_PAIR = re.compile(r'\s*([A-Za-z]+)\s*=\s*(?:"([^"]*)"|([^\s;,"]*))\s*')


class Origin(NamedTuple):
    """Where a request came from: the client's address, and whether it spoke https to the first proxy."""

    ip: str
    secure: bool


class Proxies:
    """Finds a request's origin.

    Args:
        trusted: addresses or networks of our own proxies, such as ``["127.0.0.1", "10.0.0.0/8"]``.
    """

    def __init__(self, trusted: Sequence[str] = ()) -> None:
        self._trusted = [ipaddress.ip_network(network, strict=False) for network in trusted]

    def origin(self, remote_ip: str, protocol: str, headers: Mapping[str, str]) -> Origin:
        """Where the request came from.

        Args:
            remote_ip: the address at the other end of the connection.
            protocol: ``"http"`` or ``"https"``, of the connection itself.
            headers: the request's; used only when ``remote_ip`` is a trusted proxy.
        """
        secure = protocol == "https"
        if not self._trusted or not self._is_trusted(remote_ip):
            return Origin(remote_ip, secure)
        hops = _hops(headers)
        ip = remote_ip
        for address, proto in reversed(hops):
            if proto:
                secure = proto == "https"
            plain = _address(address)
            if plain is None:
                break
            ip = plain
            if not self._is_trusted(ip):
                break
        return Origin(ip, secure)

    def _is_trusted(self, ip: str) -> bool:
        try:
            address = ipaddress.ip_address(ip)
        except ValueError:
            # A unix socket has no address; only our own proxy can have opened it.
            return ip in ("", "unix")
        mapped = getattr(address, "ipv4_mapped", None)
        return any(address in network or (mapped is not None and mapped in network) for network in self._trusted)


def _hops(headers: Mapping[str, str]) -> list[tuple[str, str]]:
    """``(address, protocol)`` of each hop, the client first. ``Forwarded`` (RFC 7239) wins over ``X-Forwarded-For``."""
    forwarded = headers.get("Forwarded")
    if forwarded:
        return [_parse_forwarded(element) for element in forwarded.split(",")]
    addresses = [part.strip() for part in headers.get("X-Forwarded-For", "").split(",")]
    protocols = [part.strip().lower() for part in headers.get("X-Forwarded-Proto", "").split(",")]
    # Proxies add an address each but mostly set one protocol; it is then the first proxy's, and belongs to every hop.
    if len(protocols) != len(addresses):
        protocols = [protocols[-1]] * len(addresses)
    return list(zip(addresses, protocols, strict=True))


def _parse_forwarded(element: str) -> tuple[str, str]:
    pairs = {name.lower(): quoted or bare for name, quoted, bare in _FORWARDED_PAIR.findall(element)}
    return pairs.get("for", ""), pairs.get("proto", "").lower()


def _address(text: str) -> str | None:
    """The bare address in ``1.2.3.4``, ``1.2.3.4:80``, ``2001:db8::1`` or ``[2001:db8::1]:80``; ``None`` for anything else."""
    bare = text
    if text.startswith("["):
        bare = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        bare = text.partition(":")[0]
    try:
        return str(ipaddress.ip_address(bare))
    except ValueError:
        return None
