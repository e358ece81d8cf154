"""What filters mean: whether a session matches, and which index a store can begin with.

Pure. Stores that filter in Python use ``matcher``; it must not know any of them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import lru_cache
from ipaddress import ip_address
from typing import NamedTuple

from tornado_sessions.errors import QueryError
from tornado_sessions.proxies import Network, network, plain_address
from tornado_sessions.query import Query, Sort, State, Where
from tornado_sessions.record import SessionSummary

__all__ = [
    "DEVICES",
    "Device",
    "Range",
    "check",
    "in_network",
    "matcher",
    "narrow",
    "network_prefix",
    "spellings_of",
    "straight",
]


class Device(NamedTuple):
    """A family of user agents: what its text holds (all of ``has``), and does not (any of ``lacks``)."""

    has: tuple[str, ...]
    lacks: tuple[str, ...] = ()


#: Every browser names its forerunners as well, so a family is also what its text does not hold.
DEVICES: Mapping[str, Device] = {
    "Chrome": Device(("Chrome/",), ("Edg", "OPR/")),
    "Edge": Device(("Edg",)),
    "Firefox": Device(("Firefox/",)),
    "Opera": Device(("OPR/",)),
    "Safari": Device(("Safari/", "Version/"), ("Chrome/", "Android")),
    "Android": Device(("Android",)),
    "iOS": Device(("like Mac OS X",)),
    "Linux": Device(("Linux",), ("Android",)),
    "macOS": Device(("Macintosh",)),
    "Windows": Device(("Windows",)),
    "no browser": Device((), ("Mozilla/",)),
}

Check = Callable[[SessionSummary], bool]


class Range(NamedTuple):
    """A part of an index: rows whose ``name`` (``user``, ``ip`` or ``handle``) is ``value``, or begins with it."""

    name: str
    value: str
    is_prefix: bool


def check(where: Where) -> None:
    """Refuse filters that make no sense. Raises ``QueryError``."""
    if where.network is not None:
        _network(where.network)
    if where.device is not None and where.device not in DEVICES:
        raise QueryError("device is one of %s; not %s", ", ".join(DEVICES), repr(where.device[:40]))


def matcher(where: Where) -> Check:
    """Whether a session matches, put together once for a whole list."""
    checks = [*_checks_of_names(where), *_checks_of_times(where)]
    if where.network is not None:
        block = where.network
        checks.append(lambda item: in_network(item.ip, block))
    if where.device is not None:
        has, lacks = DEVICES[where.device]
        checks.append(
            lambda item: (
                all(word in item.user_agent for word in has) and not any(word in item.user_agent for word in lacks)
            )
        )
    if where.signed_in is not None:
        checks.append(lambda item: (item.user is not None) is where.signed_in)
    return lambda item: all(passes(item) for passes in checks)


def _checks_of_names(where: Where) -> list[Check]:
    checks: list[Check] = []
    if where.user is not None:
        checks.append(lambda item: item.user == where.user)
    if where.ip is not None:
        checks.append(lambda item: item.ip == where.ip)
    if where.handle is not None:
        checks.append(lambda item: item.handle == where.handle)
    if where.users is not None:
        users = frozenset(where.users)
        checks.append(lambda item: item.user in users)
    if where.user_prefix is not None:
        prefix = where.user_prefix
        checks.append(lambda item: item.user is not None and item.user.startswith(prefix))
    if where.text:
        text = where.text
        checks.append(lambda item: any(word.startswith(text) for word in (item.user or "", item.handle, item.ip)))
    return checks


def _checks_of_times(where: Where) -> list[Check]:
    checks: list[Check] = []
    if where.signed_in_since is not None:
        since = where.signed_in_since
        checks.append(lambda item: item.signed_in_at is not None and item.signed_in_at >= since)
    if where.idle_since is not None:
        idle = where.idle_since
        checks.append(lambda item: item.last_seen_at <= idle)
    if where.created_until is not None:
        until = where.created_until
        checks.append(lambda item: max(item.created_at, item.signed_in_at or 0.0) <= until)
    return checks


def straight(query: Query) -> str:
    """The list whose order is the query's and that fits best: ``user``, ``ip``, ``visitors`` or ``all``."""
    if query.state is State.LIVE:
        if query.user is not None and query.sort in (Sort.LAST_SEEN, Sort.USER):
            return "user"
        if query.ip is not None and query.sort is Sort.LAST_SEEN:
            return "ip"
        if query.signed_in is False and query.sort is not Sort.EXPIRES:
            return "visitors"
    return "all"


def narrow(query: Query) -> list[Range]:
    """Parts of indexes that hold all that matches, in another order; empty where there are none."""
    if query.user is not None:
        return [Range("user", query.user, is_prefix=False)]
    if query.users is not None:
        return [Range("user", user, is_prefix=False) for user in query.users]
    if query.ip is not None:
        return [Range("ip", query.ip, is_prefix=False)]
    if query.user_prefix:
        return [Range("user", query.user_prefix, is_prefix=True)]
    if query.network is not None and (prefix := network_prefix(query.network)):
        return [Range("ip", text, is_prefix=True) for text in (prefix, *_mapped_prefixes(query.network))]
    if query.text:
        return [Range(name, query.text, is_prefix=True) for name in ("user", "ip", "handle")]
    return []


def network_prefix(network: str) -> str:
    """How the text of each address in a network begins, as ``ipaddress`` writes it; empty where that says nothing."""
    found = _network(network)
    if found.version == 4:
        octets = str(found.network_address).split(".")[: found.prefixlen // 8]
        return "".join(f"{octet}." for octet in octets) if len(octets) < 4 else ".".join(octets)
    if found.prefixlen == 128:
        return str(found.network_address)
    groups: list[str] = []
    for group in found.network_address.exploded.split(":")[: found.prefixlen // 16]:
        # From the first group of zeros on, an address may be written short.
        if int(group, 16) == 0:
            break
        groups.append(f"{int(group, 16):x}:")
    return "".join(groups)


def spellings_of(ip: str) -> list[str]:
    """An address as sessions may have it stored, the one in use first: earlier versions stored IPv4 inside IPv6, in two ways."""
    try:
        address = ip_address(plain_address(ip))
    except ValueError:
        return [ip]
    if address.version == 6:
        return [str(address)]
    return [str(address), f"::ffff:{address}", _in_groups(int(address))]


def _mapped_prefixes(block: str) -> list[str]:
    """How the addresses of an IPv4 network begin where they were stored as IPv6."""
    found = _network(block)
    if found.version == 6:
        return []
    first = _in_groups(int(found.network_address)).rpartition(":")[0] + ":" if found.prefixlen >= 16 else "::ffff:"
    # The second covers the first where that is short; a row must not be looked at twice.
    return [first] if first == "::ffff:" else [f"::ffff:{network_prefix(block)}", first]


def _in_groups(address: int) -> str:
    """An IPv4 address inside IPv6, as ``ipaddress`` wrote it before Python 3.13."""
    return f"::ffff:{address >> 16:x}:{address & 0xFFFF:x}"


@lru_cache(1024)
def in_network(ip: str, block: str) -> bool:
    """Whether an address is in a network, in any spelling; what is no address is in none."""
    try:
        return ip_address(plain_address(ip)) in _network(block)
    except ValueError:
        return False


@lru_cache(64)
def _network(text: str) -> Network:
    try:
        return network(text)
    except ValueError:
        raise QueryError("a network is written like 192.0.2.0/24 or 2001:db8::/32, not %s", repr(text[:60])) from None
