"""The access log: one line per request, without secrets. It must not know any page."""

from __future__ import annotations

import logging

from tornado.web import RequestHandler

__all__ = ["log_request", "loggable"]

logger = logging.getLogger("tornado_sessions.access")


def log_request(handler: RequestHandler) -> None:
    """Log status, method, path, IP address and duration. A callback for ``Application(log_function=…)``."""
    request, status = handler.request, handler.get_status()
    level = logging.WARNING if status >= 500 else logging.INFO
    ip = handler.settings["sessions"].proxies.of(request).ip or "unix:"
    path, milliseconds = loggable(request.path), 1000 * request.request_time()
    logger.log(level, "%d %s %s (%s) %.1f ms", status, request.method, path, ip, milliseconds)


def loggable(path: str) -> str:
    """Return a path without the secret token of the setup link."""
    return "/setup/…" if path.startswith("/setup/") else path
