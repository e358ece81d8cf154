"""Answers of the HTTP server itself, to what no handler sees: requests too large, too slow or too many.

They cost little: no session, no template, no log line. It must not know connections or limits.
"""

from __future__ import annotations

import json
from http.client import responses

from tornado.httputil import HTTPHeaders

from tornado_sessions.messages import N_
from tornado_sessions.server.languages import preferred
from tornado_sessions.server.web.security_headers import HSTS, SECURITY_HEADERS

__all__ = ["RETRY_AFTER", "answer", "raw_answer"]

#: Seconds after which a client that was refused because the server is busy may try again.
RETRY_AFTER = 1

_TEXTS = {
    400: N_("The server does not understand this request."),
    408: N_("The request took too long to arrive. Please try again."),
    413: N_("This is more than the server accepts in one request."),
    431: N_("The header of the request is too large. Deleting this site's cookies may help."),
    503: N_("The server is busy. Please try again in a moment."),
}
_HEADERS = {**SECURITY_HEADERS, "Server": "tornado_sessions", "Cache-Control": "no-store"}


def answer(status: int, request: HTTPHeaders, *, is_secure: bool, is_api: bool = False) -> tuple[HTTPHeaders, bytes]:
    """Return the headers and the body of an answer, in the language of the request, or as problem+json (RFC 9457)."""
    text, title = _TEXTS[status], responses[status]
    if is_api:
        kind, problem = (
            "application/problem+json",
            {"type": "about:blank", "title": title, "status": status, "detail": text},
        )
        body = json.dumps(problem).encode()
    else:
        kind, body = (
            "text/plain; charset=utf-8",
            f"{preferred(request.get('Accept-Language', '')).say(text)}\n".encode(),
        )
    headers = HTTPHeaders({**_HEADERS, "Content-Type": kind, "Content-Length": str(len(body))})
    if is_secure:
        headers["Strict-Transport-Security"] = HSTS
    if status == 503:
        headers["Retry-After"] = str(RETRY_AFTER)
    return headers, body


def raw_answer(status: int, request: HTTPHeaders | None = None, *, is_secure: bool, is_api: bool = False) -> bytes:
    """Return the bytes of an answer after which the connection closes."""
    headers, body = answer(status, request or HTTPHeaders(), is_secure=is_secure, is_api=is_api)
    headers["Connection"] = "close"
    lines = [f"HTTP/1.1 {status} {responses[status]}", *(f"{name}: {value}" for name, value in headers.get_all())]
    return "\r\n".join([*lines, "", ""]).encode("latin1") + body
