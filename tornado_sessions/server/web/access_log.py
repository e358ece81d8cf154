"""The access log: one line per request, without secrets. It must not know any page."""

from __future__ import annotations

import logging
import re
import time
from collections import Counter
from urllib.parse import unquote

from tornado.web import RequestHandler

from tornado_sessions.proxies import Proxies
from tornado_sessions.server.request_context import current
from tornado_sessions.server.web.connections import network_of

__all__ = ["LINES_OF_STRANGER", "LINES_OF_STRANGERS", "LINES_OF_USER", "LineBudget", "log_request", "loggable"]

logger = logging.getLogger("tornado_sessions.access")

# The path is decoded as often as proxies may have encoded it.
_MAX_DECODED = 3
_MAX_PATH = 300
#: Lines a second for each signed-in user; for each anonymous client, which is an IPv4 address or a /64 of IPv6; and for all
#: anonymous clients together. Further requests are only counted, so that nobody can fill the disk.
LINES_OF_USER, LINES_OF_STRANGER, LINES_OF_STRANGERS = 100, 20, 200
# Maximum number of clients that are named for one second.
_MAX_NAMED = 5
_ONE_TIME = re.compile(r"(setup|password|invite|two-steps|confirm)[^a-z0-9].*", re.IGNORECASE | re.DOTALL)


class LineBudget:
    """Counts the lines of each client in the current second."""

    def __init__(self) -> None:
        self._second = 0
        self._lines: Counter[str] = Counter()
        self._of_strangers = 0
        self._left_out: Counter[str] = Counter()

    def may_log(self, client: str, now: float, *, is_user: bool = False) -> bool:
        """Count a request of a user or an address. Return whether to log it. Also report those left out before this second."""
        if int(now) != self._second:
            self._second, self._lines, self._of_strangers = int(now), Counter(), 0
            self._report()
        has_room = is_user or self._of_strangers < LINES_OF_STRANGERS
        if not has_room or self._lines[client] >= (LINES_OF_USER if is_user else LINES_OF_STRANGER):
            self._left_out[client] += 1
            return False
        self._lines[client] += 1
        self._of_strangers += not is_user
        return True

    def _report(self) -> None:
        left_out, self._left_out = self._left_out, Counter()
        named = left_out.most_common(_MAX_NAMED)
        for name, many in named:
            logger.info("%d more requests (%s) within a second", many, name)
        if len(left_out) > len(named):
            rest = left_out.total() - sum(many for _, many in named)
            logger.info("%d more requests of %d other clients within a second", rest, len(left_out) - len(named))


def log_request(handler: RequestHandler, lines: LineBudget, proxies: Proxies) -> None:
    """Log status, method, path, IP address and duration, unless the client has used up its lines for this second."""
    request, status = handler.request, handler.get_status()
    level = logging.WARNING if status >= 500 else logging.INFO
    ip = proxies.of(request).ip or "unix:"
    context = getattr(handler, "request_context", None)
    user = context.user if context is not None else ""
    if not lines.may_log(f"user {user}" if user else network_of(ip), time.monotonic(), is_user=bool(user)):
        return
    path, milliseconds = loggable(request.path), round(1000 * request.request_time(), 1)
    fields = {"status": status, "duration_ms": milliseconds}
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
