"""Two stores as one, of any two kinds, and a store that lets something happen at a chosen moment."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence

from tornado_sessions.record import Change, Conflict, Create, Outcome, Record
from tornado_sessions.stores import Store
from tornado_sessions.stores.dual import DualStore
from tornado_sessions.testing import Damage, StoreMaker
from tornado_sessions.testing.faults import WrappedStore

Answers = list[Outcome | Conflict | Exception]


class Interrupted(WrappedStore):
    """Lets something else happen once, before or after a call is passed on: a race that always goes the same way."""

    def __init__(self, store: Store) -> None:
        super().__init__(store)
        self.meanwhile: dict[str, Callable[[], Awaitable[object]]] = {}

    async def before(self, method: str) -> None:
        await super().before(method)
        if (happens := self.meanwhile.pop(f"before {method}", None)) is not None:
            await happens()

    async def after(self, method: str) -> None:
        if (happens := self.meanwhile.pop(f"after {method}", None)) is not None:
            await happens()


class BornInTheFallback(DualStore):
    """Creates sessions where older ones are, as if they had been there before the switch."""

    async def save(self, changes: Sequence[Create | Change]) -> Answers:
        answers: Answers = []
        for item in changes:
            is_old = isinstance(item, Create) and (await self.primary.load([item.handle], 0.0)).records == [None]
            answers += await (self.fallback.save([item]) if is_old else super().save([item]))
        return answers


class PairMaker:
    """Two stores as one.

    Args:
        primary: maker of the one.
        fallback: maker of the other.
        kind: the class that joins them. Damage is done where it lets sessions begin.
    """

    def __init__(self, primary: StoreMaker, fallback: StoreMaker, kind: type[DualStore] = DualStore) -> None:
        self.makers = (primary, fallback)
        self.kind = kind
        self.damaged = fallback if kind is BornInTheFallback else primary
        self.damages: Sequence[Damage] = self.damaged.damages

    async def open(self) -> DualStore:
        primary, fallback = [await maker.open() for maker in self.makers]
        return self.kind(primary, fallback)

    async def raw_handles(self) -> set[str]:
        return {handle for maker in self.makers for handle in await maker.raw_handles()}

    async def damage(self, handle: str, damage: Damage) -> None:
        await self.damaged.damage(handle, damage)

    async def close(self) -> None:
        for maker in self.makers:
            await maker.close()


async def is_live(store: Store, handle: str, now: float) -> bool:
    """Whether a manager would let it in."""
    loaded = await store.load([handle], now)
    found = loaded.records[0]
    return isinstance(found, Record) and found.expires_at > now and found.created_at >= loaded.not_before
