"""What a check is given: a maker of stores, with probes that go round the store; and records to put in.

It must not know any store.
"""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import sha256
from typing import Any, NamedTuple, Protocol
from uuid import uuid4

from tornado_sessions.query import Query
from tornado_sessions.record import Cause, Change, Conflict, Create, Ending, Outcome, Record
from tornado_sessions.stores import Store, open_store
from tornado_sessions.testing.faults import WrappedStore

__all__ = ["NOW", "Damage", "StoreMaker", "UrlMaker", "change", "create", "end", "hash_of", "make_record"]

#: The time at which checks begin, in UTC seconds.
NOW = 1_800_000_000.0


class Damage(NamedTuple):
    """One way to damage what is stored of a session.

    Attributes:
        field: which field can no longer be read; ``""`` for all of them.
        how: what stands there instead, for messages: ``"text"``, ``"missing"``.
        of_tombstone: whether it is the session's tombstone that is damaged.
    """

    field: str
    how: str
    of_tombstone: bool = False


class StoreMaker(Protocol):
    """Makes the stores of one check, all with the same data, empty at first.

    Attributes:
        damages: ways in which ``damage`` can damage what is stored. A maker that knows none says so with an empty tuple: the
            checks of damage then hold for nothing, which the project's own run prints.
    """

    damages: Sequence[Damage]

    async def open(self) -> Store:
        """A store, open; at the second call another client of the same data, as in another process."""

    async def raw_handles(self) -> set[str]:
        """The handles that are physically there as sessions, damaged ones included, read past the store."""

    async def damage(self, handle: str, damage: Damage) -> None:
        """Damage what is stored under a handle, past the store, in one of the ways of ``damages``."""

    async def close(self) -> None:
        """Close what was opened and remove the data."""


def hash_of(text: str) -> bytes:
    """A stand-in for the hash of a secret."""
    return sha256(text.encode()).digest()


def make_record(handle: str = "h1", **fields: Any) -> Record:
    """A live session; ``fields`` replace what it would have. It was never last seen before it was created."""
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
    """The creation of ``make_record(…)``."""
    return Create(record=make_record(handle, **fields))


def change(handle: str = "h1", **fields: Any) -> Change:
    """A change at ``NOW + 1``."""
    return Change(**{"handle": handle, "now": NOW + 1, **fields})


def end(at: float = NOW + 1, **fields: Any) -> Ending:
    """An ending by an operator, kept for a day."""
    given: dict[str, Any] = {"at": at, "cause": Cause.OPERATOR, "by": "root", "reason": "why", "keep_until": at + 86400}
    return Ending(**{**given, **fields})


class _Remembering(WrappedStore):
    """Remembers the handles of the sessions that it is told to create."""

    def __init__(self, store: Store, created: set[str]) -> None:
        super().__init__(store)
        self._created = created

    async def save(self, changes: Sequence[Create | Change]) -> list[Outcome | Conflict | Exception]:
        """Passed on."""
        self._created.update(item.handle for item in changes if isinstance(item, Create))
        return await super().save(changes)


class UrlMaker:
    """Stores that a URL names, for a server of one's own.

    Args:
        url: of the store; ``{id}`` in it becomes a word that is used once, so that each check begins with nothing.
    """

    #: A URL is no way past the store; derive from this class to damage something.
    damages: Sequence[Damage] = ()

    def __init__(self, url: str) -> None:
        self.url = url.replace("{id}", uuid4().hex)
        self.stores: list[Store] = []
        self._created: set[str] = set()

    async def open(self) -> Store:
        """A store, open."""
        self.stores.append(_Remembering(open_store(self.url), self._created))
        await self.stores[-1].open()
        return self.stores[-1]

    async def raw_handles(self) -> set[str]:
        """What is there, as a client of long ago would see it: nothing has expired, and only what was removed is gone.

        They are loaded by handle, because lists leave out what ended with everybody's, swept or not.
        """
        store = await self.open()
        listed = {item.handle for item in (await store.find(Query(now=0.0, limit=500))).items}
        loaded = await store.load(sorted(self._created - listed), 0.0)
        return listed | {found.handle for found in loaded.records if isinstance(found, Record)}

    async def damage(self, handle: str, damage: Damage) -> None:
        """Nothing to damage."""
        raise NotImplementedError(f"no way to damage {handle} past the store: {damage}")

    async def close(self) -> None:
        """Close what was opened; the data stays."""
        for store in self.stores:
            await store.close()
