"""``Load``: what this process is working on: open connections, requests in progress, and open streams.

The HTTP server counts here and refuses what is too much; metrics read it. It must not know HTTP.
"""

from __future__ import annotations

from collections import Counter

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
