"""What the tests about Redis share: open stores, and a look at the keys past the store."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from support.urls import url_of

from tornado_sessions.stores.redis import RedisStore

__all__ = ["Open", "ask", "fresh", "keys_of", "opened", "store"]

Open = Callable[[str], Awaitable[RedisStore]]


def fresh(url: str) -> str:
    """The URL of a server with a prefix that nobody else uses."""
    return f"{url}?prefix={uuid4().hex}:"


async def ask(store: RedisStore, *command: Any) -> Any:
    """Run one command on the server of a store; on a cluster, on the node of its key."""
    return await store.client.redis.execute_command(*command)


async def keys_of(store: RedisStore, pattern: str) -> list[str]:
    """The keys of a store below its prefix, such as ``o*`` or ``s:*``, of one server."""
    found = await ask(store, "KEYS", f"{store.keys.prefix}{{*}}:{pattern}")
    return sorted(key.decode().partition("}:")[2] for key in found)


@pytest.fixture
def opened(io_loop: Any) -> Iterator[Open]:
    """Opens stores, and closes them when the test is over."""
    stores: list[RedisStore] = []

    async def open_one(url: str) -> RedisStore:
        stores.append(RedisStore.from_url(url))
        await stores[-1].open()
        return stores[-1]

    yield open_one
    for each in stores:
        io_loop.run_sync(each.close)


@pytest.fixture(params=["redis", "redis_cluster", "redis_sentinel"])
def store(request: pytest.FixtureRequest, tmp_path: Path, opened: Open, io_loop: Any) -> RedisStore:
    """An open and empty store of each kind."""
    url = url_of(request.param, request, tmp_path)
    found: RedisStore = io_loop.run_sync(lambda: opened(url))
    return found
