"""Lists and counts: keyset paging along a compound index, in bounded steps where no index fits.

It must not know how sessions are written.
"""

from __future__ import annotations

from typing import Any

from tornado_sessions.record import Count, Facts, Page, Query, State
from tornado_sessions.stores.cursor import decode_cursor, encode_cursor
from tornado_sessions.stores.mongo import documents
from tornado_sessions.stores.mongo.client import Client, translated

__all__ = ["count", "find", "index_of"]

#: Beyond this many a count is "at least".
COUNTED = 10_000
#: Documents that one call looks at where no index fits.
STEP = 2_000
_NEVER_SHOWN = {"data": False, "marks": False}


async def find(client: Client, query: Query, not_before: float) -> Page:
    """One page."""
    sort = "ended_at" if query.state is State.ENDED else "last_seen_at"
    where = _filter(query, not_before)
    if query.cursor is not None:
        at, handle = decode_cursor(query.cursor)
        where = {"$and": [where, {sort: {"$lte": at}}, {"$or": [{sort: {"$lt": at}}, {"_id": {"$gt": handle}}]}]}
    many = STEP if query.text else query.limit + 1
    order = [(sort, -1), ("_id", 1)]
    hint = index_of(query)
    found = await client.all_of("sessions", where, projection=_NEVER_SHOWN, sort=order, limit=many, hint=hint)
    shown = [document for document in found if _begins(document, query.text or "")]
    page, last = shown[: query.limit], None
    if len(shown) > query.limit:
        last = page[-1]
    elif len(found) == many and query.text:
        last = found[-1]
    return Page([_item(document) for document in page], encode_cursor(last[sort], last["_id"]) if last else None)


async def count(client: Client, query: Query, not_before: float) -> Count:
    """How many match, exact up to a bound."""
    if query.text:
        asked = Query(now=query.now, user=query.user, ip=query.ip, text=query.text, state=query.state, limit=500)
        page = await find(client, asked, not_before)
        return Count(len(page.items), exact=page.next_cursor is None)
    where = _filter(query, not_before)
    total = await translated(
        lambda: client.collection("sessions").count_documents(where, limit=COUNTED + 1, hint=index_of(query))
    )
    return Count(min(total, COUNTED), exact=total <= COUNTED)


def _filter(query: Query, not_before: float) -> dict[str, Any]:
    where: dict[str, Any] = {"keep_until": {"$gt": query.now}}
    if query.state is State.LIVE:
        where = documents.live(query.now, not_before)
    for name, value in (("_id", query.handle), ("user", query.user), ("ip", query.ip)):
        if value is not None:
            where[name] = value
    return where


def index_of(query: Query) -> str:
    """The index whose order is the list's; named, since a planner might rather sort everybody who has not expired."""
    if query.handle is not None:
        return "_id_"
    if query.state is State.ENDED:
        return "by_end"
    if query.user is not None:
        return "by_user"
    return "by_ip" if query.ip is not None else "by_last_seen"


def _begins(document: dict[str, Any], text: str) -> bool:
    return not text or any((document.get(name) or "").startswith(text) for name in ("user", "_id", "ip"))


def _item(document: dict[str, Any]) -> Facts:
    return documents.read(document)
