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
        #: The revision of each lease that another process holds, and when this process first saw it, on its own clock.
        self._seen: dict[str, tuple[int, float]] = {}

    @asynccontextmanager
    async def hold(self, name: str) -> AsyncIterator[None]:
        """Hold a lease while the block runs. Wait up to 20 seconds while another process holds it.

        Raises:
            StoreUnavailable: the store does not answer, or others held the lease during all of this time.
        """
        revision = await self._wait_for(name)
        try:
            yield
        finally:
            await self.release(name, revision)

    async def take(self, name: str) -> int | None:
        """Take a lease and return its revision; ``None`` if another process holds it."""
        found = await self._documents.get(_KIND, name)
        if found is not None and found.damage:
            await self._documents.delete(_KIND, name)
            found = None
        revision = found.revision if found is not None else 0
        is_free = found is None or found.body != _HELD or self._is_abandoned(name, revision)
        return await self.renew(name, revision) if is_free else None

    async def renew(self, name: str, revision: int) -> int | None:
        """Extend a lease by ten seconds and return its new revision; ``None`` if another process has taken it."""
        if not await self._documents.put(_KIND, Document(name, revision + 1, _HELD)):
            return None
        self._seen.pop(name, None)
        return revision + 1

    async def release(self, name: str, revision: int) -> None:
        """Give a lease up. Does nothing if another process has taken it."""
        try:
            # The revision makes this write fail if another process has taken over the lease in the meantime.
            await self._documents.put(_KIND, Document(name, revision + 1, _FREE))
        except StoreError as error:
            logger.warning("the lease %s was not released and will expire: %s", name, error)

    def _is_abandoned(self, name: str, revision: int) -> bool:
        # Measure by this process's own clock whether the revision stays unchanged for ten seconds. A time in the document
        # would have to be compared with the clock of another host, which may differ by minutes.
        now = asyncio.get_running_loop().time()
        seen, since = self._seen.get(name, (0, now))
        if revision != seen:
            self._seen[name] = (revision, now)
            return False
        return now - since >= _ABANDONED

    async def _wait_for(self, name: str) -> int:
        loop = asyncio.get_running_loop()
        until = loop.time() + 2 * _ABANDONED
        while loop.time() < until:
            revision = await self.take(name)
            if revision is not None:
                return revision
            await asyncio.sleep(_POLL_INTERVAL * random.uniform(0.5, 1.5))
        raise StoreUnavailable("leases", f"timed out waiting for the lease {name}")
