"""``RequestContext``: what log records and audit entries say about the request that causes them.

A context variable carries it, so that streams and tasks started by a request have it, too. It must not know HTTP.
"""

from __future__ import annotations

import re
import secrets
from contextvars import ContextVar
from dataclasses import dataclass, field

__all__ = ["RequestContext", "current", "is_request_id", "new_request_id", "request_id"]

#: Request IDs that are accepted from a proxy: they are safe in headers, log lines, URLs and file names.
is_request_id = re.compile(r"[A-Za-z0-9._-]{1,128}").fullmatch


def new_request_id() -> str:
    """Return a new request ID: 128 random bits, hexadecimal."""
    return secrets.token_hex(16)


@dataclass(slots=True)
class RequestContext:
    """The request that is answered now. Its fields are filled in as they become known.

    Attributes:
        id: the request ID, also returned as ``X-Request-ID``.
        method, path: of the request line, without the query string.
        ip: the client's address, as worked out through trusted proxies.
        user: the username; empty for visitors.
        handle: the handle of the session; empty without one.
    """

    id: str = field(default_factory=new_request_id)
    method: str = ""
    path: str = ""
    ip: str = ""
    user: str = ""
    handle: str = ""


#: The request in whose context this code runs; ``None`` outside of requests.
current: ContextVar[RequestContext | None] = ContextVar("tornado_sessions_request", default=None)


def request_id() -> str:
    """Return the ID of the request in whose context this code runs; empty outside of requests."""
    context = current.get()
    return context.id if context is not None else ""
