"""Check whether a session matches the filters of a query.

Pure functions. All stores use them, so all find the same sessions; they must not know any store.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from tornado_sessions.errors import QueryError
from tornado_sessions.query import Where
from tornado_sessions.record import SessionSummary
from tornado_sessions.stores.networks import in_network, read_network

__all__ = ["DEVICES", "Check", "Device", "check", "matcher"]

Check = Callable[[SessionSummary], bool]


class Device(NamedTuple):
    """A family of user agents, whose text contains all words of ``has`` and none of ``lacks``."""

    has: tuple[str, ...]
    lacks: tuple[str, ...] = ()

    def matches(self, item: SessionSummary) -> bool:
        """Return whether a session is of this family."""
        agent = item.user_agent
        return all(word in agent for word in self.has) and not any(word in agent for word in self.lacks)


#: Browsers also name their predecessors in the user agent, so most families need words that must be missing.
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

#: For each filter, whether a session passes it.
_PASSES: Mapping[str, Callable[[SessionSummary, Any], bool]] = {
    "user": lambda item, user: item.user == user,
    "user_prefix": lambda item, prefix: item.user is not None and item.user.startswith(prefix),
    "users": lambda item, users: item.user in users,
    "ip": lambda item, ip: item.ip == ip,
    "network": lambda item, block: in_network(item.ip, block),
    "handle": lambda item, handle: item.handle == handle,
    "text": lambda item, text: any(word.startswith(text) for word in (item.user or "", item.handle, item.ip)),
    "device": lambda item, device: DEVICES[device].matches(item),
    "signed_in": lambda item, signed_in: (item.user is not None) is signed_in,
    "signed_in_since": lambda item, since: item.signed_in_at is not None and item.signed_in_at >= since,
    "idle_since": lambda item, since: item.last_seen_at <= since,
    "created_until": lambda item, until: max(item.created_at, item.signed_in_at or 0.0) <= until,
}


def check(where: Where) -> None:
    """Refuse invalid filters. Raises ``QueryError``."""
    if where.network is not None:
        read_network(where.network)
    if where.device is not None and where.device not in DEVICES:
        raise QueryError("device is one of %s; not %s", ", ".join(DEVICES), repr(where.device[:40]))


def matcher(where: Where) -> Check:
    """Return a function that checks a session against every filter. Create it once per list."""
    given = where.given
    if "users" in given:
        given["users"] = frozenset(where.users or ())
    checks = [(_PASSES[name], value) for name, value in given.items()]
    return lambda item: all(passes(item, value) for passes, value in checks)
