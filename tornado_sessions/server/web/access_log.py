"""The access log: one line per request, without secrets. It must not know any page."""

from __future__ import annotations

import logging
import re
import time
from collections import Counter
from urllib.parse import unquote

from tornado.web import RequestHandler

from tornado_sessions.server.request_context import current
from tornado_sessions.server.web.connections import network_of

__all__ = ["LINES_PER_SECOND", "LineBudget", "log_request", "loggable"]

logger = logging.getLogger("tornado_sessions.access")

# The path is decoded as often as proxies may have encoded it.
_MAX_DECODED = 3
_MAX_PATH = 300
#: Lines a second for each client, which is an IPv4 address or a /64 of IPv6. The others are counted, so that nobody fills the
#: disk with requests.
LINES_PER_SECOND = 100
_ONE_TIME = re.compile(r"(setup|password|invite)[^a-z0-9].*", re.IGNORECASE | re.DOTALL)


class LineBudget:
    """Counts the requests of each client in the current second."""

    def __init__(self) -> None:
        self._second = 0
        self._by_client: Counter[str] = Counter()

    def may_log(self, client: str, now: float) -> bool:
        """Count a request. Return whether it may have a line; report those of the last second that had none."""
        if int(now) != self._second:
            left_out = {name: many - LINES_PER_SECOND for name, many in self._by_client.items()}
            self._second, self._by_client = int(now), Counter()
            for name, many in left_out.items():
                if many > 0:
                    logger.info("%d more requests (%s) within a second", many, name)
        self._by_client[client] += 1
        return self._by_client[client] <= LINES_PER_SECOND


def log_request(handler: RequestHandler, lines: LineBudget) -> None:
    """Log status, method, path, IP address and duration, unless the client has had its lines of this second."""
    request, status = handler.request, handler.get_status()
    level = logging.WARNING if status >= 500 else logging.INFO
    ip = handler.settings["sessions"].proxies.of(request).ip or "unix:"
    if not lines.may_log(network_of(ip), time.monotonic()):
        return
    path, milliseconds = loggable(request.path), round(1000 * request.request_time(), 1)
    fields = {"status": status, "duration_ms": milliseconds}
    context = getattr(handler, "request_context", None)
    # A response that ends because the connection closes is logged outside of the request's own context.
    token = current.set(context or current.get())
    logger.log(
        level, "%d %s %s (%s) %.1f ms", status, (request.method or "")[:20], path, ip, milliseconds, extra=fields
    )
    current.reset(token)


def loggable(path: str) -> str:
    """Return at most 300 characters of a path, without the secret token of a one-time link, however the client wrote it."""
    plain = path
    for _ in range(_MAX_DECODED):
        plain = unquote(plain)
    return (_ONE_TIME.sub(r"\1/…", plain) if _ONE_TIME.search(plain) else path)[:_MAX_PATH]
