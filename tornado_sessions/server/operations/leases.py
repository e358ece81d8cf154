"""``Leases``: mutual exclusion between processes, decided in the store. It must not know what runs under a lease."""

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
#: After this time without a change, in seconds, the holder of a lease counts as dead and another process takes the lease.
_ABANDONED = 10.0
#: Seconds between two reads of a lease that another process holds.
_POLL_INTERVAL = 0.05


class Leases:
    """Named leases, for short sequences of reads and writes that must not interleave.

    Args:
        documents: stores the leases.
    """

    def __init__(self, documents: DocumentStore) -> None:
        self._documents = documents

    @asynccontextmanager
    async def hold(self, name: str) -> AsyncIterator[None]:
        """Hold a lease while the block runs. Wait up to 20 seconds while another process holds it.

        Raises:
            StoreUnavailable: the store does not answer, or others held the lease during all of this time.
        """
        revision = await self._take(name)
        try:
            yield
        finally:
            try:
                # The revision makes this write fail if another process has taken over the lease in the meantime.
                await self._documents.put(_KIND, Document(name, revision + 1, _FREE))
            except StoreError as error:
                logger.warning("the lease %s was not released and will expire: %s", name, error)

    async def _take(self, name: str) -> int:
        """Take the lease and return its revision."""
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
            # Measure by this process's own clock whether the revision stays unchanged for ten seconds. A time in the document
            # would have to be compared with the clock of another host, which may differ by minutes.
            is_free = found is None or found.body != _HELD or loop.time() - since >= _ABANDONED
            if is_free and await self._documents.put(_KIND, Document(name, revision + 1, _HELD)):
                return revision + 1
            await asyncio.sleep(_POLL_INTERVAL * random.uniform(0.5, 1.5))
        raise StoreUnavailable("leases", f"timed out waiting for the lease {name}")
