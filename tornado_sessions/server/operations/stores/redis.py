"""``redis://``: the dashboard's data beside the accounts, in one slot.

It must not know accounts; only the server and the prefix are shared.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from typing import Any

import msgspec
from typing_extensions import override

from tornado_sessions.damage import Unreadable, fields_of
from tornado_sessions.drivers.redis import Client, ClientOptions, Script, client_options
from tornado_sessions.server.operations.stores.base import (
    AdminStore,
    AuditQuery,
    DamagedEntry,
    Document,
    Entry,
    Tallies,
    aged,
    damaged_entry,
    document_of,
    entry_of,
    tally_of,
)

__all__ = ["RedisAdminStore"]

logger = logging.getLogger("tornado_sessions")

_APPEND = Script(__package__, "append_entry.lua")
_COMPLETE = Script(__package__, "complete_entry.lua")
_FORGET = Script(__package__, "forget_entries.lua")
_ADD = Script(__package__, "add_tallies.lua")
_MEND = Script(__package__, "mend_last.lua")
_PUT = Script(__package__, "put_document.lua")
#: Entries that are read at once, and that one question looks at.
_CHUNK = 200
_HOUR = 60
#: Seconds that counts of an hour are kept by the server itself, whoever asks to forget them or not.
_TALLIES_KEPT = 2 * 86400


class RedisAdminStore(AdminStore):
    """The dashboard's data on a Redis or Valkey server.

    Args:
        options: which, and how.
    """

    def __init__(self, options: ClientOptions) -> None:
        self._client = Client(options)
        self._base = options.prefix + "{admin}:"
        self._log, self._last, self._done = (f"{self._base}{name}" for name in ("log", "last", "done"))

    @classmethod
    def from_url(cls, url: str) -> RedisAdminStore:
        """The store that a ``redis…://`` URL names. Raises ``ConfigError``."""
        return cls(client_options(url))

    @override
    async def open(self) -> None:
        await self._client.open()
        await self._client.read([("GET", self._last)])

    @override
    async def close(self) -> None:
        await self._client.close()

    def _indexes_of(self, entry: Entry) -> list[str]:
        """The sorted sets of ids that an entry is in: by who, by whom, by what."""
        names = dict.fromkeys((f"who:{entry.actor}", f"who:{entry.user}", f"act:{entry.act}"))
        return [f"{self._base}{name}" for name in names]

    @override
    async def append(self, entry: Entry) -> bool:
        keys = [self._log, self._last, *self._indexes_of(entry)]
        return bool(await self._client.run(_APPEND, keys, [entry.id, msgspec.json.encode(entry)]))

    @override
    async def complete(self, entry_id: int, ended: int, seal: str) -> None:
        """Kept beside the log, so that no entry is ever written anew."""
        await self._client.run(_COMPLETE, [self._done], [entry_id, f"{ended} {seal}"])

    @override
    async def entries(self, query: AuditQuery) -> list[Entry]:
        """Whom two filters fit is looked for chunk by chunk, to the log's beginning."""
        before, newest = query.before, 0
        if before is None:
            newest = await self._last_id()
            before = newest + 1
        found: list[Entry] = []
        while True:
            numbers = await self._numbers(query, before)
            stored = await self._read(numbers)
            if newest and newest in numbers and not (stored and stored[0].id == newest):
                # The next entry follows this one, so that it was removed has to be known.
                stored.insert(0, damaged_entry(newest, "it is missing"))
            found += [entry for entry in stored if query.matches(entry)]
            sound = [entry.at for entry in stored if not isinstance(entry, DamagedEntry)]
            if len(found) >= query.limit or len(numbers) < _CHUNK or (sound and sound[-1] < (query.since or 0.0)):
                break
            before = numbers[-1]
        return found[: query.limit]

    async def _last_id(self) -> int:
        """The number of the newest entry; found anew in the log where that was lost, or the chain would begin again over it."""
        stored, entries = await self._client.read([("GET", self._last), ("HLEN", self._log)])
        last = _whole(stored) if stored is not None else None
        if last is None and entries:
            numbers = map(_whole, (await self._client.read([("HKEYS", self._log)]))[0])
            last = max((number for number in numbers if number is not None), default=0)
            logger.error("the number of the newest audit entry was lost; it is %d", last)
            await self._client.run(_MEND, [self._last], [last])
        return last or 0

    async def _numbers(self, query: AuditQuery, before: int) -> list[int]:
        """The next ids, by an index where one fits."""
        if not query.who and not query.act:
            return list(range(before - 1, max(0, before - 1 - _CHUNK), -1))
        index = self._base + (f"who:{query.who}" if query.who else f"act:{query.act}")
        command = ("ZREVRANGEBYSCORE", index, f"({before}", "-inf", "LIMIT", 0, _CHUNK)
        found = map(_whole, (await self._client.read([command]))[0])
        return [number for number in found if number is not None]

    async def _read(self, numbers: Sequence[int]) -> list[Entry]:
        if not numbers:
            return []
        stored, done = await self._client.read([("HMGET", self._log, *numbers), ("HMGET", self._done, *numbers)])
        found = []
        for number, text, ended in zip(numbers, stored, done, strict=True):
            if text is not None:
                found.append(_entry(number, text, ended))
        return found

    @override
    async def forget_entries(self, before: float, limit: int) -> int:
        first = _whole((await self._client.read([("GET", f"{self._base}first")]))[0] or 1) or 1
        last = await self._last_id()
        stored = await self._read(range(first, min(first + limit, last) + 1))
        old = aged(((entry.id, entry.at) for entry in stored), before)
        if old:
            indexes = dict.fromkeys(name for entry in stored for name in self._indexes_of(entry))
            keys = [self._log, self._done, f"{self._base}first", *indexes]
            await self._client.run(_FORGET, keys, [first, old[-1]])
        return len(old)

    @override
    async def documents(self, kind: str) -> list[Document]:
        stored = (await self._client.read([("HGETALL", f"{self._base}{kind}")]))[0]
        return [_document(key.decode("utf-8", "replace"), value) for key, value in sorted(_pairs(stored))]

    @override
    async def document(self, kind: str, key: str) -> Document | None:
        stored = (await self._client.read([("HGET", f"{self._base}{kind}", key)]))[0]
        return _document(key, stored) if stored is not None else None

    @override
    async def put(self, kind: str, document: Document) -> bool:
        arguments = [document.key, document.revision, b"%d " % document.revision + document.body]
        return bool(await self._client.run(_PUT, [f"{self._base}{kind}"], arguments))

    @override
    async def remove(self, kind: str, key: str) -> bool:
        return bool((await self._client.write(("HDEL", f"{self._base}{kind}", key)))[0])

    @override
    async def add_tallies(self, tallies: Tallies, forget_before: int) -> None:
        """One hash an hour, which the server itself forgets."""
        by_hour: dict[str, list[object]] = {}
        for (minute, name), count in tallies.items():
            by_hour.setdefault(self._hour(minute), []).extend((f"{minute} {name}", count))
        arguments = [_TALLIES_KEPT, *(len(counts) for counts in by_hour.values())]
        if by_hour:
            await self._client.run(
                _ADD, list(by_hour), [*arguments, *(one for counts in by_hour.values() for one in counts)]
            )

    @override
    async def tallies(self, since: int) -> Tallies:
        """At most of two days."""
        hours = [self._hour(since + _HOUR * number) for number in range(_TALLIES_KEPT // 3600 + 1)]
        found: Tallies = {}
        for stored in await self._client.read([("HGETALL", hour) for hour in hours]):
            for field, count in _pairs(stored):
                minute, _, name = field.decode("utf-8", "replace").partition(" ")
                found |= tally_of(_whole(minute), name, _whole(count))
        return {name: count for name, count in found.items() if name[0] >= since}

    def _hour(self, minute: int) -> str:
        return f"{self._base}tallies:{minute // _HOUR}"


def _pairs(stored: Any) -> Iterator[tuple[bytes, bytes]]:
    """The fields of a hash, in either form in which redis-py answers."""
    return iter(stored.items()) if isinstance(stored, dict) else zip(stored[::2], stored[1::2], strict=True)


def _whole(text: str | bytes | int) -> int | None:
    try:
        return int(text)
    except ValueError:
        return None


def _entry(number: int, text: bytes, ended: bytes | None) -> Entry:
    """An entry with what its act came to, which is kept beside it."""
    try:
        fields = fields_of(text)
    except Unreadable as error:
        return damaged_entry(number, error.why)
    if ended is not None:
        count, _, seal = ended.decode("utf-8", "replace").partition(" ")
        # Of another type where it cannot be read: then the entry is shown as damaged.
        fields |= {"ended": _whole(count) if _whole(count) is not None else count, "seal": seal}
    return entry_of(number, fields)


def _document(key: str, stored: bytes) -> Document:
    revision, _, body = stored.partition(b" ")
    return document_of(key, _whole(revision), body)
