"""Makers, which create the stores of a check and can bypass them, and functions that create test data.

It must not know any store.
"""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import sha256
from typing import Any, NamedTuple, Protocol
from uuid import uuid4

from typing_extensions import override

from tornado_sessions.query import Query
from tornado_sessions.record import Cause, Change, Conflict, Create, Ending, Outcome, Record
from tornado_sessions.stores import Store, open_store
from tornado_sessions.testing.faults import WrappedStore

__all__ = ["NOW", "Damage", "StoreMaker", "UrlMaker", "change", "create", "end", "hash_of", "make_record"]

#: The time at which checks start, in UTC seconds.
NOW = 1_800_000_000.0


class Damage(NamedTuple):
    """One way to damage a stored session.

    Attributes:
        field: the field that can no longer be read; ``""`` for all of them.
        how: a short description of the damage, for messages: ``"text"``, ``"missing"``.
        of_tombstone: whether the tombstone of the session is damaged.
    """

    field: str
    how: str
    of_tombstone: bool = False


class StoreMaker(Protocol):
    """Creates the stores of one check. They share their data, which is empty at first.

    Attributes:
        damages: the kinds of damage that ``damage`` supports. If it is empty, the checks of damage pass without testing anything.
    """

    damages: Sequence[Damage]

    async def open(self) -> Store:
        """Return an open store. Each call returns another client of the same data, as in another process."""

    async def raw_handles(self) -> set[str]:
        """Return the handles of all stored sessions, including damaged ones, bypassing the store."""

    async def damage(self, handle: str, damage: Damage) -> None:
        """Damage the stored data of a handle, bypassing the store; ``damage`` is one of ``damages``."""

    async def close(self) -> None:
        """Close the stores and remove the data."""


def hash_of(text: str) -> bytes:
    """Return a hash to use as the hash of a secret."""
    return sha256(text.encode()).digest()


def make_record(handle: str = "h1", **fields: Any) -> Record:
    """Return a live session; ``fields`` replace its defaults."""
    given: dict[str, Any] = {
        "handle": handle,
        "user": "ada",
        "ip": "192.0.2.1",
        "user_agent": "Firefox",
        "created_at": NOW,
        "signed_in_at": NOW,
        "last_seen_at": max(NOW, fields.get("created_at", NOW)),
        "expires_at": NOW + 1800,
        "secret_hash": hash_of("first"),
        "rotated_at": NOW,
        "confirmed_at": NOW,
        "absolute_at": NOW + 43200,
        "idle_timeout": 1800.0,
        "data": {"a": b"1"},
    }
    return Record(**{**given, **fields})


def create(handle: str = "h1", **fields: Any) -> Create:
    """Return a ``Create`` of ``make_record(…)``."""
    return Create(record=make_record(handle, **fields))


def change(handle: str = "h1", **fields: Any) -> Change:
    """Return a change at ``NOW + 1``."""
    return Change(**{"handle": handle, "now": NOW + 1, **fields})


def end(at: float = NOW + 1, **fields: Any) -> Ending:
    """Return an ending by an operator, with a tombstone kept for a day."""
    given: dict[str, Any] = {
        "at": at,
        "cause": Cause.OPERATOR,
        "by": "root",
        "reason": "why",
        "action": "act1",
        "keep_until": at + 86400,
    }
    return Ending(**{**given, **fields})


class _Remembering(WrappedStore):
    """Records the handles of created sessions."""

    def __init__(self, store: Store, created: set[str]) -> None:
        super().__init__(store)
        self._created = created

    @override
    async def save(self, changes: Sequence[Create | Change]) -> list[Outcome | Conflict | Exception]:
        self._created.update(item.handle for item in changes if isinstance(item, Create))
        return await super().save(changes)


class UrlMaker:
    """Creates stores from a URL.

    Args:
        url: of the store; ``{id}`` in it is replaced by a unique word, so that each check starts with an empty store.
    """

    #: Nothing can be damaged through a URL; derive from this class to support damage.
    damages: Sequence[Damage] = ()

    def __init__(self, url: str) -> None:
        self.url = url.replace("{id}", uuid4().hex)
        self.stores: list[Store] = []
        self._created: set[str] = set()

    async def open(self) -> Store:
        """Return an open store."""
        self.stores.append(_Remembering(open_store(self.url), self._created))
        await self.stores[-1].open()
        return self.stores[-1]

    async def raw_handles(self) -> set[str]:
        """Return the handles of the sessions that the store still has.

        They are loaded at time 0, when nothing has expired, and by handle, because lists omit sessions ended by ``end_all``.
        """
        store = await self.open()
        listed = {item.handle for item in (await store.find(Query(now=0.0, limit=500))).items}
        loaded = await store.load(sorted(self._created - listed), 0.0)
        return listed | {found.handle for found in loaded.records if isinstance(found, Record)}

    async def damage(self, handle: str, damage: Damage) -> None:
        """Raise ``NotImplementedError``."""
        raise NotImplementedError(f"no way to damage {handle} past the store: {damage}")

    async def close(self) -> None:
        """Close the stores; their data remains."""
        for store in self.stores:
            await store.close()
