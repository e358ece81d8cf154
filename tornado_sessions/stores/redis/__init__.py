"""``redis://``: sessions on Redis or Valkey: a single server, a server monitored by Sentinel, or a cluster.

It must not know policy or encoding. A session is one string, read with MGET. Lua scripts merge changes into it on the
server and update its indexes, which share its slot, in the same atomic step. ``common.lua`` describes the keys.
It has more than 300 lines because it implements every method of ``Store``.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncGenerator, Sequence
from contextlib import suppress
from typing import Any

from typing_extensions import override

from tornado_sessions.change import as_of
from tornado_sessions.cookie import new_token
from tornado_sessions.drivers.redis import (
    Client,
    ClientOptions,
    Script,
    WritesRefused,
    client_options,
    error_of,
    translated,
)
from tornado_sessions.errors import StoreError, StoreMismatch
from tornado_sessions.messages import N_, Message
from tornado_sessions.query import Count, Page, Query
from tornado_sessions.record import (
    Change,
    Conflict,
    Create,
    Damaged,
    Ending,
    Event,
    Loaded,
    Outcome,
    Record,
    Swapped,
    Tombstone,
)
from tornado_sessions.stores.base import Diagnosis, Store
from tornado_sessions.stores.listening import until_closed
from tornado_sessions.stores.redis import answers, buckets, endings, lists
from tornado_sessions.stores.redis.changes import pack_changes
from tornado_sessions.stores.redis.health import examine
from tornado_sessions.stores.redis.keys import Keys
from tornado_sessions.stores.redis.known import KnownRecords
from tornado_sessions.stores.redis.records import load_record

__all__ = ["RedisStore"]

logger = logging.getLogger("tornado_sessions")

_CLAIM = Script(__package__, "claim.lua")
_SAVE = Script(__package__, "blocks.lua", "common.lua", "save.lua")
_DESTROY = Script(__package__, "blocks.lua", "common.lua", "destroy.lua")
_TAKE = Script(__package__, "blocks.lua", "common.lua", "take.lua")
_SWAP = Script(__package__, "swap.lua")
#: The version of the layout that ``common.lua`` describes.
_LAYOUT = 2
#: How long a listener waits for a message before it checks whether the store is closing, in seconds.
_LISTEN = 0.25
#: How often ``close`` checks whether all listeners have finished, at intervals of ``_LISTEN / 5``.
_PATIENCE = 10
#: How long Redis keeps a ``swap`` value beyond ``keep_until``, in seconds: this host's clock may be fast.
_SLACK = 3600.0
#: Digits of a number that is shown; anything longer is damaged.
_MAX_DIGITS = 10


class RedisStore(Store):
    """Sessions on Redis or Valkey.

    Args:
        options: from ``client_options``.
    """

    backend = "redis"

    def __init__(self, options: ClientOptions) -> None:
        self.client = Client(options)
        self.keys = Keys(self.client)
        self._known = KnownRecords()
        #: Whether the data is known to have as many buckets as the URL says.
        self._is_claimed = False
        self._closing: asyncio.Event | None = None
        self._listeners = 0

    @classmethod
    @override
    def from_url(cls, url: str) -> RedisStore:
        return cls(client_options(url))

    @override
    async def open(self) -> None:
        if self._closing is not None:
            return
        await self.client.open()
        try:
            await self._prepare()
        except BaseException:
            await self.client.close()
            raise
        self._closing = asyncio.Event()

    async def _prepare(self) -> None:
        # On a cluster these keys must always exist: while a slot migrates, a missing key looks like one that has moved.
        first: list[Sequence[object]] = [("SETNX", key, endings.pack_time(0.0)) for key in self.keys.not_before]
        if self.client.is_cluster:
            first += [("ZADD", key, 0, "!") for key in self.keys.endings]
        try:
            await self._claim()
            await self.client.write(*first)
        except WritesRefused as error:
            logger.warning("%s; sessions can be read but not written until the server accepts writes", error)

    async def _claim(self) -> None:
        """Check that the data has this layout and as many buckets as the URL says; new data gets both.

        Otherwise this process would not find the sessions of others, and would create them in other places.

        Raises:
            StoreMismatch: the layout or the number differs.
            WritesRefused: there is no data yet, and the server accepts no writes.
        """
        buckets = self.client.options.buckets
        claimed = b"%d/%d" % (_LAYOUT, buckets)
        stored = answers.values((await self.client.read([("GET", self.keys.buckets)]))[0:1], 1)[0]
        if stored is None:
            # A script, because of two servers that start at once on an empty store only one may choose the number.
            keys = [self.keys.buckets, self.keys.not_before[0]]
            stored = answers.text(await self.client.run(_CLAIM, keys, [claimed]))
        if stored != claimed:
            raise StoreMismatch("redis", f"the data below {self.keys.prefix} {_difference(stored, buckets)}")
        self._is_claimed = True

    @override
    async def close(self) -> None:
        if self._closing is not None:
            self._closing.set()
            self._closing = None
        # Wait for the listeners first: one that loses its connection would reconnect.
        for _ in range(_PATIENCE):
            if self._listeners == 0:
                break
            await asyncio.sleep(_LISTEN / 5)
        await self.client.close()

    @override
    async def ping(self) -> None:
        """Read a key of every bucket, so that on a cluster each node with sessions is asked."""
        await self.keys.check_ends(self.client)

    @override
    async def diagnose(self) -> Diagnosis:
        """Check version, eviction and persistence of the server, or of every node of a cluster, and the permissions."""
        faults = []
        for check in (self.client.check_permissions, self._claim):
            try:
                await check()
            except StoreError as error:
                text = N_("the server refuses a command that the store needs: %s")
                faults.append(Message(text, (str(error),)))
        examined = examine(await self.client.infos(), await self.client.certificate_ends())
        return Diagnosis([*faults, *examined.faults], examined.warnings, examined.facts)

    @override
    async def probe_handles(self) -> list[str]:
        by_bucket: dict[str, str] = {}
        while len(by_bucket) < self.client.options.buckets:
            handle = new_token().handle
            by_bucket.setdefault(self.client.bucket_of(handle), handle)
        return list(by_bucket.values())

    @override
    async def load(self, handles: Sequence[str], now: float) -> Loaded:
        stored, not_before = await self.keys.get_all(self.client, "s", handles)
        found: list[Record | Tombstone | Damaged | None] = [
            as_of(self._known.load(handle, value), now) if value is not None else None
            for handle, value in zip(handles, stored, strict=True)
        ]
        missing = [place for place, value in enumerate(stored) if value is None]
        if missing:
            others = await self._load_ended([handles[place] for place in missing])
            for place, other in zip(missing, others, strict=True):
                found[place] = other
        return Loaded(found, not_before)

    async def _load_ended(self, handles: Sequence[str]) -> list[Record | Tombstone | Damaged | None]:
        """Look up handles for which MGET found no session: each has a tombstone, a key of another type, or nothing."""
        sessions: list[bytes | None] = [None] * len(handles)
        (tombstones, _), _ = await asyncio.gather(
            self.keys.get_all(self.client, "t", handles),
            self.keys.mark_foreign(self.client, "s", handles, sessions),
        )
        await self.keys.mark_foreign(self.client, "t", handles, tombstones)
        found: list[Record | Tombstone | Damaged | None] = []
        for handle, session, tombstone in zip(handles, sessions, tombstones, strict=True):
            if session is not None:
                # A key of another type: load_record reports it as damaged.
                found.append(load_record(handle, session))
            else:
                found.append(endings.load_tombstone(handle, tombstone) if tombstone is not None else None)
        return found

    @override
    async def save(self, changes: Sequence[Create | Change]) -> list[Outcome | Conflict | Exception]:
        found: list[Outcome | Conflict | Exception] = [Outcome.GONE] * len(changes)
        # On a cluster, each bucket is a separate call, and its failure concerns only its own items.
        groups = self.client.groups(item.handle for item in changes)
        saving = [self._saved_or_error([changes[place] for place in group]) for group in groups]
        # Without a cluster there is always one group, and a task for it would cost more than it gains.
        saved = [await saving[0]] if len(saving) == 1 else await asyncio.gather(*saving)
        for group, answer in zip(groups, saved, strict=True):
            for number, place in enumerate(group):
                found[place] = answer if isinstance(answer, Exception) else answer[number]
        return found

    async def _saved_or_error(
        self, changes: Sequence[Create | Change]
    ) -> list[Outcome | Conflict | Exception] | Exception:
        try:
            return await self._save(changes)
        except Exception as error:  # noqa: BLE001 - returned as the outcome of each item
            return error

    async def _save(self, changes: Sequence[Create | Change]) -> list[Outcome | Conflict | Exception]:
        if not self._is_claimed:
            await self._claim()
        keys = [self.keys.session(item.handle) for item in changes]
        keys += self.keys.touched(self.client, changes[0].handle)
        saved = answers.several(await self.client.run(_SAVE, keys, [pack_changes(changes)]), len(changes))
        return [_outcome(item.handle, answer) for item, answer in zip(changes, saved, strict=True)]

    @override
    async def destroy(self, handles: Sequence[str], ending: Ending) -> list[str]:
        names = list(dict.fromkeys(handles))
        ended: list[str] = []
        for group in self.client.groups(names):
            some = [names[place] for place in group]
            keys = [*map(self.keys.session, some), *self.keys.touched(self.client, some[0])]
            arguments = [endings.pack_ending(ending), endings.pack_time(ending.at), self.keys.channel, len(some)]
            ended += answers.names(await self.client.run(_DESTROY, keys, arguments))
        return ended

    @override
    async def destroy_user(
        self, user: str, ending: Ending, except_handle: str | None = None, at_most: int | None = None
    ) -> list[str]:
        return await buckets.destroy_user(self.client, self.keys, user, ending, except_handle, at_most)

    @override
    async def take(self, handle: str, ending: Ending) -> Record | None:
        keys = [self.keys.session(handle), *self.keys.touched(self.client, handle)]
        value = await self.client.run(_TAKE, keys, [endings.pack_ending(ending), endings.pack_time(ending.at)])
        record = load_record(handle, answers.text(value)) if value else None
        return record if isinstance(record, Record) else None

    @override
    async def end_all(self, not_before: float | None, ending: Ending) -> float:
        return await buckets.end_all(self.client, self.keys, not_before, ending)

    @override
    async def swap(self, name: str, expected: bytes | None, value: bytes | None, keep_until: float) -> Swapped:
        keep_for = max(keep_until - time.time(), 0.0) + _SLACK
        arguments = [
            *("" if expected is None else "1", expected or b""),
            *("" if value is None else "1", value or b""),
            int(keep_for * 1000),
        ]
        answer = await self.client.run(_SWAP, [self.keys.item("c", name)], arguments)
        done, stored = answers.several(answer, 2)
        return Swapped(done=answers.number(done) == 1, value=answers.text(stored) if stored is not None else None)

    @override
    async def find(self, query: Query) -> Page:
        return await lists.find(self.client, self.keys, query)

    @override
    async def count(self, query: Query) -> Count:
        """Count sessions: exactly without filters, up to a bound with filters."""
        return await lists.count(self.client, self.keys, query)

    @override
    async def expire(self, now: float, ending_kept_for: float, limit: int = 500) -> int:
        # Again, because the keys may have been removed with FLUSHDB.
        await self._claim()
        return await buckets.expire(self.client, self.keys, now, ending_kept_for, limit)

    @override
    def events(self) -> AsyncGenerator[Event, None]:
        return until_closed(self._listen, self._closing)

    async def _listen(self, closing: asyncio.Event) -> AsyncGenerator[Event, None]:
        redis = self.client.subscriber()
        listening = redis.pubsub(ignore_subscribe_messages=True)
        self._listeners += 1
        try:
            await translated(lambda: listening.subscribe(self.keys.channel))
            while not closing.is_set():
                message = await translated(lambda: listening.get_message(timeout=_LISTEN))
                for event in endings.read_events(message["data"]) if message is not None else ():
                    yield event
        finally:
            # redis-py does not wait until its connection is closed, which takes a round trip with TLS.
            connection: Any = listening.connection
            if connection is not None:
                with suppress(StoreError):
                    await translated(connection.disconnect)
            await listening.aclose()  # type: ignore[no-untyped-call]
            if self.client.is_cluster:
                await redis.aclose()
            self._listeners -= 1


def _difference(stored: bytes, buckets: int) -> str:
    """Return how stored data differs from the layout of this version and the number of buckets in the URL."""
    layout, _, number = stored.partition(b"/")
    if stored.isdigit() and len(stored) < _MAX_DIGITS:
        return (
            "was written by an earlier version, with another layout; use another prefix, and remove the old keys. "
            "Everybody has to sign in again"
        )
    if layout != b"%d" % _LAYOUT or not number.isdigit() or len(number) >= _MAX_DIGITS:
        return "has a damaged number of buckets, or was written by a later version"
    return (
        f"is spread over {number.decode()} buckets, but the URL says buckets={buckets}; use the number of the data, "
        "or move the sessions to another prefix with the command migrate"
    )


def _outcome(handle: str, answer: object) -> Outcome | Conflict | Exception:
    if isinstance(answer, int):
        return Outcome.SAVED if answer else Outcome.GONE
    if isinstance(answer, bytes):
        record = load_record(handle, answer)
        return Conflict(record) if isinstance(record, Record) else Outcome.GONE
    return error_of(answers.text(answers.several(answer, 1)[0]).decode("utf-8", "replace"))
