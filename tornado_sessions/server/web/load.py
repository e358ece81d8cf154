"""``Load``: what this process is working on: open connections, requests in progress, and open streams.

The HTTP server counts here and refuses what is too much; draining waits here; metrics read it. It must not know HTTP.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from contextlib import suppress

__all__ = ["Load"]


class Load:
    """The counts of one process. All methods run on its event loop."""

    def __init__(self) -> None:
        #: Open connections, with or without a request.
        self.connections = 0
        #: Requests whose header has arrived and whose response has not left completely. Streams are among them.
        self.in_progress = 0
        #: Responses that last, such as event streams. They do not count against the limit of requests.
        self.streams = 0
        #: How many connections and requests were refused or cut, by reason, since the process started.
        self.refused: Counter[str] = Counter()
        self._idle = asyncio.Event()
        self._idle.set()

    def begin(self) -> None:
        """Count a request whose header has arrived. Each call is followed by one of ``end``."""
        self.in_progress += 1
        self._idle.clear()

    def end(self) -> None:
        """Count a request as done: its response has left, or its client has."""
        self.in_progress -= 1
        if not self.in_progress:
            self._idle.set()

    async def wait_until_idle(self, seconds: float) -> bool:
        """Wait until no request is in progress, at most for this time. Return whether none is."""
        with suppress(TimeoutError):
            await asyncio.wait_for(self._idle.wait(), seconds)
        return not self.in_progress
