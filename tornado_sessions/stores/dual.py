"""``dual://``: two stores as one, while sessions move from one to the other under traffic.

It must not know what the two are. Sessions begin in the primary; one that only the fallback has is moved over when it is asked for:
made in the primary, then taken out of the fallback, so that at every moment at least one of them has it. Where the fallback says
meanwhile that it was ended, it is ended in the primary as well.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from urllib.parse import parse_qs, urlsplit

from tornado_sessions.errors import ConfigError
from tornado_sessions.query import Count, Page, Query
from tornado_sessions.record import (
    Cause,
    Change,
    Conflict,
    Create,
    Ending,
    Event,
    Facts,
    Loaded,
    Outcome,
    Record,
    Tombstone,
)
from tornado_sessions.stores.backends import open_store
from tornado_sessions.stores.base import Diagnosis, Store
from tornado_sessions.stores.cursor import decode_cursor, encode_cursor, place_of

__all__ = ["DualStore"]

#: Seconds for which the fallback remembers that a session has moved; after that it is simply unknown there.
_REMEMBERED = 86400.0

Answer = Outcome | Conflict | Exception
Found = Record | Tombstone | None


class DualStore(Store):
    """Two stores as one.

    Args:
        primary: where sessions begin and live.
        fallback: where older ones still are.
        moves: whether a session of the fallback is moved over when it is asked for; else it is used where it is.
    """

    backend = "dual"

    def __init__(self, primary: Store, fallback: Store, *, moves: bool = True) -> None:
        self.primary = primary
        self.fallback = fallback
        self.moves = moves

    @classmethod
    def from_url(cls, url: str) -> DualStore:
        """``dual://?primary=URL&fallback=URL``, percent-encoded, and ``&move=off``. Raises ``ConfigError``."""
        given = parse_qs(urlsplit(url).query, keep_blank_values=True)
        unknown = given.keys() - {"primary", "fallback", "move"}
        if unknown or not {"primary", "fallback"} <= given.keys() or given.get("move", ["on"]) not in (["on"], ["off"]):
            raise ConfigError(
                "write dual://?primary=URL&fallback=URL, each percent-encoded; move=off keeps sessions where they are"
            )
        primary, fallback = (open_store(given[name][0]) for name in ("primary", "fallback"))
        return cls(primary, fallback, moves=given.get("move") != ["off"])

    async def open(self) -> None:
        """Open both."""
        await asyncio.gather(self.primary.open(), self.fallback.open())

    async def close(self) -> None:
        """Close both."""
        await asyncio.gather(self.primary.close(), self.fallback.close())

    async def ping(self) -> None:
        """Both answer."""
        await asyncio.gather(self.primary.ping(), self.fallback.ping())

    async def diagnose(self) -> Diagnosis:
        """Of both."""
        first, second = await asyncio.gather(self.primary.diagnose(), self.fallback.diagnose())
        return Diagnosis(first.faults + second.faults, first.warnings + second.warnings)

    async def load(self, handles: Sequence[str], now: float) -> Loaded:
        """As promised by ``Store.load``; what only the fallback has costs a second question, once."""
        loaded = await self.primary.load(handles, now)
        missing = [place for place, found in enumerate(loaded.records) if _is_elsewhere(found)]
        if not missing:
            return loaded
        older = await self.fallback.load([handles[place] for place in missing], now)
        records = list(loaded.records)
        for place, found in zip(missing, older.records, strict=True):
            records[place] = await self._move(found, now) if self.moves and isinstance(found, Record) else found
            if _is_elsewhere(records[place]):
                records[place] = None
        return Loaded(records, max(loaded.not_before, older.not_before))

    async def _move(self, record: Record, now: float) -> Found:
        """Make it in the primary, take it out of the fallback; what that says last is what counts."""
        made = (await self.primary.save([Create(record=record)]))[0]
        if isinstance(made, Exception):
            raise made
        ending = Ending(at=now, cause=Cause.MOVED, keep_until=now + _REMEMBERED)
        last = await self.fallback.take(record.handle, ending)
        if last is None:
            await self._end_too(record.handle, now)
        elif last != record and made is Outcome.SAVED:
            # Written there between our look and our taking: the difference follows.
            gone = frozenset(record.data) - frozenset(last.data)
            changed = {key: value for key, value in last.data.items() if record.data.get(key) != value}
            late = Change(
                handle=last.handle,
                now=now,
                set=changed,
                delete=gone,
                last_seen_at=last.last_seen_at,
                expires_at=last.expires_at,
            )
            await self.primary.save([late])
        return (await self.primary.load([record.handle], now)).records[0]

    async def _end_too(self, handle: str, now: float) -> None:
        """Somebody took or ended it in the fallback meanwhile; an end holds in the primary as well."""
        found = (await self.fallback.load([handle], now)).records[0]
        if isinstance(found, Tombstone) and found.ending.cause is not Cause.MOVED:
            await self.primary.destroy([handle], found.ending)

    async def save(self, changes: Sequence[Create | Change]) -> list[Answer]:
        """As promised by ``Store.save``: in the primary, and what is not there, in the fallback."""
        answers = list(await self.primary.save(changes))
        elsewhere = [
            place for place, item in enumerate(changes) if answers[place] is Outcome.GONE and isinstance(item, Change)
        ]
        if elsewhere:
            older = await self.fallback.save([changes[place] for place in elsewhere])
            for place, answer in zip(elsewhere, older, strict=True):
                answers[place] = answer
        return answers

    async def destroy(self, handles: Sequence[str], ending: Ending) -> list[str]:
        """As promised by ``Store.destroy``; the fallback first, since a session moves away from there."""
        ended = [*await self.fallback.destroy(handles, ending), *await self.primary.destroy(handles, ending)]
        return list(dict.fromkeys(ended))

    async def destroy_user(self, user: str, ending: Ending, except_handle: str | None = None) -> list[str]:
        """As promised by ``Store.destroy_user``."""
        ended = await self.fallback.destroy_user(user, ending, except_handle)
        return list(dict.fromkeys([*ended, *await self.primary.destroy_user(user, ending, except_handle)]))

    async def take(self, handle: str, ending: Ending) -> Record | None:
        """As promised by ``Store.take``."""
        older = await self.fallback.take(handle, ending)
        return await self.primary.take(handle, ending) or older

    async def end_all(self, not_before: float, ending: Ending) -> None:
        """As promised by ``Store.end_all``."""
        await asyncio.gather(self.primary.end_all(not_before, ending), self.fallback.end_all(not_before, ending))

    async def find(self, query: Query) -> Page:
        """As promised by ``Store.find``: the two pages merged, as far as both of them reach."""
        pages = await asyncio.gather(self.primary.find(query), self.fallback.find(query))
        items = {item.handle: item for page in reversed(pages) for item in page.items if not _is_elsewhere(item)}
        ordered = sorted((place_of(item, query.sort), item) for item in items.values())
        reached = [decode_cursor(page.next_cursor, query.sort) for page in pages if page.next_cursor is not None]
        last = min(reached) if reached else None
        if last is not None:
            ordered = [entry for entry in ordered if entry[0] <= last]
        shown = ordered[: query.limit]
        if len(ordered) > query.limit:
            last = shown[-1][0]
        cursor = encode_cursor(last, query.sort) if last is not None else None
        return Page([item for _, item in shown], cursor)

    async def count(self, query: Query) -> Count:
        """As promised by ``Store.count``: the sum of both."""
        first, second = await asyncio.gather(self.primary.count(query), self.fallback.count(query))
        return Count(first.total + second.total, exact=first.exact and second.exact)

    async def expire(self, now: float, ending_kept_for: float, limit: int = 500) -> int:
        """As promised by ``Store.expire``."""
        removed = await self.primary.expire(now, ending_kept_for, limit)
        return removed + (await self.fallback.expire(now, ending_kept_for, limit - removed) if removed < limit else 0)

    async def events(self) -> AsyncGenerator[Event, None]:
        """As promised by ``Store.events``: of both, in the order in which they are heard."""
        heard: asyncio.Queue[Event | Exception | None] = asyncio.Queue()

        async def listen(store: Store) -> None:
            """Pass on what one of the two tells; its end, or its error, is the end of both."""
            try:
                async with aclosing(store.events()) as told:
                    async for event in told:
                        heard.put_nowait(event)
                heard.put_nowait(None)
            except Exception as error:  # noqa: BLE001 - raised to who listens
                heard.put_nowait(error)

        tasks = [asyncio.create_task(listen(store)) for store in (self.primary, self.fallback)]
        try:
            while (told := await heard.get()) is not None:
                if isinstance(told, Exception):
                    raise told
                yield told
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)


def _is_elsewhere(found: Facts | None) -> bool:
    return found is None or (isinstance(found, Tombstone) and found.ending.cause is Cause.MOVED)
