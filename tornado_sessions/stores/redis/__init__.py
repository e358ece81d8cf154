"""``redis://``: sessions on Redis or Valkey: one server, Sentinel or a cluster.

It must not know policy or encoding. A session is one string, read with MGET; a change is merged into it by a script on the server,
together with the indexes, which lie in the same slot.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Sequence

from tornado_sessions.errors import StoreUnavailable
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
    Tombstone,
    expired,
)
from tornado_sessions.stores.base import Diagnosis, Store
from tornado_sessions.stores.redis import lists, records
from tornado_sessions.stores.redis.client import Client, Script, translated
from tornado_sessions.stores.redis.keys import Keys, of_user
from tornado_sessions.stores.redis.url import ClientOptions, client_options
from tornado_sessions.wording import Sentence

__all__ = ["RedisStore"]

_SAVE = Script(__package__, "common.lua", "save.lua")
_DESTROY = Script(__package__, "common.lua", "destroy.lua")
_DESTROY_USER = Script(__package__, "common.lua", "destroy_user.lua")
_TAKE = Script(__package__, "common.lua", "take.lua")
_END_ALL = Script(__package__, "common.lua", "end_all.lua")
_EXPIRE = Script(__package__, "common.lua", "expire.lua")
#: Seconds between two looks at whether the listening shall end.
_LISTEN = 0.25
#: Looks at whether they have all left, five a period.
_PATIENCE = 10


class RedisStore(Store):
    """Sessions on a Redis or Valkey server, on what Sentinel watches, or on a cluster.

    Args:
        options: which, and how.
    """

    backend = "redis"

    def __init__(self, options: ClientOptions) -> None:
        self.client = Client(options)
        self.keys = Keys(options.prefix)
        self._closing: asyncio.Event | None = None
        self._listeners = 0

    @classmethod
    def from_url(cls, url: str) -> RedisStore:
        """The store that a ``redis…://`` URL names. Raises ``ConfigError``."""
        return cls(client_options(url))

    async def open(self) -> None:
        """As promised by ``Store.open``."""
        if self._closing is not None:
            return
        await self.client.open()
        # There from the beginning: where a slot moves to another node, a key that is missing could be one that has moved.
        await self.client.write(*(("SETNX", key, records.time(0.0)) for key in self.keys.not_before))
        self._closing = asyncio.Event()

    async def close(self) -> None:
        """As promised by ``Store.close``."""
        if self._closing is not None:
            self._closing.set()
            self._closing = None
        # Listeners leave first: one whose connection is closed under it would connect anew.
        for _ in range(_PATIENCE):
            if self._listeners == 0:
                break
            await asyncio.sleep(_LISTEN / 5)
        await self.client.close()

    async def ping(self) -> None:
        """Look at everybody's end, which every load reads."""
        await self.client.read([("GET", self.keys.not_before[0])])

    async def diagnose(self) -> Diagnosis:
        """Version, eviction and persistence of a server; of a cluster, of one node."""
        found = await self.client.info()
        faults, warnings = [], []
        policy = str(found.get("maxmemory_policy", "noeviction"))
        if policy != "noeviction":
            text = "maxmemory-policy is %s: a full server would drop live sessions; set it to noeviction"
            faults.append(Sentence(text, (policy,)))
        version = tuple(int(part) for part in str(found.get("redis_version", "6.2")).split(".")[:2])
        if version < (6, 2):
            faults.append(Sentence("the server is Redis %s; 6.2 or later is needed", (str(found["redis_version"]),)))
        if not found.get("aof_enabled"):
            text = "appendonly is off: a restart of the server loses what was stored since its last snapshot"
            warnings.append(Sentence(text))
        return Diagnosis(faults, warnings)

    async def load(self, handles: Sequence[str], now: float) -> Loaded:
        """As promised by ``Store.load``."""
        stored, not_before = await self.keys.get_all(self.client, "s", handles)
        found: list[Record | Tombstone | None] = [
            self._read(handle, value, now) if value is not None else None
            for handle, value in zip(handles, stored, strict=True)
        ]
        missing = [place for place, value in enumerate(stored) if value is None]
        if missing:
            names = [handles[place] for place in missing]
            tombstones, _ = await self.keys.get_all(self.client, "t", names)
            for place, name, value in zip(missing, names, tombstones, strict=True):
                found[place] = records.read_tombstone(name, value) if value is not None else None
        return Loaded(found, not_before)

    @staticmethod
    def _read(handle: str, value: bytes, now: float) -> Record | Tombstone:
        record = records.read_record(handle, value)
        return record if record.expires_at > now else expired(record, now, keep_until=now)

    async def save(self, changes: Sequence[Create | Change]) -> list[Outcome | Conflict | Exception]:
        """As promised by ``Store.save``; each bucket of a cluster succeeds or fails alone."""
        answers: list[Outcome | Conflict | Exception] = [Outcome.GONE] * len(changes)
        groups = self.client.groups(item.handle for item in changes)
        saved = await asyncio.gather(
            *(self._save([changes[place] for place in group]) for group in groups), return_exceptions=True
        )
        for group, answer in zip(groups, saved, strict=True):
            if isinstance(answer, BaseException) and not isinstance(answer, Exception):
                raise answer
            for number, place in enumerate(group):
                answers[place] = answer if isinstance(answer, Exception) else answer[number]
        return answers

    async def _save(self, changes: Sequence[Create | Change]) -> list[Outcome | Conflict | Exception]:
        keys = [self.keys.session(item.handle) for item in changes]
        keys += self.keys.touched(self.client, changes[0].handle)
        asked = b"".join(map(records.pack_change, changes))
        answers = await self.client.run(_SAVE, keys, [asked, len(changes)])
        return [_outcome(item.handle, answer) for item, answer in zip(changes, answers, strict=True)]

    async def destroy(self, handles: Sequence[str], ending: Ending) -> list[str]:
        """As promised by ``Store.destroy``."""
        names = list(dict.fromkeys(handles))
        ended: list[str] = []
        for group in self.client.groups(names):
            some = [names[place] for place in group]
            keys = [*map(self.keys.session, some), *self.keys.touched(self.client, some[0])]
            arguments = [records.pack_ending(ending), records.time(ending.at), self.keys.channel, len(some)]
            ended += [handle.decode() for handle in await self.client.run(_DESTROY, keys, arguments)]
        return ended

    async def destroy_user(self, user: str, ending: Ending, except_handle: str | None = None) -> list[str]:
        """As promised by ``Store.destroy_user``."""
        told = [records.pack_ending(ending), records.time(ending.at), self.keys.channel]
        ended: list[str] = []
        for buckets, besides in self._everywhere(self.keys.listings):
            arguments = [*told, len(buckets), of_user(user).prefix, except_handle or ""]
            answer = await self.client.run(_DESTROY_USER, [*buckets, *besides], arguments)
            ended += [handle.decode() for handle in answer]
        return ended

    def _everywhere(self, keys: Sequence[str]) -> list[tuple[Sequence[str], Sequence[str]]]:
        """One key of each bucket, all in one command, or each with what else is touched in one of its own."""
        if not self.client.is_cluster:
            return [(keys, ())]
        others = zip(self.keys.listings, self.keys.expiries, self.keys.not_before, strict=True)
        return [([key], other) for key, other in zip(keys, others, strict=True)]

    async def take(self, handle: str, ending: Ending) -> Record | None:
        """As promised by ``Store.take``."""
        keys = [self.keys.session(handle), *self.keys.touched(self.client, handle)]
        value = await self.client.run(_TAKE, keys, [records.pack_ending(ending), records.time(ending.at)])
        return records.read_record(handle, value) if value else None

    async def end_all(self, not_before: float, ending: Ending) -> None:
        """As promised by ``Store.end_all``; on a cluster one write for each bucket, told when all are done."""
        stored = records.time(not_before) + records.pack_ending(ending)
        event = Event(kind=EventKind.ENDED_ALL, handle="", at=not_before, cause=ending.cause, by=ending.by)
        told = [self.keys.channel, records.write_event(event)]
        keys = self.keys.not_before
        if not self.client.is_cluster:
            await self.client.run(_END_ALL, keys, [stored, *told])
            return
        await asyncio.gather(*(self.client.run(_END_ALL, [key], [stored, "", ""]) for key in keys[1:]))
        await self.client.run(_END_ALL, keys[:1], [stored, *told])

    async def find(self, query: Query) -> Page:
        """As promised by ``Store.find``."""
        return await lists.find(self.client, self.keys, query)

    async def count(self, query: Query) -> Count:
        """As promised by ``Store.count``; exact without a filter, with one up to 10,000."""
        return await lists.count(self.client, self.keys, query)

    async def expire(self, now: float, ending_kept_for: float, limit: int = 500) -> int:
        """As promised by ``Store.expire``."""
        removed = 0
        for buckets, besides in self._everywhere(self.keys.expiries):
            times = [records.time(now), records.time(ending_kept_for)]
            arguments = [len(buckets), *times, limit - removed, self.keys.channel]
            removed += await self.client.run(_EXPIRE, [*buckets, *besides], arguments)
            if removed >= limit:
                break
        return removed

    async def events(self) -> AsyncGenerator[Event, None]:
        """As promised by ``Store.events``. Raises ``StoreUnavailable`` when the connection is lost."""
        closing = self._closing
        if closing is None:
            return
        redis = self.client.subscriber()
        listening = redis.pubsub(ignore_subscribe_messages=True)
        self._listeners += 1
        try:
            await translated(lambda: listening.subscribe(self.keys.channel))
            while not closing.is_set():
                message = await translated(lambda: listening.get_message(timeout=_LISTEN))
                event = records.read_event(message["data"]) if message is not None else None
                if event is not None:
                    yield event
        except StoreUnavailable:
            # Closed while it listened: that is the end of listening, and no outage.
            if not closing.is_set():
                raise
        finally:
            await listening.aclose()  # type: ignore[no-untyped-call]
            if self.client.is_cluster:
                await redis.aclose()
            self._listeners -= 1


def _outcome(handle: str, answer: int | bytes | list[bytes]) -> Outcome | Conflict | Exception:
    if isinstance(answer, int):
        return Outcome.SAVED if answer else Outcome.GONE
    if isinstance(answer, bytes):
        return Conflict(records.read_record(handle, answer))
    return StoreUnavailable("redis", answer[0].decode("utf-8", "replace"))
