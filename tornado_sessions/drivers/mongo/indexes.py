"""Build indexes in the background, and remember which version of the layout a database has.

It must not know what is stored. Building an index of millions of documents takes minutes, longer than a request's timeout
and longer than a server should take to start. Until an index is ready, ``hint`` does not name it: MongoDB then chooses
among the others, such as those of the former version, which are dropped last.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from contextvars import Context
from functools import partial
from typing import Any

import pymongo
from pymongo import IndexModel
from pymongo.errors import DuplicateKeyError

from tornado_sessions.drivers.mongo.client import Client, translated
from tornado_sessions.errors import StoreError, StoreMismatch

__all__ = ["Indexes", "Layout"]

logger = logging.getLogger("tornado_sessions")

#: Seconds that ``open`` waits for the indexes: enough for a small collection.
PATIENCE = 1.0
#: Seconds between two messages of a long build, and before a failed one is repeated.
_REPORT = 30.0
#: Seconds that a build may take.
_LONGEST = 86400.0


class Layout:
    """The version of a layout, as stored in the collection ``schema``.

    Args:
        client: the connection to the database.
        name: of the layout.
        version: of this program.
    """

    def __init__(self, client: Client, name: str, version: int) -> None:
        self._client = client
        self._name = name
        self._version = version

    async def is_current(self) -> bool:
        """Return whether the database has this version; ``False`` if it has an earlier one, or none.

        Raises:
            StoreMismatch: it has a newer version, or the stored version is damaged.
        """
        schema = self._client.collection("schema")
        found = await translated(lambda: schema.find_one({"_id": self._name}))
        stored = found.get("version") if found is not None else 0
        if not isinstance(stored, int) or isinstance(stored, bool) or stored < 0:
            raise StoreMismatch("mongodb", f"the version of {self._name} in the collection {schema.name} is damaged")
        if stored > self._version:
            raise StoreMismatch(
                "mongodb",
                f"{self._name} has the layout of a newer version of this software ({stored}; this one knows {self._version}); "
                "update this server, or use another database or prefix",
            )
        return bool(stored == self._version)

    async def store(self) -> None:
        """Store this version, unless a later one is stored."""
        schema = self._client.collection("schema")
        newer = {"$max": {"version": self._version}}
        # Two servers may insert it at once.
        with suppress(DuplicateKeyError):
            await translated(lambda: schema.update_one({"_id": self._name}, newer, upsert=True))


class Indexes:
    """The indexes of some collections.

    Args:
        client: the connection to the database.
        models: the indexes of each collection.
        former: for each collection, the names of indexes of earlier versions.
        layout: stored once all indexes are ready and the former ones are gone.
    """

    def __init__(
        self,
        client: Client,
        models: Mapping[str, Sequence[IndexModel]],
        former: Mapping[str, Sequence[str]],
        layout: Layout,
    ) -> None:
        self._client = client
        self._models = models
        self._former = former
        self._layout = layout
        self._tasks: list[asyncio.Task[None]] = []
        #: Whether all indexes are ready.
        self.are_ready = False

    def hint(self, name: str) -> dict[str, str]:
        """Return the option of a query that is served by an index; empty while the index is being built."""
        return {"hint": name} if self.are_ready else {}

    async def open(self, patience: float = PATIENCE) -> None:
        """Build missing indexes; continue in the background if that takes longer than ``patience`` seconds.

        Raises:
            StoreError: the first attempt failed within that time.
        """
        first = self._start(self._build())
        await asyncio.wait([first], timeout=patience)
        if not first.done():
            names = ", ".join(self._models)
            logger.warning("MongoDB: building indexes of %s; until they are ready, lists are slow or fail", names)
            self._start(self._watch(first, names))
            return
        try:
            first.result()
        except BaseException:
            await self.close()
            raise

    async def close(self) -> None:
        """Stop waiting; the server finishes the builds that it has started."""
        running = [task for task in self._tasks if not task.done()]
        self._tasks.clear()
        for task in running:
            task.cancel()
        if running:
            await asyncio.gather(*running, return_exceptions=True)

    def _start(self, work: Any) -> asyncio.Task[None]:
        # Without the context variables of the request that opened the store.
        task: asyncio.Task[None] = asyncio.get_running_loop().create_task(work, context=Context())
        self._tasks.append(task)
        return task

    async def _watch(self, attempt: asyncio.Task[None], names: str) -> None:
        """Report the progress of the build, and repeat it after a failure."""
        started = time.monotonic()
        while True:
            await asyncio.wait([attempt], timeout=_REPORT)
            seconds = time.monotonic() - started
            if not attempt.done():
                logger.info("MongoDB: still building indexes of %s after %.0f s", names, seconds)
                continue
            error = attempt.exception()
            if error is None:
                logger.info("MongoDB: the indexes of %s are ready after %.0f s", names, seconds)
                return
            logger.warning(
                "MongoDB: the indexes of %s are not ready: %s; trying again in %.0f s", names, error, _REPORT
            )
            await asyncio.sleep(_REPORT)
            attempt = self._start(self._build())

    async def _build(self) -> None:
        # Replaces the socket timeout, for this task only.
        with pymongo.timeout(_LONGEST):
            for name, models in self._models.items():
                await _build(self._client.collection(name), models, self._former.get(name, ()))
            self.are_ready = True
            for name, former in self._former.items():
                await _drop(self._client.collection(name), former)
        await self._layout.store()


async def _build(collection: Any, models: Sequence[IndexModel], former: Sequence[str]) -> None:
    """Build indexes. If another server builds the same, the server answers both when they are ready."""
    try:
        await translated(lambda: collection.create_indexes(list(models)))
    except StoreMismatch:
        # MongoDB before 5.0 refuses two indexes with the same keys, so that the former one has to go first.
        if not await _drop(collection, former):
            raise
        await translated(lambda: collection.create_indexes(list(models)))


async def _drop(collection: Any, names: Sequence[str]) -> bool:
    """Drop the indexes that exist among these; return whether there was one."""
    existing = await translated(collection.index_information) if names else {}
    found = [name for name in names if name in existing]
    for name in found:
        try:
            await translated(partial(collection.drop_index, name))
        except StoreError as error:
            # Another server has dropped it, or is still building on this collection. The next start tries again.
            logger.info("MongoDB: could not drop the former index %s: %s", name, error)
    return bool(found)
