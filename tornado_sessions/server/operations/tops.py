"""``Tops``: those with the most sessions, and ``TopsHistory``: who they were at each hour of the last day, to compare.

It must not know how sessions are counted.
"""

from __future__ import annotations

import msgspec

from tornado_sessions.damage import Unreadable
from tornado_sessions.server.documents import Document, DocumentStore

__all__ = ["MAX_TOPS", "Tops", "TopsHistory", "overwrite"]

#: Entries of each list that are kept. Pages show fewer, so most entries new to a page already have a history here.
MAX_TOPS = 100
_KIND = "tops"
_HOUR, _DAY = 3600, 86400
#: Hours that are kept: those of the last day, the current one, and the one after the same hour of yesterday.
_HOURS = 26


class Tops(msgspec.Struct, frozen=True, kw_only=True):
    """Names and their numbers of sessions, most sessions first.

    Attributes:
        users: user ids.
        networks: blocks of 256 IPv4 addresses (/24) or a site of IPv6 (/48).
        devices: names for the filter ``device``.
        places: the last part of the place of the IP address, such as its country, if the application provides places.
    """

    users: list[tuple[str, int]] = []
    networks: list[tuple[str, int]] = []
    devices: list[tuple[str, int]] = []
    places: list[tuple[str, int]] = []


class _Past(msgspec.Struct, frozen=True, kw_only=True):
    """The tops at one time, in UTC seconds. ``id`` is the key of its document."""

    id: str
    at: float
    tops: Tops


class TopsHistory:
    """The first tops of each hour, in as many documents as are needed. Each coroutine may raise ``StoreUnavailable``.

    Args:
        documents: stores them.
    """

    def __init__(self, documents: DocumentStore) -> None:
        self._documents = documents
        self._kept: int | None = None

    async def keep(self, at: float, tops: Tops) -> None:
        """Keep the tops of a time in UTC seconds, unless there are some of the same hour."""
        hour = int(at // _HOUR)
        if hour == self._kept:
            return
        if await self._read(hour) is None:
            past = _Past(id=_key(hour), at=at, tops=tops)
            await overwrite(self._documents, _KIND, past.id, msgspec.json.encode(past))
        self._kept = hour

    async def day_before(self, at: float) -> Tops | None:
        """Return the tops of a day before ``at``, within an hour; ``None`` if none were counted then."""
        hour = int((at - _DAY) // _HOUR)
        for near in (hour, hour + 1, hour - 1):
            if (past := await self._read(near)) is not None:
                return past.tops
        return None

    async def _read(self, hour: int) -> _Past | None:
        found = await self._documents.get(_KIND, _key(hour))
        try:
            past = found.read(_Past, "id") if found is not None else None
        except Unreadable:
            return None
        return past if past is not None and int(past.at // _HOUR) == hour else None


async def overwrite(documents: DocumentStore, kind: str, key: str, body: bytes) -> None:
    """Store a document, whatever its revision is, even if it is damaged. Of two at once, one stays."""
    found = await documents.get(kind, key)
    if found is not None and found.damage:
        await documents.delete(kind, key)
        found = None
    await documents.put(kind, Document(key, found.revision + 1 if found is not None else 1, body))


def _key(hour: int) -> str:
    return f"{hour % _HOURS:02}"
