"""Read MongoDB's indexes for ``stores.paging``: lists and counts of sessions and tombstones.

It must not know how sessions are written. Each query names its index, because the planner might otherwise sort all
sessions. The server limits the time of each, so that a query stops even if its client has gone.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from math import inf
from typing import Any

from tornado_sessions.query import Count, Page, Query, State
from tornado_sessions.record import SessionSummary
from tornado_sessions.stores import paging
from tornado_sessions.stores.cursor import UNPLACED, SortKey
from tornado_sessions.stores.indexes import Index, IndexScan, Range, list_for
from tornado_sessions.stores.mongo import documents
from tornado_sessions.stores.mongo.collection import HANDLES, SessionCollection
from tornado_sessions.stores.mongo.documents import Everybody
from tornado_sessions.stores.mongo.parts import Part, part_of, unplaced_users
from tornado_sessions.stores.mongo.schema import index_name
from tornado_sessions.stores.requests import (
    MAX_CANDIDATES,
    MAX_COUNTED,
    Candidates,
    CountIndex,
    ProbeRanges,
    ReadRanges,
    Row,
    Rows,
)
from tornado_sessions.stores.stored_fields import number_or

__all__ = ["count", "find", "index_of"]

_FIELDS = {
    "user": ("user", "by_user"),
    "ip": ("ip", "by_ip"),
}
_NEVER_SHOWN = {"data": False, "marks": False}


async def find(sessions: SessionCollection, query: Query, everybody: Everybody) -> Page:
    """Return one page of the sessions that match a query."""
    return await paging.run_async(paging.find(query), _Reader(sessions, query, everybody))


async def count(sessions: SessionCollection, query: Query, everybody: Everybody) -> Count:
    """Return the number of sessions that match a query."""
    return await paging.run_async(paging.count(query), _Reader(sessions, query, everybody))


def index_of(query: Query) -> str:
    """Return the name of the index that serves the first page of a query."""
    return HANDLES if query.handle is not None else index_name(part_of(list_for(query)[0]).index)


class _Reader:
    """Reads indexes for one query."""

    def __init__(self, sessions: SessionCollection, query: Query, everybody: Everybody) -> None:
        self.sessions = sessions
        self.query = query
        self.everybody = everybody
        if query.state is State.ENDED:
            self.alive = {"ended_at": {"$exists": True}, "keep_until": {"$not": {"$lte": query.now}}}
            self.shown = _NEVER_SHOWN
        else:
            self.alive = documents.live(query.now, everybody)
            self.shown = documents.SHOWN

    async def scan(self, request: IndexScan) -> Rows:
        if request.index is Index.UNPLACED:
            return await self._scan_unplaced(request)
        if request.index is Index.ENDED_OF_IP and request.part:
            # The first spelling has read the tombstones of all.
            return Rows([], is_end=True)
        part, limit = part_of(request), request.limit
        where = [part.where, part.placed, part.after(request.after, request) if request.after is not None else {}]
        order = part.order(is_backwards=request.is_backwards)
        while True:
            found = await self._fetch(part.index, where, order, limit)
            backwards = request.is_backwards
            keyed = [(part.key(document, request.part, is_backwards=backwards), document) for document in found]
            # An array field matches by each of its elements, but the document has only one position: drop the others.
            due = [(key, document) for key, document in keyed if key is not None and request.is_due(key)]
            rows = [Row(key, documents.read_shown(document)) for key, document in due]
            if rows or len(found) < limit:
                return Rows(rows, is_end=len(found) < limit)
            limit *= 2

    async def _scan_unplaced(self, request: IndexScan) -> Rows:
        """Return the rows that have no position in the list, by handle.

        Several indexes find them by the damaged values of their sort fields. A result that reached the limit is
        truncated, so the merge stops at the smallest last row of any truncated result, as in ``redis.scans``.
        """
        scans = [scan for scan in list_for(self.query) if scan.index is not Index.UNPLACED]
        parts = [part_of(scan) for scan in scans]
        is_split = len(scans) > 1 and scans[-1].index is Index.VISITORS
        searches = [*(part.unplaced for part in parts), *([unplaced_users()] if is_split else [])]
        reached = request.after.handle if request.after is not None else None
        beyond, step = ("$lt", -1) if request.is_backwards else ("$gt", 1)
        includes = "e" if request.includes_after else ""
        while True:
            found: dict[str, dict[str, Any]] = {}
            edges = []
            for index, where in searches:
                after = {"_id": {beyond + includes: reached}} if reached is not None else {}
                some = await self._fetch(index, [where, after], [("_id", step)], request.limit)
                found.update((document["_id"], document) for document in some)
                edges += [some[-1]["_id"]] if len(some) == request.limit else []
            reached, includes = (max(edges) if request.is_backwards else min(edges)) if edges else None, ""
            rows = [
                Row(SortKey(UNPLACED, "", 0.0, handle), documents.read_shown(document))
                for handle, document in sorted(found.items(), reverse=request.is_backwards)
                if not _is_beyond(handle, reached, step) and not any(part.key(document, 0) for part in parts)
            ]
            if rows or not edges:
                return Rows(rows, is_end=not edges)

    async def _fetch(
        self, index: str, where: list[dict[str, Any]], order: list[tuple[str, int]], limit: int
    ) -> list[dict[str, Any]]:
        """Return documents of live sessions, or tombstones within their time, that meet all conditions."""
        conditions = {"$and": [self.alive, *filter(None, where)]}
        options: dict[str, Any] = {"sort": order} if order else {}
        return await self.sessions.list_of(conditions, projection=self.shown, limit=limit, index=index, **options)

    async def ranges(self, request: ReadRanges) -> Candidates:
        first = request.ranges[0]
        if first.field == "handle" and not first.is_prefix:
            return await self._named(first.value)
        ranges = _merged(request.ranges)
        if len(ranges) > 1:
            # Count first: the entries of an index are read faster than the documents.
            many = await asyncio.gather(*(self._count_range(*each, MAX_CANDIDATES + 1) for each in ranges))
            if sum(many) > MAX_CANDIDATES:
                return None
            ranges = [each for each, entries in zip(ranges, many, strict=True) if entries]
        found = await asyncio.gather(*(self._fetch_range(*each) for each in ranges))
        if max(map(len, found), default=0) > MAX_CANDIDATES:
            return None
        return list({item.handle: item for some in found for item in map(documents.read_shown, some)}.values())

    async def _fetch_range(self, field: str, where: Any) -> list[dict[str, Any]]:
        """Return the live sessions of a range, or more than ``MAX_CANDIDATES`` documents if there may be others.

        The index of handles has tombstones too, of which there can be many for each live session. So the limit holds for
        both, and the live ones are selected here.
        """
        if field != "handle":
            column, index = _FIELDS[field]
            return await self._fetch(index, [{column: where}], [], MAX_CANDIDATES + 1)
        options: dict[str, Any] = {"projection": self.shown, "limit": MAX_CANDIDATES + 1, "index": HANDLES}
        found = await self.sessions.list_of({"_id": where}, **options)
        return found if len(found) > MAX_CANDIDATES else [each for each in found if self._is_live(each)]

    async def _count_range(self, field: str, where: Any, limit: int) -> int:
        """Count the entries of a range, up to a limit; no document is read."""
        if field == "handle":
            return await self.sessions.count({"_id": where}, index=HANDLES, limit=limit)
        column, index = _FIELDS[field]
        return await self.sessions.count({"live": self.everybody.live, column: where}, index=index, limit=limit)

    async def probe(self, request: ProbeRanges) -> list[bool]:
        """Return for each range whether it has a row."""
        found = (self._count_range(part.field, _between(part), 1) for part in request.ranges)
        return list(map(bool, await asyncio.gather(*found)))

    def _is_live(self, document: dict[str, Any]) -> bool:
        if document.get("live") != self.everybody.live:
            return False
        return documents.is_live(documents.read_shown(document), document, self.query.now, self.everybody)

    async def _named(self, handle: str) -> list[SessionSummary]:
        """Return the session or the tombstone of a handle, if the query's state selects it."""
        query = self.query
        stored, everybody = await self.sessions.read_shown([handle])
        document = stored.get(handle)
        if document is None or documents.is_session(document) is (query.state is State.ENDED):
            return []
        item = documents.read_shown(document)
        if query.state is State.LIVE:
            is_shown = documents.is_live(item, document, query.now, everybody)
        else:
            is_shown = number_or(document.get("keep_until"), inf) > query.now
        return [item] if is_shown else []

    async def count(self, request: CountIndex) -> Count | None:
        """Count the live rows of an index, up to ``MAX_COUNTED``."""
        part: Part = part_of(request.scan)
        # The index by expiry covers the filter of live sessions: no document is read.
        index = "by_expiry" if request.scan.index is Index.LAST_SEEN else part.index
        where = {**self.alive, **part.where}
        total = await self.sessions.count(where, index=index, limit=MAX_COUNTED + 1)
        return Count(min(total, MAX_COUNTED), exact=total <= MAX_COUNTED)


def _between(part: Range) -> dict[str, Any]:
    return {"$gte": part.value, "$lt": part.value + "\U0010ffff"} if part.is_prefix else {"$in": [part.value]}


def _merged(ranges: Sequence[Range]) -> list[tuple[str, Any]]:
    """Return a field and a condition for each range; exact values of one field share a condition."""
    exact: dict[str, list[str]] = {}
    for part in ranges:
        if not part.is_prefix:
            exact.setdefault(part.field, []).append(part.value)
    values = [(field, {"$in": some}) for field, some in exact.items()]
    return [*values, *((part.field, _between(part)) for part in ranges if part.is_prefix)]


def _is_beyond(handle: str, edge: str | None, step: int) -> bool:
    return edge is not None and (handle > edge if step == 1 else handle < edge)
