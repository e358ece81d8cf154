"""Compare stored addresses with networks, and compute the text prefixes of a network's addresses.

Pure functions. They must not know queries or stores.
"""

from __future__ import annotations

from functools import lru_cache
from ipaddress import ip_address

from tornado_sessions.errors import QueryError
from tornado_sessions.proxies import Network, network, plain_address

__all__ = ["in_network", "network_prefixes", "read_network", "spellings_of"]


@lru_cache(64)
def read_network(text: str) -> Network:
    """Parse the network of a filter. Raises ``QueryError``."""
    try:
        return network(text)
    except ValueError:
        raise QueryError("a network is written like 192.0.2.0/24 or 2001:db8::/32, not %s", repr(text[:60])) from None


@lru_cache(1024)
def in_network(ip: str, block: str) -> bool:
    """Return whether an address, in any spelling, is in a network; false for text that is not an address."""
    try:
        return ip_address(plain_address(ip)) in read_network(block)
    except ValueError:
        return False


def network_prefixes(block: str) -> list[str]:
    """Return the text prefixes of a network's stored addresses; empty if a prefix index does not help."""
    found = read_network(block)
    if found.version == 6:
        prefix = _prefix_of_ipv6(str(found.network_address), found.network_address.exploded, found.prefixlen)
        return [prefix] if prefix else []
    octets = str(found.network_address).split(".")[: found.prefixlen // 8]
    if not octets:
        return []
    prefix = ".".join(octets) + ("." if len(octets) < 4 else "")
    # Earlier versions stored IPv4-mapped IPv6 addresses in two spellings. A long prefix needs both; "::ffff:" covers both.
    if found.prefixlen < 16:
        return [prefix, "::ffff:"]
    return [prefix, f"::ffff:{prefix}", _in_groups(int(found.network_address)).rpartition(":")[0] + ":"]


def _prefix_of_ipv6(short: str, exploded: str, length: int) -> str:
    if length == 128:
        return short
    groups: list[str] = []
    for group in exploded.split(":")[: length // 16]:
        # An address may be abbreviated from its first group of zeros on.
        if int(group, 16) == 0:
            break
        groups.append(f"{int(group, 16):x}:")
    return "".join(groups)


def spellings_of(ip: str) -> list[str]:
    """Return the spellings in which an address may be stored, the current one first.

    Earlier versions stored IPv4 addresses as IPv4-mapped IPv6, in two spellings.
    """
    try:
        address = ip_address(plain_address(ip))
    except ValueError:
        return [ip]
    if address.version == 6:
        return [str(address)]
    return [str(address), f"::ffff:{address}", _in_groups(int(address))]


def _in_groups(address: int) -> str:
    """Return an IPv4 address as IPv4-mapped IPv6, in the format of ``ipaddress`` before Python 3.13."""
    return f"::ffff:{address >> 16:x}:{address & 0xFFFF:x}"
