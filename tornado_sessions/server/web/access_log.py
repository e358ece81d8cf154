"""The access log: one line per request, without secrets. It must not know any page."""

from __future__ import annotations

import logging
import re
from urllib.parse import unquote

from tornado.web import RequestHandler

from tornado_sessions.server.request_context import current

__all__ = ["log_request", "loggable"]

logger = logging.getLogger("tornado_sessions.access")

# The path is decoded as often as proxies may have encoded it.
_MAX_DECODED = 3
_SETUP = re.compile(r"setup[^a-z0-9].*", re.IGNORECASE | re.DOTALL)


def log_request(handler: RequestHandler) -> None:
    """Log status, method, path, IP address and duration. A callback for ``Application(log_function=…)``."""
    request, status = handler.request, handler.get_status()
    level = logging.WARNING if status >= 500 else logging.INFO
    ip = handler.settings["sessions"].proxies.of(request).ip or "unix:"
    path, milliseconds = loggable(request.path), round(1000 * request.request_time(), 1)
    fields = {"status": status, "duration_ms": milliseconds}
    context = getattr(handler, "request_context", None)
    # A response that ends because the connection closes is logged outside of the request's own context.
    token = current.set(context or current.get())
    logger.log(level, "%d %s %s (%s) %.1f ms", status, request.method, path, ip, milliseconds, extra=fields)
    current.reset(token)


def loggable(path: str) -> str:
    """Return a path without the secret token of the setup link, however the client wrote it."""
    plain = path
    for _ in range(_MAX_DECODED):
        plain = unquote(plain)
    return _SETUP.sub("setup/…", plain) if _SETUP.search(plain) else path
