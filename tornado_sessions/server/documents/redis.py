r"""``redis://``: documents on a Redis or Valkey server, all of them in one slot, so that names stay unique on a cluster.

It must not know the keys of sessions; only the server and the prefix are shared.

Four keys hold each kind of documents, or the log::

    documents:KIND         hash   key → header, newline, body. The header is JSON: [revision, tags, names]
    documents:KIND:tags    zset   "TAG\0KEY", all with score 0: their order is that of the bytes. The tag "" is on all of them
    documents:KIND:names   hash   unique name → key. A name whose document is gone is free
    log, log:tags          the same with numbers of 16 digits as keys; the header is [at, tags]
    log:done               hash   number → outcome, kept apart so that an entry is never written again
    tallies:HOUR           hash   "MINUTE NAME" → count; the server drops it after two days

Names of indexes are never made inside a script: a cluster has to see each key.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Sequence
from itertools import islice
from typing import Any

import msgspec
from typing_extensions import override

from tornado_sessions.drivers.redis import Client, ClientOptions, Script, client_options
from tornado_sessions.errors import StoreMismatch
from tornado_sessions.server.documents.base import (
    MAX_PAGE,
    Document,
    DocumentStore,
    LogEntry,
    LogQuery,
    NameTaken,
    Tallies,
    outdated,
    tally_of,
)

__all__ = ["RedisDocuments"]

logger = logging.getLogger("tornado_sessions")

_PUT, _DELETE, _PAGE, _APPEND, _COMPLETE, _FORGET, _REBUILD, _ADD = (
    Script(__package__, "common.lua", f"{name}.lua")
    for name in ("put", "delete", "page", "append", "complete", "forget", "rebuild", "add")
)
#: Entries of the log that one call reads.
_CHUNK = 200
_HOUR = 60
#: Seconds for which the server keeps counts.
_TALLIES_KEPT = 2 * 86400
_DIGITS = 16


class RedisDocuments(DocumentStore):
    """Documents on a Redis or Valkey server.

    Args:
        options: which server, and how.
    """

    def __init__(self, options: ClientOptions) -> None:
        self.client = Client(options)
        self.prefix = options.prefix + "{documents}:"
        self._log, self._index, self._done = (self.prefix + name for name in ("log", "log:tags", "log:done"))

    @classmethod
    def from_url(cls, url: str, _beside: object) -> RedisDocuments:
        """Make the store that a ``redis…://`` URL names. Raises ``ConfigError``."""
        return cls(client_options(url))

    @override
    async def open(self) -> None:
        await self.client.open()
        # Accounts of the former layout, whose server would otherwise offer to make a first operator.
        former = self.client.options.prefix + "{accounts}:names"
        if (await self.client.read([("EXISTS", former)]))[0]:
            await self.close()
            raise StoreMismatch(
                "redis", f"accounts below {former} have the layout of an earlier version; use another prefix"
            )

    @override
    async def close(self) -> None:
        await self.client.close()

    def keys_of(self, kind: str) -> list[str]:
        """Return the keys of a kind: its documents, tags and names."""
        base = f"{self.prefix}{kind}"
        return [base, f"{base}:tags", f"{base}:names"]

    @override
    async def get(self, kind: str, key: str) -> Document | None:
        stored = (await self.client.read([("HGET", self.keys_of(kind)[0], key)]))[0]
        return _document(key, stored) if stored is not None else None

    @override
    async def put(self, kind: str, document: Document, *, tags: Sequence[str] = (), names: Sequence[str] = ()) -> bool:
        header = msgspec.json.encode([document.revision, tags, names])
        done = await self.client.run(_PUT, self.keys_of(kind), [document.key, header, document.body])
        if done < 0:
            raise NameTaken
        return bool(done)

    @override
    async def delete(self, kind: str, key: str, revision: int | None = None) -> bool:
        arguments = [key, "" if revision is None else revision]
        return bool(await self.client.run(_DELETE, self.keys_of(kind), arguments))

    @override
    async def page(self, kind: str, *, tag: str = "", after: str = "", limit: int = MAX_PAGE) -> list[Document]:
        documents, index, _ = self.keys_of(kind)
        start = f"({tag}\0{after}".encode("utf-8", "surrogateescape")
        # Sent with its text and as a read, so that it is tried again after a lost connection.
        command = ("EVAL", _PAGE.text, 2, documents, index, start, f"({tag}\1", limit)
        found = iter((await self.client.read([command]))[0])
        return [
            _document(key.decode("utf-8", "surrogateescape"), stored) for key, stored in zip(found, found, strict=True)
        ]

    # --- the log -------------------------------------------------------------------------------------------------

    @override
    async def append(self, number: int, body: bytes, *, at: float, tags: Sequence[str] = ()) -> bool:
        header = msgspec.json.encode([at, tags])
        return bool(await self.client.run(_APPEND, [self._log, self._index], [_padded(number), header, body]))

    @override
    async def complete(self, number: int, outcome: bytes) -> None:
        await self.client.run(_COMPLETE, [self._done, self._log], [_padded(number), outcome])

    @override
    async def entries(self, query: LogQuery) -> list[LogEntry]:
        """Walk the index of the first tag in steps; the other conditions are looked up in the entries' headers."""
        found: list[LogEntry] = []
        step = _CHUNK if len(query.tags) > 1 or query.until is not None else min(_CHUNK, query.limit)
        before, newest = query.before, 0
        if before is None:
            newest = await self._newest()
            before = newest + 1
        while True:
            numbers = await self._numbers(query.tags[0] if query.tags else "", before, step)
            times = []
            for number, stored, outcome in await self._read(numbers):
                if stored is None:
                    # Only the newest one's absence is an answer: the next entry is written behind it.
                    found += [LogEntry(number, b"", b"", "it is missing")] if number == newest else []
                    continue
                entry, at, tags = _entry(number, stored, outcome)
                times += [at] if at is not None else []
                if tags is None or (all(tag in tags for tag in query.tags) and _is_within(at, query)):
                    found.append(entry)
            if len(found) >= query.limit or len(numbers) < step or (times and times[-1] < (query.since or 0.0)):
                return found[: query.limit]
            before = numbers[-1]

    async def _newest(self) -> int:
        """The number of the newest entry. A lost index is made again, or the log would start a second time over itself."""
        numbers, entries = await self._numbers("", None, 1), (await self.client.read([("HLEN", self._log)]))[0]
        if not numbers and entries:
            logger.error("the index of the audit log was lost; it is rebuilt from %d entries", entries)
            await self.client.run(_REBUILD, [self._log, self._index], [])
            numbers = await self._numbers("", None, 1)
        return numbers[0] if numbers else 0

    async def _numbers(self, tag: str, before: int | None, limit: int) -> list[int]:
        """The next numbers below one, the highest first. What stands behind ``:`` begins with no digit, and is none."""
        end = f"({tag}\0{_padded(before)}" if before is not None else f"({tag}\0:"
        command = ("ZREVRANGEBYLEX", self._index, end, f"[{tag}\0", "LIMIT", 0, limit)
        found = (member.rpartition(b"\0")[2] for member in (await self.client.read([command]))[0])
        return [int(number) for number in found if number.isdigit()]

    async def _read(self, numbers: Sequence[int]) -> list[tuple[int, bytes | None, bytes | None]]:
        if not numbers:
            return []
        keys = list(map(_padded, numbers))
        stored, done = await self.client.read([("HMGET", self._log, *keys), ("HMGET", self._done, *keys)])
        return list(zip(numbers, stored, done, strict=True))

    @override
    async def forget(self, before: float, limit: int) -> int:
        command = ("ZRANGEBYLEX", self._index, "[\0", "(\0:", "LIMIT", 0, limit + 1)
        numbers = [int(member[1:]) for member in (await self.client.read([command]))[0] if member[1:].isdigit()]
        times = []
        for number, stored, outcome in await self._read(numbers):
            times.append((number, _entry(number, stored, outcome)[1] if stored is not None else None))
        old = outdated(times, before)
        if old:
            await self.client.run(_FORGET, [self._log, self._index, self._done], list(map(_padded, old)))
        return len(old)

    # --- counts --------------------------------------------------------------------------------------------------

    @override
    async def add(self, tallies: Tallies, forget_before: int) -> None:
        """Counts lie in one hash for each hour, which the server itself drops."""
        by_hour: dict[str, list[object]] = {}
        for (minute, name), count in tallies.items():
            by_hour.setdefault(self.hour_of(minute), []).extend((f"{minute} {name}", count))
        if by_hour:
            sizes = [len(counts) for counts in by_hour.values()]
            counts = [argument for counts in by_hour.values() for argument in counts]
            await self.client.run(_ADD, list(by_hour), [_TALLIES_KEPT, *sizes, *counts])

    @override
    async def tallies(self, minutes: range, names: Collection[str] = ()) -> Tallies:
        hours = dict.fromkeys(map(self.hour_of, islice(minutes, _TALLIES_KEPT // 60)))
        found: Tallies = {}
        if names:
            fields = [f"{minute} {name}" for minute in minutes for name in names]
            for counts in await self.client.read([("HMGET", hour, *fields) for hour in hours]):
                found |= _tallies(zip(fields, counts, strict=True))
        else:
            for stored in await self.client.read([("HGETALL", hour) for hour in hours]):
                # redis-py gives a hash as a dict, or in a pipeline of a cluster as a flat list.
                flat = iter(stored) if isinstance(stored, list) else None
                found |= _tallies(zip(flat, flat, strict=True) if flat is not None else stored.items())
        return {place: count for place, count in found.items() if place[0] in minutes}

    def hour_of(self, minute: int) -> str:
        """Return the key of the hour of a minute."""
        return f"{self.prefix}tallies:{minute // _HOUR}"


def _padded(number: int) -> str:
    """A number whose order as text is that of its value."""
    return f"{number:0{_DIGITS}}"


def _document(key: str, stored: bytes) -> Document:
    header, _, body = stored.partition(b"\n")
    try:
        revision, _tags, _names = msgspec.json.decode(header, type=tuple[int, list[str], list[str]])
    except (msgspec.DecodeError, UnicodeDecodeError):
        return Document(key, 0, b"", "its header is not valid")
    return Document.checked(key, revision, body)


def _entry(number: int, stored: bytes, outcome: bytes | None) -> tuple[LogEntry, float | None, list[str] | None]:
    """An entry with its time and tags; neither is known of a damaged one."""
    header, _, body = stored.partition(b"\n")
    try:
        at, tags = msgspec.json.decode(header, type=tuple[float, list[str]])
    except (msgspec.DecodeError, UnicodeDecodeError):
        return LogEntry(number, b"", b"", "its header is not valid"), None, None
    return LogEntry(number, body, outcome or b""), at, tags


def _is_within(at: float | None, query: LogQuery) -> bool:
    return at is None or (at >= (query.since or at) and at <= (query.until or at))


def _tallies(fields: Any) -> Tallies:
    found: Tallies = {}
    for field, count in fields:
        minute, _, name = (field if isinstance(field, str) else field.decode("utf-8", "replace")).partition(" ")
        found |= tally_of(_whole(minute), name, _whole(count))
    return found


def _whole(text: str | bytes | None) -> int | None:
    try:
        return int(text) if text is not None else None
    except ValueError:
        return None
