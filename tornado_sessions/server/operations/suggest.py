"""Suggest filters while somebody types: users, networks, addresses and session IDs that start with a text.

It must not know requests, pages or how lists are stored.
"""

from __future__ import annotations

import asyncio
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from ipaddress import ip_address, ip_network

from msgspec.structs import replace

from tornado_sessions.manager import Sessions
from tornado_sessions.query import Count, Page, Query, Sort, Where
from tornado_sessions.record import LATEST, SessionSummary
from tornado_sessions.stores.cursor import Edge, SortKey, encode_edge
from tornado_sessions.stores.indexes import LAST_HANDLE
from tornado_sessions.stores.letters import fold, starts_with

__all__ = ["MAX_SUGGESTIONS", "Kind", "Suggestion", "narrower", "networks_of", "suggest"]

MAX_SUGGESTIONS = 8
#: Networks of one user that are suggested.
MAX_NETWORKS = 3
#: Rows that are read where no user has the text at the beginning of the name.
_READ = 50
#: Rows of the list by user that are read at once: most users have few.
_USER_ROWS = 3 * MAX_SUGGESTIONS
#: Rows of one user in which networks are counted; of somebody with more, the numbers are lower bounds.
_READ_OF_USER = 200

_is_ipv4_start = re.compile(r"\d{1,3}(\.\d{1,3}){0,3}\.?\*?").fullmatch
_is_ipv6_start = re.compile(r"[0-9a-f]{1,4}(:[0-9a-f]{1,4}){0,7}:{0,2}", re.IGNORECASE).fullmatch


class Kind(StrEnum):
    """What a suggestion is."""

    USER = "user"
    NETWORK = "network"
    IP = "ip"
    SESSION = "session"


@dataclass(frozen=True)
class Suggestion:
    """A filter, and the number of live sessions that match it.

    Attributes:
        kind, value: what it is: a user's id, a network, an address or a handle.
        count: the number of sessions.
        user: of a network, count only the sessions of this user; empty for all users.
    """

    kind: Kind
    value: str
    count: Count
    user: str = ""

    @property
    def parameters(self) -> dict[str, str]:
        """The parameters of a list's URL that replace ``q``."""
        names = {Kind.USER: "user", Kind.SESSION: "handle"}
        return {**({"user": self.user} if self.user else {}), names.get(self.kind, "ip"): self.value}


async def suggest(
    sessions: Sessions, text: str, limit: int = MAX_SUGGESTIONS, page: Page | None = None
) -> list[Suggestion]:
    """Return at most ``limit`` filters that a text may be the beginning of: a network, or users, those with most sessions first.

    A list with the search finds more: all spellings of a name, and parts of addresses and of session IDs. This is faster, so it can
    be called for each letter typed.

    Args:
        sessions: the sessions to search and count.
        text: what somebody has typed.
        limit: maximum number of suggestions.
        page: the first page of the sessions that the text finds, if it has been read.

    Raises:
        QueryError: the text is too long.
        StoreUnavailable: the store does not answer.
    """
    text = text.strip()
    if not text:
        return []
    if networks := networks_of(text):
        found = [Suggestion(Kind.NETWORK, each, await sessions.count(network=each)) for each in networks]
        if _is_address(text):
            found.append(Suggestion(Kind.IP, text.lower(), await sessions.count(ip=text)))
        # One or two numbers are more often part of a longer address, so a network without sessions is no useful suggestion.
        return [each for each in found if each.count.total or text.count(".") == 2][:limit]
    if users := await _users(sessions, text, limit):
        found = [Suggestion(Kind.USER, user, count) for user, count in users.items()]
        return sorted(found, key=lambda each: -each.count.total)[:limit]
    return _few(page or await sessions.find(text=text, limit=_READ), fold(text), limit)


