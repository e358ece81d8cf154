"""Stores with one fault each in ``end_all``, its sweep, or ``swap``."""

from __future__ import annotations

import math
from collections.abc import Sequence

import msgspec
from support.waiting import one_turn

from tornado_sessions.query import Count, Page, Query
from tornado_sessions.record import Change, Conflict, Create, Ending, Event, EventKind, Outcome, Swapped
from tornado_sessions.stores.memory import MemoryData, MemoryStore
from tornado_sessions.testing import make_record
from tornado_sessions.testing.maker import NOW

replace = msgspec.structs.replace
Answers = list[Outcome | Conflict | Exception]


class TrustsItsOwnClock(MemoryStore):
    async def end_all(self, not_before: float | None, ending: Ending) -> float:
        return await super().end_all(ending.at if not_before is None else not_before, ending)


class SparesTheNewest(MemoryStore):
    """Forgets that ``not_before`` itself is let in."""

    async def end_all(self, not_before: float | None, ending: Ending) -> float:
        if not_before is None:
            times = [ending.at, *(record.last_seen_at for record in self.data.records.values())]
            not_before = max(*times, self.data.not_before)
        return await super().end_all(not_before, ending)


class BelievesEveryClock(MemoryStore):
    async def end_all(self, not_before: float | None, ending: Ending) -> float:
        if not_before is None:
            times = [record.last_seen_at for record in self.data.records.values()]
            not_before = max([ending.at, self.data.not_before, *(math.nextafter(at, math.inf) for at in times)])
        return await super().end_all(not_before, ending)


class KeepsEverybodyOut(MemoryStore):
    """Takes whoever was created at ``not_before`` for one of the ended."""

    async def save(self, changes: Sequence[Create | Change]) -> Answers:
        answers: Answers = []
        for item in changes:
            is_early = isinstance(item, Create) and item.record.created_at <= self.data.not_before
            answers += [Outcome.GONE] if is_early else await super().save([item])
        return answers


class AnswersWithWhatWasAsked(MemoryStore):
    async def end_all(self, not_before: float | None, ending: Ending) -> float:
        await super().end_all(not_before, ending)
        return ending.at if not_before is None else not_before


class SparesNobodyAtAll(MemoryStore):
    async def end_all(self, not_before: float | None, ending: Ending) -> float:
        return await super().end_all(None, ending)


class SparesByLastUse(MemoryStore):
    """Spares whoever was used since, however long ago it was created."""

    async def end_all(self, not_before: float | None, ending: Ending) -> float:
        if not_before is not None:
            used = [item for item in self.data.records.values() if item.last_seen_at >= not_before]
            not_before = min([not_before, *(item.created_at for item in used)])
        return await super().end_all(not_before, ending)


class IgnoresASecondEnd(MemoryStore):
    async def end_all(self, not_before: float | None, ending: Ending) -> float:
        if self.data.not_before:
            return self.data.not_before
        return await super().end_all(not_before, ending)


class LooksThroughTheEnded(MemoryStore):
    """A page looks at a hundred entries at most, most of which have ended."""

    async def end_all(self, not_before: float | None, ending: Ending) -> float:
        self.ended = len(self.data.records)
        return await super().end_all(not_before, ending)

    async def find(self, query: Query) -> Page:
        page = await super().find(query)
        return page._replace(items=[]) if getattr(self, "ended", 0) > 100 and not query.given else page


class CountsTheEnded(MemoryStore):
    async def count(self, query: Query) -> Count:
        counted = await super().count(query)
        return Count(counted.total + (len(self.data.records) > 100), counted.exact)


class SetsEverybodyAside(MemoryStore):
    """Sets those aside as well who were created since."""

    async def end_all(self, not_before: float | None, ending: Ending) -> float:
        self.aside = set(self.data.records)
        return await super().end_all(not_before, ending)

    async def find(self, query: Query) -> Page:
        page = await super().find(query)
        return page._replace(items=[item for item in page.items if item.handle not in getattr(self, "aside", ())])


class SweepsByLastUse(MemoryStore):
    """Leaves whoever was used after everybody was ended to end by time."""

    async def expire(self, now: float, ending_kept_for: float, limit: int = 500) -> int:
        before = dict(self.data.records)
        removed = await super().expire(now, ending_kept_for, limit)
        for handle, record in before.items():
            if handle not in self.data.records and record.created_at < self.data.not_before <= record.last_seen_at:
                self.data.put(record)
                del self.data.tombstones[handle]
                removed -= 1
        return removed


class ForgetsWhy(MemoryStore):
    async def expire(self, now: float, ending_kept_for: float, limit: int = 500) -> int:
        removed = await super().expire(now, ending_kept_for, limit)
        for handle, item in self.data.tombstones.items():
            self.data.tombstones[handle] = replace(item, ending=replace(item.ending, reason="", keep_until=now + 60))
        return removed


class EndsTheEndedAgain(MemoryStore):
    async def destroy(self, handles: Sequence[str], ending: Ending) -> list[str]:
        ended = await super().destroy(handles, ending)
        return ended or [handle for handle in handles if handle in self.data.records]


class TellsItsOwnTime(MemoryStore):
    def __init__(self, data: MemoryData | None = None) -> None:
        super().__init__(data)
        publish = type(self.data).publish

        def wrong(event: Event) -> None:
            publish(self.data, replace(event, at=NOW) if event.kind is EventKind.ENDED_ALL else event)

        self.data.publish = wrong  # type: ignore[method-assign]


class Swapping(MemoryStore):
    """Keeps the values by itself, where a fault can be put in."""

    def __init__(self, data: MemoryData | None = None) -> None:
        super().__init__(data)
        self.values: dict[str, bytes] = self.data.__dict__.setdefault("their_values", {})

    async def swap(self, name: str, expected: bytes | None, value: bytes | None, keep_until: float) -> Swapped:
        if self.values.get(name) != expected:
            return Swapped(done=False, value=self.values.get(name))
        if value is None:
            self.values.pop(name, None)
        else:
            self.values[name] = value
        return Swapped(done=True, value=value)


class SwapsAnyway(Swapping):
    async def swap(self, name: str, expected: bytes | None, value: bytes | None, keep_until: float) -> Swapped:
        return await super().swap(name, self.values.get(name), value, keep_until)


class TakesNothingForEmpty(Swapping):
    async def swap(self, name: str, expected: bytes | None, value: bytes | None, keep_until: float) -> Swapped:
        answer = await super().swap(name, expected or None, value or None, keep_until)
        return Swapped(answer.done, answer.value)


class ComparesFirst(Swapping):
    """Compares and sets in two steps."""

    async def swap(self, name: str, expected: bytes | None, value: bytes | None, keep_until: float) -> Swapped:
        stored = self.values.get(name)
        await one_turn()
        if stored != expected:
            return Swapped(done=False, value=stored)
        return await super().swap(name, self.values.get(name), value, keep_until)


class CutsNames(Swapping):
    async def swap(self, name: str, expected: bytes | None, value: bytes | None, keep_until: float) -> Swapped:
        return await super().swap(name.strip().lower(), expected, value, keep_until)


class TakesValuesForSessions(Swapping):
    async def swap(self, name: str, expected: bytes | None, value: bytes | None, keep_until: float) -> Swapped:
        self.data.put(make_record(name))
        return await super().swap(name, expected, value, keep_until)


class ForgetsAllValues(Swapping):
    async def expire(self, now: float, ending_kept_for: float, limit: int = 500) -> int:
        self.values.clear()
        return await super().expire(now, ending_kept_for, limit)
