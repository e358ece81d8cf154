"""``dual://``: two stores used as one, while sessions move from one to the other under traffic.

New sessions are created in the primary; a session that is only in the fallback moves to the primary when it is loaded
(``handover``). A crash during a move leaves a copy in both, and the next load finishes the move.

A session that ends in one store ends in both: a tombstone in either wins over a copy in the other. Each operation first copies the
later ``not_before`` to the other store, so that each store applies it. It must not know what kind of stores the two are.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from urllib.parse import parse_qs, urlsplit

from typing_extensions import override

from tornado_sessions.errors import ConfigError
from tornado_sessions.query import Count, Page, Query
from tornado_sessions.record import (
    Change,
    Conflict,
    Create,
    Ending,
    Event,
    EventKind,
    Loaded,
    Outcome,
    Record,
    SessionSummary,
    Swapped,
    Tombstone,
)
from tornado_sessions.stores.backends import open_store
from tornado_sessions.stores.base import Diagnosis, Store
from tornado_sessions.stores.dual.handover import (
    Found,
    Handover,
    ended_there,
    if_possible,
    is_elsewhere,
    was_ended,
)
from tornado_sessions.stores.dual.merged_list import Row, find_in_both

__all__ = ["DualStore"]

Answer = Outcome | Conflict | Exception


class DualStore(Store):
    """Combines two stores.

    Args:
        primary: the store for new sessions.
        fallback: the store with older sessions.
        moves: whether a session of the fallback moves when it is loaded; otherwise it stays and is used there.
    """

    backend = "dual"

    def __init__(self, primary: Store, fallback: Store, *, moves: bool = True) -> None:
        self.primary = primary
        self.fallback = fallback
        self.moves = moves
        limits = [store.at_once for store in (primary, fallback) if store.at_once is not None]
        self.at_once = min(limits) if limits else None
        self._handover = Handover(primary, fallback, moves=moves)

    @classmethod
    def from_url(cls, url: str) -> DualStore:
        """Create the store for ``dual://?primary=URL&fallback=URL`` (percent-encoded), optionally with ``&move=off``.

        Raises ``ConfigError``.
        """
        given = parse_qs(urlsplit(url).query, keep_blank_values=True)
        unknown = given.keys() - {"primary", "fallback", "move"}
        if unknown or not {"primary", "fallback"} <= given.keys() or given.get("move", ["on"]) not in (["on"], ["off"]):
            raise ConfigError(
                "write dual://?primary=URL&fallback=URL, each percent-encoded; move=off keeps sessions where they are"
            )
        primary, fallback = (open_store(given[name][0]) for name in ("primary", "fallback"))
        return cls(primary, fallback, moves=given.get("move") != ["off"])

    @override
    async def open(self) -> None:
        await asyncio.gather(self.primary.open(), self.fallback.open())

    @override
    async def close(self) -> None:
        await asyncio.gather(self.primary.close(), self.fallback.close())

    @override
    async def ping(self) -> None:
        await asyncio.gather(self.primary.ping(), self.fallback.ping())

    @override
    async def diagnose(self) -> Diagnosis:
        first, second = await asyncio.gather(self.primary.diagnose(), self.fallback.diagnose())
        return Diagnosis(first.faults + second.faults, first.warnings + second.warnings, [*first.facts, *second.facts])

    @override
    async def probe_handles(self) -> list[str]:
        return await self.primary.probe_handles()

    @override
    async def load(self, handles: Sequence[str], now: float) -> Loaded:
        """Read both stores at once, and move sessions that only the fallback has."""
        newer, older = await asyncio.gather(self.primary.load(handles, now), self.fallback.load(handles, now))
        not_before = max(newer.not_before, older.not_before)
        # The later not_before is known and is returned in any case, so a store that refuses writes must not fail a read.
        await if_possible(lambda: self._level(newer.not_before, older.not_before, now), None)
        records: list[Found] = []
        for handle, first, second in zip(handles, newer.records, older.records, strict=True):
            # Usually the primary has the session, or neither store has ever had it. If a tombstone says that it has moved,
            # it was perhaps on its way during the two loads, and settle() loads again.
            if is_elsewhere(second) and not (is_elsewhere(first) and (first or second)):
                records.append(first)
                continue
            settled = await self._handover.settle(handle, first, second, not_before, now)
            records += settled.records
            not_before = max(not_before, settled.not_before)
        return Loaded(records, not_before)

    async def _level(self, newer: float, older: float, now: float) -> None:
        """Copy the later ``not_before`` to the other store."""
        if newer != older:
            behind = self.primary if newer < older else self.fallback
            await behind.end_all(max(newer, older), ended_there(now))

    async def _leveled(self, now: float, handles: Sequence[str] = ()) -> Loaded:
        """Give both stores the same ``not_before``. Return the fallback's items for ``handles``."""
        newer, older = await asyncio.gather(self.primary.load([], now), self.fallback.load(handles, now))
        await self._level(newer.not_before, older.not_before, now)
        return older

    @override
    async def save(self, changes: Sequence[Create | Change]) -> list[Answer]:
        """Save in the primary; changes of sessions that only the fallback has are saved there."""
        if not changes:
            return []
        now = max(item.record.created_at if isinstance(item, Create) else item.now for item in changes)
        created = [item.handle for item in changes if isinstance(item, Create)]
        older = await self._leveled(now, created)
        # The primary refuses handles that it has used; handles used in the fallback must be refused here.
        used = {handle for handle, found in zip(created, older.records, strict=True) if found is not None}
        answers: list[Answer] = [Outcome.GONE] * len(changes)

        async def save_in(store: Store, places: Sequence[int]) -> None:
            if places:
                for place, answer in zip(places, await store.save([changes[n] for n in places]), strict=True):
                    answers[place] = answer

        await save_in(
            self.primary, [n for n, item in enumerate(changes) if isinstance(item, Change) or item.handle not in used]
        )
        left = [n for n, item in enumerate(changes) if answers[n] is Outcome.GONE and isinstance(item, Change)]
        if left:
            known = (await self.primary.load([changes[n].handle for n in left], now)).records
            # A session that ended in the primary is gone, even if the fallback still has a copy.
            left = [n for n, found in zip(left, known, strict=True) if is_elsewhere(found)]
        # A session may move while this runs, so changes that the fallback refuses are tried in the primary again.
        for store in (self.fallback, self.primary):
            await save_in(store, left)
            left = [n for n in left if answers[n] is Outcome.GONE]
        return answers

    @property
    def _stores(self) -> tuple[Store, Store]:
        """Both stores, in the order of a move: reading the source first misses no session that moves in between."""
        return (self.fallback, self.primary) if self.moves else (self.primary, self.fallback)

    @override
    async def destroy(self, handles: Sequence[str], ending: Ending) -> list[str]:
        await self._leveled(ending.at)
        ended = [handle for store in self._stores for handle in await store.destroy(handles, ending)]
        return list(dict.fromkeys(ended))

    @override
    async def destroy_user(
        self, user: str, ending: Ending, except_handle: str | None = None, at_most: int | None = None
    ) -> list[str]:
        await self._leveled(ending.at)
        ended: dict[str, None] = {}
        for store in self._stores:
            left = None if at_most is None else at_most - len(ended)
            ended |= dict.fromkeys(await store.destroy_user(user, ending, except_handle, left))
        return list(ended)

    @override
    async def take(self, handle: str, ending: Ending) -> Record | None:
        """Take the session from both stores, unless it has ended in one of them."""
        if not isinstance((await self.load([handle], ending.at)).records[0], Record):
            return None
        taken = [(store, await store.take(handle, ending)) for store in self._stores]
        # If both had a copy, the primary's wins.
        return dict(taken)[self.primary] or dict(taken)[self.fallback]

    @override
    async def end_all(self, not_before: float | None, ending: Ending) -> float:
        """End the sessions of both stores with one ``not_before``.

        Raises:
            StoreUnavailable: one store failed; the sessions of the other may have ended. A second call completes it.
        """
        # Each store chooses its own not_before. Repeat with the later one until both agree.
        while True:
            answers = await asyncio.gather(
                *(store.end_all(not_before, ending) for store in self._stores), return_exceptions=True
            )
            for answer in answers:
                if isinstance(answer, BaseException):
                    raise answer
            reached = [answer for answer in answers if not isinstance(answer, BaseException)]
            if len(set(reached)) == 1:
                return reached[0]
            not_before = max(reached)

    @override
    async def swap(self, name: str, expected: bytes | None, value: bytes | None, keep_until: float) -> Swapped:
        return await self.primary.swap(name, expected, value, keep_until)

    @override
    async def find(self, query: Query) -> Page:
        """Merge both lists. A page is shorter if a session has a copy in both stores."""
        await self._leveled(query.now)
        rows, following, previous = await find_in_both(self._stores, query, self._hidden)
        # If both stores list a session, keep the row of the primary, which sorts last and overwrites the other.
        places = {row.item.handle: place for place, row in sorted(enumerate(rows), key=self._is_primary)}
        unique = [row.item for place, row in enumerate(rows) if places[row.item.handle] == place]
        items = [item for item in unique if not is_elsewhere(item)]
        # Further pages have no number, because sessions with a copy in both stores are not counted.
        return Page(items, following, previous, start=1 if items and previous is None else None)

    def _is_primary(self, numbered: tuple[int, Row]) -> bool:
        return self._stores[numbered[1].store] is self.primary

    async def _hidden(self, number: int, items: Sequence[SessionSummary], now: float) -> set[str]:
        """Return the handles among one store's rows that the other store also lists or has ended."""
        if not items:
            return set()
        handles = [item.handle for item in items]
        others = (await self._stores[1 - number].load(handles, now)).records
        if self._stores[number] is self.fallback:
            return {handle for handle, other in zip(handles, others, strict=True) if not is_elsewhere(other)}
        pairs = zip(items, others, strict=True)
        return {item.handle for item, other in pairs if was_ended(other) and not isinstance(item, Tombstone)}

    @override
    async def count(self, query: Query) -> Count:
        """Add both counts. A session with a copy in both stores counts twice until its move is finished."""
        await self._leveled(query.now)
        first, second = [await store.count(query) for store in self._stores]
        return Count(first.total + second.total, exact=first.exact and second.exact)

    @override
    async def expire(self, now: float, ending_kept_for: float, limit: int = 500) -> int:
        await self._leveled(now)
        removed = await self.primary.expire(now, ending_kept_for, limit)
        return removed + (await self.fallback.expire(now, ending_kept_for, limit - removed) if removed < limit else 0)

    @override
    async def events(self) -> AsyncGenerator[Event, None]:
        """Merge the events of both stores as they arrive. The end of all sessions is yielded only once."""
        heard: asyncio.Queue[Event | Exception | None] = asyncio.Queue()

        async def listen(store: Store) -> None:
            """Queue the events of one store; its end or its error ends the iteration of both."""
            try:
                async with aclosing(store.events()) as events:
                    async for event in events:
                        heard.put_nowait(event)
                heard.put_nowait(None)
            except Exception as error:  # noqa: BLE001 - raised where the events are read
                heard.put_nowait(error)

        tasks = [asyncio.create_task(listen(store)) for store in (self.primary, self.fallback)]
        ended_all = 0.0
        try:
            while (event := await heard.get()) is not None:
                if isinstance(event, Exception):
                    raise event
                is_all = event.kind is EventKind.ENDED_ALL
                if is_all and event.at <= ended_all:
                    continue
                ended_all = event.at if is_all else ended_all
                yield event
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