async def narrower(sessions: Sessions, where: Where, items: Sequence[SessionSummary]) -> list[Suggestion]:
    """Return the networks that most of one user's sessions come from, if a list shows sessions of one user only.

    There are none if all sessions come from one network, since the list would stay the same, or if the list has a single row.

    Args:
        sessions: the sessions.
        where: the filters of the list.
        items: its first rows.

    Raises:
        StoreUnavailable: the store does not answer.
    """
    user = items[0].user if items else None
    if user is None or len(items) < 2 or any(item.user != user for item in items):
        return []
    theirs = await sessions.find(replace(where, user=user, user_prefix=None, text=None), limit=_READ_OF_USER)
    networks = Counter(network for item in theirs.items if item.ip for network in networks_of(item.ip))
    if len(networks) < 2:
        return []
    is_exact = theirs.next_cursor is None
    return [
        Suggestion(Kind.NETWORK, network, Count(rows, is_exact), user)
        for network, rows in networks.most_common(MAX_NETWORKS)
        if rows > 1
    ]


def _few(page: Page, folded: str, limit: int) -> list[Suggestion]:
    """Return the users and sessions that a search found, if the page has all of them."""
    if page.next_cursor is not None:
        return []
    users = Counter(item.user for item in page.items if item.user is not None and starts_with(item.user, folded))
    found = [Suggestion(Kind.USER, user, Count(many, exact=True)) for user, many in users.most_common()]
    handles = [item.handle for item in page.items if starts_with(item.handle, folded)]
    return [*found, *(Suggestion(Kind.SESSION, handle, Count(1, exact=True)) for handle in handles)][:limit]


def networks_of(text: str) -> list[str]:
    """Return the network of a partial address: one to three numbers of IPv4, or the first groups of IPv6.

    A whole address gives its /24 or /64.
    """
    try:
        if "/" in text:
            return [str(ip_network(text, strict=False))]
        if _is_ipv4_start(text) and "." in text:
            numbers = text.rstrip(".*").split(".")[:3]
            return [str(ip_network(f"{'.'.join(numbers + ['0'] * (4 - len(numbers)))}/{8 * len(numbers)}"))]
        if ":" in text:
            return [_network_of_ipv6(text)]
    except ValueError:
        # It only looks like an address, such as 999.1.
        return []
    return []


def _network_of_ipv6(text: str) -> str:
    groups = text.rstrip(":").split(":")
    if _is_ipv6_start(text) and len(groups) < 8:
        return str(ip_network(f"{':'.join(groups)}::/{16 * len(groups)}"))
    return str(ip_network(f"{ip_address(text)}/64", strict=False))


def _is_address(text: str) -> bool:
    try:
        return bool(ip_address(text))
    except ValueError:
        return False


async def _users(sessions: Sessions, text: str, limit: int) -> dict[str, Count]:
    """Return the first users that start with a text in its usual spellings, and the number of their sessions."""
    starts = dict.fromkeys((text, text.lower(), text.capitalize(), text.upper()))
    found: dict[str, Count] = {}
    for users in await asyncio.gather(*(_users_from(sessions, start, limit) for start in starts)):
        found |= users
    return found


async def _users_from(sessions: Sessions, start: str, limit: int) -> dict[str, Count]:
    """Return the first users that start with a text exactly. One page of the list by user mostly has them all."""
    found: dict[str, Count] = {}
    key, query = SortKey(0, start, -LATEST, ""), Query(now=0.0, sort=Sort.USER)
    while len(found) < limit:
        cursor = encode_edge(Edge(key, is_after=False), query)
        page = await sessions.find(sort=Sort.USER, cursor=cursor, limit=_USER_ROWS)
        users = [item.user for item in page.items if item.user is not None and item.user.startswith(start)]
        found |= {user: Count(rows, exact=True) for user, rows in Counter(users).items()}
        last = page.items[-1].user if page.next_cursor is not None and page.items else None
        if last is None or not last.startswith(start):
            break
        # The last user of the page may have more sessions.
        if len(found) > limit:
            del found[last]
            break
        found[last] = await sessions.count(user=last)
        key = SortKey(0, last, LATEST, LAST_HANDLE)
    return found
