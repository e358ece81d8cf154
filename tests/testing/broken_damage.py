"""Stores with one fault each in what they make of a damaged record."""

from __future__ import annotations

from collections.abc import Sequence

from support.damageable import Answers, Damageable

from tornado_sessions.errors import StoreMismatch
from tornado_sessions.query import Count, Page, Query, State
from tornado_sessions.record import Change, Create, Damaged, Ending, Loaded, Record


def mismatch(handle: str) -> StoreMismatch:
    return StoreMismatch("memory", f"session {handle} is damaged")


class FailsTheLoad(Damageable):
    async def load(self, handles: Sequence[str], now: float) -> Loaded:
        loaded = await super().load(handles, now)
        for item in loaded.records:
            if isinstance(item, Damaged):
                raise mismatch(item.handle)
        return loaded


class LoadsTheDamagedAsNothing(Damageable):
    async def load(self, handles: Sequence[str], now: float) -> Loaded:
        loaded = await super().load(handles, now)
        return Loaded([None if isinstance(item, Damaged) else item for item in loaded.records], loaded.not_before)


class SalvagesNothing(Damageable):
    async def load(self, handles: Sequence[str], now: float) -> Loaded:
        loaded = await super().load(handles, now)
        blank = [Damaged(handle=item.handle, why="?") if isinstance(item, Damaged) else item for item in loaded.records]
        return Loaded(blank, loaded.not_before)


class TakesTheDamaged(Damageable):
    async def take(self, handle: str, ending: Ending) -> Record | None:
        self.data.damaged.pop(handle, None)
        return await super().take(handle, ending)


class FailsTheSave(Damageable):
    async def save(self, changes: Sequence[Create | Change]) -> Answers:
        for item in changes:
            if item.handle in self.data.damaged:
                raise mismatch(item.handle)
        return await super().save(changes)


class AnswersWithTheError(Damageable):
    async def save(self, changes: Sequence[Create | Change]) -> Answers:
        answers = await super().save(changes)
        for place, item in enumerate(changes):
            if item.handle in self.data.damaged:
                answers[place] = mismatch(item.handle)
        return answers


class FailsTheList(Damageable):
    async def find(self, query: Query) -> Page:
        page = await super().find(query)
        for item in page.items:
            if isinstance(item, Damaged):
                raise mismatch(item.handle)
        return page


class HidesTheDamaged(Damageable):
    async def find(self, query: Query) -> Page:
        page = await super().find(query)
        return page._replace(items=[item for item in page.items if not isinstance(item, Damaged)])


class EndsTheListAtTheDamaged(Damageable):
    async def find(self, query: Query) -> Page:
        page = await super().find(query)
        return Page(page.items, None) if any(isinstance(item, Damaged) for item in page.items) else page


class FailsTheCount(Damageable):
    async def count(self, query: Query) -> Count:
        if query.device is not None and any(handle in self.data.records for handle in self.data.damaged):
            raise mismatch("?")
        return await super().count(query)


class CannotEndTheDamaged(Damageable):
    async def destroy(self, handles: Sequence[str], ending: Ending) -> list[str]:
        return await super().destroy([handle for handle in handles if handle not in self.data.damaged], ending)


class EndsTheDamagedUnseen(Damageable):
    """Leaves no tombstone of it."""

    async def destroy(self, handles: Sequence[str], ending: Ending) -> list[str]:
        damaged = self.data.damaged.keys() & self.data.records.keys()
        ended = await super().destroy(handles, ending)
        for handle in damaged & set(ended):
            del self.data.tombstones[handle]
        return ended


class EndsTheDamagedInSilence(Damageable):
    async def destroy(self, handles: Sequence[str], ending: Ending) -> list[str]:
        listeners = set(self.data.listeners)
        if self.data.damaged.keys() & set(handles):
            self.data.listeners.clear()
        ended = await super().destroy(handles, ending)
        self.data.listeners |= listeners
        return ended


class StopsAtTheDamagedOfAUser(Damageable):
    async def destroy_user(
        self, user: str, ending: Ending, except_handle: str | None = None, at_most: int | None = None
    ) -> list[str]:
        handles = []
        for place in self.data.lists.get(("user", user), ()):
            if place.handle in self.data.damaged:
                break
            handles.append(place.handle)
        return await self.destroy(handles, ending)


class NeverCleansPastTheDamaged(Damageable):
    async def expire(self, now: float, ending_kept_for: float, limit: int = 500) -> int:
        for handle in self.data.damaged:
            if handle in self.data.records and self.data.records[handle].expires_at <= now:
                return 0
        return await super().expire(now, ending_kept_for, limit)


class CleansForEver(Damageable):
    """Finds the damaged one again in each step."""

    async def expire(self, now: float, ending_kept_for: float, limit: int = 500) -> int:
        found = [self.data.records[handle] for handle in self.data.damaged if handle in self.data.records]
        return limit if found and found[0].expires_at <= now else await super().expire(now, ending_kept_for, limit)


class IsLedAstray(Damageable):
    async def end_all(self, not_before: float | None, ending: Ending) -> float:
        is_found = any(handle in self.data.records for handle in self.data.damaged)
        return await super().end_all(1e11 if is_found and not_before is None else not_before, ending)


class FreesTheHandle(Damageable):
    async def save(self, changes: Sequence[Create | Change]) -> Answers:
        for item in changes:
            if self.data.damaged.get(item.handle):
                self.data.tombstones.pop(item.handle, None)
                self.data.damaged.pop(item.handle)
        return await super().save(changes)


class FailsTheListOfTheEnded(Damageable):
    async def find(self, query: Query) -> Page:
        page = await super().find(query)
        if query.state is State.ENDED:
            for item in page.items:
                if isinstance(item, Damaged):
                    raise mismatch(item.handle)
        return page


class ChokesOnADamagedTombstone(Damageable):
    async def expire(self, now: float, ending_kept_for: float, limit: int = 500) -> int:
        for handle in self.data.damaged:
            if handle in self.data.tombstones:
                raise mismatch(handle)
        return await super().expire(now, ending_kept_for, limit)
