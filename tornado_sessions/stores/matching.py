"""Check whether a session matches the filters of a query.

Pure functions. All stores use them, so all find the same sessions; they must not know any store.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any, NamedTuple

from tornado_sessions.errors import QueryError
from tornado_sessions.query import Where
from tornado_sessions.record import SessionSummary, Tombstone
from tornado_sessions.stores.letters import fold, starts_with
from tornado_sessions.stores.networks import in_network, read_network, spellings_of

__all__ = ["DEVICES", "Check", "Device", "check", "device_of", "family", "matcher"]

Check = Callable[[SessionSummary], bool]


class Device(NamedTuple):
    """A family of user agents, whose text contains all words of ``has`` and none of ``lacks``."""

    has: tuple[str, ...]
    lacks: tuple[str, ...] = ()

    def matches(self, agent: str) -> bool:
        """Return whether a user agent is of this family."""
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
_BROWSERS = ("Chrome", "Edge", "Firefox", "Opera", "Safari")
_SYSTEMS = ("Android", "iOS", "Linux", "macOS", "Windows")
#: Each browser on each system, such as ``Firefox on Linux``.
_BOTH = {
    f"{browser} on {system}": Device(*(DEVICES[browser][part] + DEVICES[system][part] for part in (0, 1)))
    for browser in _BROWSERS
    for system in _SYSTEMS
}

#: For each filter, whether a session passes it.
_PASSES: Mapping[str, Callable[[SessionSummary, Any], bool]] = {
    "user": lambda item, user: item.user == user,
    "user_prefix": lambda item, prefix: item.user is not None and item.user.startswith(prefix),
    "users": lambda item, users: item.user in users,
    "ip": lambda item, spellings: item.ip in spellings,
    "network": lambda item, block: in_network(item.ip, block),
    "handle": lambda item, handle: item.handle == handle,
    "text": lambda item, folded: (
        starts_with(item.user or "", folded) or starts_with(item.handle, folded) or starts_with(item.ip, folded)
    ),
    "device": lambda item, device: family(device).matches(item.user_agent),
    "signed_in": lambda item, signed_in: (item.user is not None) is signed_in,
    "signed_in_since": lambda item, since: item.signed_in_at is not None and item.signed_in_at >= since,
    "idle_since": lambda item, since: item.last_seen_at <= since,
    "created_until": lambda item, until: max(item.created_at, item.signed_in_at or 0.0) <= until,
    "ended_by": lambda item, user: isinstance(item, Tombstone) and item.ending.by == user,
    "ended_action": lambda item, action: isinstance(item, Tombstone) and item.ending.action == action,
    "ended_since": lambda item, since: isinstance(item, Tombstone) and item.ending.at >= since,
    "ended_until": lambda item, until: isinstance(item, Tombstone) and item.ending.at <= until,
}


def check(where: Where) -> None:
    """Refuse invalid filters. Raises ``QueryError``."""
    if where.network is not None:
        read_network(where.network)
    if where.device is not None:
        family(where.device)


def family(name: str) -> Device:
    """Return one of the ``DEVICES``, or the family of a browser on a system. Raises ``QueryError`` for any other name."""
    found = DEVICES.get(name) or _BOTH.get(name)
    if found is None:
        raise QueryError("device is one of %s; not %s", ", ".join(DEVICES), repr(name[:40]))
    return found


def device_of(agent: str) -> str:
    """Return the name by which ``family`` finds a user agent: ``Firefox on Linux`` or ``no browser``; empty for any other."""
    # Clients can send headers of any length, so only short ones are cached.
    return _cached_device(agent) if len(agent) <= _LONGEST_CACHED else _device_of(agent)


def _device_of(agent: str) -> str:
    browser, system = (
        next((name for name in names if DEVICES[name].matches(agent)), "") for names in (_BROWSERS, _SYSTEMS)
    )
    if browser and system:
        return f"{browser} on {system}"
    return "no browser" if DEVICES["no browser"].matches(agent) else ""


_LONGEST_CACHED = 300
_cached_device = lru_cache(4096)(_device_of)


def matcher(where: Where) -> Check:
    """Return a function that checks a session against every filter. Create it once per list."""
    given = where.given
    if "users" in given:
        given["users"] = frozenset(where.users or ())
    if "ip" in given:
        given["ip"] = spellings_of(where.ip or "")
    if "text" in given:
        given["text"] = fold(where.text or "")
    checks = [(_PASSES[name], value) for name, value in given.items()]
    if len(checks) == 1:
        # Most lists have one filter, and up to MAX_CANDIDATES sessions to check.
        [(passes_one, only)] = checks
        return lambda item: passes_one(item, only)
    return lambda item: all(passes(item, value) for passes, value in checks)
