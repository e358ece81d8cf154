"""A store in memory whose sessions can be damaged, and the maker that does so: what the checks of damage pass on, and break on."""

from __future__ import annotations

from collections.abc import Sequence

from tornado_sessions.query import Page, Query
from tornado_sessions.record import (
    Change,
    Conflict,
    Create,
    Damaged,
    Ending,
    Loaded,
    Outcome,
    Record,
    SessionSummary,
    summary_of,
)
from tornado_sessions.stores import Store
from tornado_sessions.stores.memory import MemoryData, MemoryStore
from tornado_sessions.testing import Damage

Answers = list[Outcome | Conflict | Exception]


class DamageableData(MemoryData):
    """Marks records and tombstones as damaged instead of damaging them."""

    def __init__(self) -> None:
        super().__init__()
        self.damaged: dict[str, Damage] = {}

    def read(self, item: SessionSummary) -> SessionSummary:
        """What a store makes of an item that is shown."""
        damage = self.damaged.get(item.handle)
        if damage is None:
            return item
        lost = [damage.field] if damage.field else ["user", "ip", "user_agent"]
        blank = {name: None if name == "user" else "" for name in lost}
        return Damaged(**{**summary_of(item), **blank}, why=f"{damage.field or 'all'} is {damage.how}")  # type: ignore[arg-type]

    def remove(self, handle: str) -> Record | None:
        self.damaged.pop(handle, None)
        return super().remove(handle)


class Damageable(MemoryStore):
    """Treats what is marked as damaged as the contract says."""

    data: DamageableData

    def __init__(self, data: MemoryData | None = None) -> None:
        super().__init__(data or DamageableData())

    async def load(self, handles: Sequence[str], now: float) -> Loaded:
        found = await super().load(handles, now)
        return Loaded([self.data.read(item) if item else None for item in found.records], found.not_before)  # type: ignore[misc]

    async def save(self, changes: Sequence[Create | Change]) -> Answers:
        answers: Answers = []
        for item in changes:
            answers += [Outcome.GONE] if item.handle in self.data.damaged else await super().save([item])
        return answers

    async def take(self, handle: str, ending: Ending) -> Record | None:
        return None if handle in self.data.damaged else await super().take(handle, ending)

    async def find(self, query: Query) -> Page:
        page = await super().find(query)
        return page._replace(items=[self.data.read(item) for item in page.items])


class DamageableMaker:
    """Makes one kind of damageable store."""

    damages: Sequence[Damage] = (
        Damage("", "all of it"),
        Damage("ip", "a blob"),
        Damage("", "all of it", of_tombstone=True),
    )

    def __init__(self, make: type[Damageable] = Damageable) -> None:
        self.make = make
        self.data = DamageableData()

    async def open(self) -> Store:
        return self.make(self.data)

    async def raw_handles(self) -> set[str]:
        return set(self.data.records)

    async def damage(self, handle: str, damage: Damage) -> None:
        assert handle in (self.data.tombstones if damage.of_tombstone else self.data.records)
        self.data.damaged[handle] = damage

    async def close(self) -> None:
        """Nothing was opened."""
