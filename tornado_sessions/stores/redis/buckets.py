"""Run the scripts that cover every bucket: end a user's sessions, end all sessions, remove expired ones.

It must not know how a record is written. Sessions are spread over buckets, and each bucket is in one slot of a
cluster. On a single server, one run covers all buckets. On a cluster, each bucket needs its own run, which must declare
every key that it touches: the server can then redirect it while the slot migrates to another node.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Sequence

from tornado_sessions.drivers.redis import Client, Script
from tornado_sessions.record import Ending
from tornado_sessions.stores.base import FAR_AHEAD, FAR_AT_ONCE
from tornado_sessions.stores.redis import answers
from tornado_sessions.stores.redis.endings import pack_ending, pack_time
from tornado_sessions.stores.redis.keys import Keys, clean, of_user

__all__ = ["destroy_user", "end_all", "expire"]

#: ``FAR_AT_ONCE``, and a half more because buckets are not equally full.
_FAR_IN_ALL = 1.6 * FAR_AT_ONCE

_DESTROY_USER = Script(__package__, "blocks.lua", "common.lua", "destroy_user.lua")
_END_ALL = Script(__package__, "blocks.lua", "common.lua", "everybody.lua", "end_all.lua")
_EXPIRE = Script(__package__, "blocks.lua", "common.lua", "everybody.lua", "expire.lua")


def _runs(client: Client, keys: Keys, each: Sequence[str]) -> list[tuple[Sequence[str], Sequence[str]]]:
    """Return the keys for each run of a script: one key per bucket, and the other keys that the run touches."""
    if not client.is_cluster:
        return [(each, ())]
    kinds = (keys.listings, keys.expiries, keys.not_before, keys.endings)
    return [([key], others) for key, others in zip(each, zip(*kinds, strict=True), strict=True)]


async def destroy_user(
    client: Client, keys: Keys, user: str, ending: Ending, except_handle: str | None, at_most: int | None
) -> list[str]:
    """End at most ``at_most`` of a user's sessions, except ``except_handle``; return the handles of those ended."""
    how = [pack_ending(ending), pack_time(ending.at), keys.channel]
    ended: list[str] = []
    for buckets, others in _runs(client, keys, keys.listings):
        left = "" if at_most is None else at_most - len(ended)
        arguments = [*how, len(buckets), of_user(user).prefix, clean(except_handle or ""), clean(user), left]
        ended += answers.names(await client.run(_DESTROY_USER, [*buckets, *others], arguments))
    return ended


async def end_all(client: Client, keys: Keys, not_before: float | None, ending: Ending) -> float:
    """End all sessions created before a time; see ``Store.end_all``.

    On a cluster each bucket needs its own write, and all must store the same time: a first pass determines it. The
    bucket that publishes the event is written last, so that a listener finds the end stored in every bucket. If a
    bucket is unreachable, the others are still written before ``StoreUnavailable`` is raised.
    """
    asked, latest = "", math.inf
    if not_before is None:
        not_before, asked, latest = ending.at, "1", ending.at + FAR_AHEAD

    async def run(
        on: tuple[Sequence[str], Sequence[str]], at: float, asked: str, ending: bytes, publishes: str
    ) -> float:
        buckets, others = on
        many = math.ceil(_FAR_IN_ALL / client.options.buckets)
        arguments = [len(buckets), pack_time(at), pack_time(latest), asked, ending, keys.channel, publishes, many]
        return answers.score(await client.run(_END_ALL, [*buckets, *others], arguments))

    first, *others = _runs(client, keys, keys.not_before)
    packed = pack_ending(ending)
    if not others:
        # A single server: one atomic script finds the time and stores it in every bucket.
        return await run(first, not_before, asked, packed, "1")
    # A cluster: an empty ending only asks each bucket for its time; the latest of them is then stored in all.
    at = max(await asyncio.gather(*(run(each, not_before, asked, b"", "") for each in (first, *others))))
    ended = await asyncio.gather(*(run(each, at, "", packed, "") for each in others), return_exceptions=True)
    held = await run(first, at, "", packed, "1")
    for error in ended:
        if isinstance(error, BaseException):
            raise error
    return held


async def expire(client: Client, keys: Keys, now: float, ending_kept_for: float, limit: int) -> int:
    """Remove ended sessions and old tombstones; return the number of sessions removed, at most ``limit``."""
    removed = 0
    for buckets, others in _runs(client, keys, keys.expiries):
        arguments = [len(buckets), pack_time(now), pack_time(ending_kept_for), limit - removed, keys.channel]
        removed += answers.number(await client.run(_EXPIRE, [*buckets, *others], arguments))
        if removed >= limit:
            break
    return removed
