"""``RequestIdHandler``: the site of a handler, an ID for each request, and the security headers of each response.

It must not know sessions.
"""

from __future__ import annotations

from functools import cached_property
from typing import Any

from tornado.httputil import HTTPServerRequest
from tornado.web import Application, RequestHandler
from typing_extensions import override

from tornado_sessions.server.request_context import RequestContext, current, is_request_id, new_request_id
from tornado_sessions.server.web.access_log import loggable
from tornado_sessions.server.web.security_headers import security_headers
from tornado_sessions.server.web.site import Site

__all__ = ["RequestIdHandler"]

#: Maximum length of a method in log records: a client may send thousands of letters.
_MAX_METHOD = 20


class RequestIdHandler(RequestHandler):
    """Base of all handlers. A trusted proxy may send the ID, so that its log and ours agree; other clients may not."""

    def __init__(self, application: Application, request: HTTPServerRequest, *, site: Site, **kwargs: Any) -> None:
        # The route passes the site, because the settings belong to the application, which may have several of them.
        self.site = site
        super().__init__(application, request, **kwargs)

    @override
    def set_default_headers(self) -> None:
        # Called before anything else of a request, and again when an error page replaces the response.
        self.set_header("X-Request-ID", self.request_id)
        for name, value in security_headers(self.site.is_secure(self.request)).items():
            self.set_header(name, value)

    @property
    def request_id(self) -> str:
        """The ID of this request, in the response, in log records and in audit entries."""
        return self.request_context.id

    @cached_property
    def request_context(self) -> RequestContext:
        """What log records say about this request. Tasks that the request starts share it."""
        request = self.request
        proxies = self.site.sessions.proxies
        given = request.headers.get("X-Request-ID", "")
        is_accepted = is_request_id(given) and proxies.is_trusted(request)
        context = RequestContext(
            id=given if is_accepted else new_request_id(),
            method=(request.method or "")[:_MAX_METHOD],
            path=loggable(request.path),
            ip=proxies.of(request).ip,
        )
        current.set(context)
        return context
