"""A store that answers reads and refuses writes."""

from __future__ import annotations

import asyncio

from tornado_sessions.errors import StoreUnavailable
from tornado_sessions.testing.faults import WrappedStore

#: What a read-only replica of Redis answers.
READ_ONLY = StoreUnavailable("redis", "READONLY You can't write against a read only replica.")


class RefusingStore(WrappedStore):
    """Reads are passed on; writes wait, fail, or are passed on, as a test says.

    Attributes:
        error: raised by every write, unless it is `None`.
        gate: every write waits for it, unless it is `None`.
    """

    error: Exception | None = None
    gate: asyncio.Event | None = None

    async def before(self, method: str) -> None:
        await super().before(method)
        if method in ("save", "destroy"):
            if self.gate is not None:
                await self.gate.wait()
            if self.error is not None:
                raise self.error
