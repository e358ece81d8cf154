"""Scripts that run over every bucket: ending a user's sessions, ending everybody's, and the clean-up.

It must not know how a record is written. Sessions are spread over 16 buckets, each of which is one slot of a cluster. A
single server runs one script for all of them. A cluster runs one script for each, and it must name every key that it
touches, so that the server can redirect it while the slot moves to another node.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Sequence

from tornado_sessions.drivers.redis import Client, Script
from tornado_sessions.record import Ending
from tornado_sessions.stores.base import FAR_AHEAD
from tornado_sessions.stores.redis import answers
from tornado_sessions.stores.redis.endings import pack_ending, pack_time
from tornado_sessions.stores.redis.keys import Keys, clean, of_user

__all__ = ["destroy_user", "end_all", "expire"]

_DESTROY_USER = Script(__package__, "common.lua", "destroy_user.lua")
_END_ALL = Script(__package__, "common.lua", "everybody.lua", "end_all.lua")
_EXPIRE = Script(__package__, "common.lua", "everybody.lua", "expire.lua")


def _runs(client: Client, keys: Keys, each: Sequence[str]) -> list[tuple[Sequence[str], Sequence[str]]]:
    """Return, for each run of a script, the keys of its buckets and the other keys that it touches."""
    if not client.is_cluster:
        return [(each, ())]
    kinds = (keys.listings, keys.expiries, keys.not_before, keys.endings)
    return [([key], others) for key, others in zip(each, zip(*kinds, strict=True), strict=True)]


async def destroy_user(
    client: Client, keys: Keys, user: str, ending: Ending, except_handle: str | None = None
) -> list[str]:
    """End the sessions of a user but one; return their handles."""
    how = [pack_ending(ending), pack_time(ending.at), keys.channel]
    ended: list[str] = []
    for buckets, others in _runs(client, keys, keys.listings):
        arguments = [*how, len(buckets), of_user(user).prefix, clean(except_handle or ""), clean(user)]
        ended += answers.names(await client.run(_DESTROY_USER, [*buckets, *others], arguments))
    return ended


async def end_all(client: Client, keys: Keys, not_before: float | None, ending: Ending) -> float:
    """End sessions by when they were created, as ``Store.end_all`` does.

    On a cluster each bucket is one write. All get the same time, so it is looked up in a first pass. The bucket that
    publishes the event comes last: whoever hears of the end finds it everywhere. If a bucket cannot be reached, the
    others are ended anyway before ``StoreUnavailable`` is raised.
    """
    asked, latest = "", math.inf
    if not_before is None:
        not_before, asked, latest = ending.at, "1", ending.at + FAR_AHEAD

    async def run(
        on: tuple[Sequence[str], Sequence[str]], at: float, asked: str, ending: bytes, publishes: str
    ) -> float:
        buckets, others = on
        arguments = [len(buckets), pack_time(at), pack_time(latest), asked, ending, keys.channel, publishes]
        return answers.score(await client.run(_END_ALL, [*buckets, *others], arguments))

    first, *others = _runs(client, keys, keys.not_before)
    packed = pack_ending(ending)
    if not others:
        return await run(first, not_before, asked, packed, "1")
    at = max(await asyncio.gather(*(run(each, not_before, asked, b"", "") for each in (first, *others))))
    ended = await asyncio.gather(*(run(each, at, "", packed, "") for each in others), return_exceptions=True)
    held = await run(first, at, "", packed, "1")
    for error in ended:
        if isinstance(error, BaseException):
            raise error
    return held


async def expire(client: Client, keys: Keys, now: float, ending_kept_for: float, limit: int) -> int:
    """Remove what ended, and old tombstones; return the number of sessions removed, at most ``limit``."""
    removed = 0
    for buckets, others in _runs(client, keys, keys.expiries):
        arguments = [len(buckets), pack_time(now), pack_time(ending_kept_for), limit - removed, keys.channel]
        removed += answers.number(await client.run(_EXPIRE, [*buckets, *others], arguments))
        if removed >= limit:
            break
    return removed
