"""``Leases``: steps that only one process may do at a time, decided in the store.

It must not know what is done under a lease.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from tornado_sessions.errors import StoreError, StoreUnavailable
from tornado_sessions.server.documents import Document, DocumentStore

__all__ = ["Leases"]

logger = logging.getLogger("tornado_sessions")

_KIND = "lease"
_HELD, _FREE = b"held", b"free"
#: Seconds after which a lease that has not changed is taken from its holder, who must have died.
_ABANDONED = 10.0
#: Seconds between two looks at a lease that another process holds.
_POLL_INTERVAL = 0.05


class Leases:
    """Leases by name, for a few writes that have to see each other's result.

    Args:
        documents: where they are kept.
    """

    def __init__(self, documents: DocumentStore) -> None:
        self._documents = documents

    @asynccontextmanager
    async def hold(self, name: str) -> AsyncIterator[None]:
        """Hold a lease while the block runs; wait while another process holds it.

        Raises:
            StoreUnavailable: the store does not answer, or too many wait for the same lease.
        """
        revision = await self._take(name)
        try:
            yield
        finally:
            try:
                # Guarded by the revision: a lease that another process has taken over is not ours to free.
                await self._documents.put(_KIND, Document(name, revision + 1, _FREE))
            except StoreError as error:
                logger.warning("the lease %s is freed late: %s", name, error)

    async def _take(self, name: str) -> int:
        """Take the lease. Returns its revision."""
        loop = asyncio.get_running_loop()
        since, seen = loop.time(), 0
        until = since + 2 * _ABANDONED
        while loop.time() < until:
            found = await self._documents.get(_KIND, name)
            if found is not None and found.damage:
                await self._documents.delete(_KIND, name)
                continue
            revision = found.revision if found is not None else 0
            if revision != seen:
                since, seen = loop.time(), revision
            # This process watches for ten seconds by its own clock whether the revision changes. A time in the document would
            # compare the clocks of two hosts, which may differ by minutes.
            is_free = found is None or found.body != _HELD or loop.time() - since >= _ABANDONED
            if is_free and await self._documents.put(_KIND, Document(name, revision + 1, _HELD)):
                return revision + 1
            await asyncio.sleep(_POLL_INTERVAL * random.uniform(0.5, 1.5))
        raise StoreUnavailable("leases", f"{name} is held by others for too long")
