"""``MethodHandler``: HEAD and OPTIONS on every route, ``Allow`` with every 405 (RFC 9110, 9.3 and 15.5.6), and compression.

It must not know any route.
"""

from __future__ import annotations

from collections.abc import Awaitable
from typing import Any

from tornado.web import GZipContentEncoding, OutputTransform, RequestHandler
from typing_extensions import override

from tornado_sessions.server.web.compression import Compression
from tornado_sessions.server.web.request_ids import RequestIdHandler

__all__ = ["MethodHandler"]

_METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")


class MethodHandler(RequestIdHandler):
    """Base of all handlers of the server."""

    @override
    async def _execute(self, transforms: list[OutputTransform], *args: bytes, **kwargs: bytes) -> None:
        # In an application of somebody else, too, whatever it compresses itself.
        others = [each for each in transforms if not isinstance(each, GZipContentEncoding)]
        await super()._execute([*others, Compression(self.request)], *args, **kwargs)

    @classmethod
    def allowed(cls) -> tuple[str, ...]:
        """Return the methods of this route."""
        if cls.get is RequestHandler.get:
            return tuple(name for name in _METHODS if name != "HEAD" and cls._has(name))
        return tuple(filter(cls._has, _METHODS))

    @classmethod
    def _has(cls, method: str) -> bool:
        return getattr(cls, method.lower()) is not getattr(RequestHandler, method.lower())

    def head(self, *path: str) -> Awaitable[None] | None:
        """Answer like GET. Tornado omits the body and keeps its ``Content-Length``."""
        return self.get(*path)

    def options(self, *_path: str) -> None:
        """Answer with the methods of this route."""
        self.set_status(204)
        self.set_header("Allow", ", ".join(self.allowed()))

    @override
    def set_status(self, status_code: int, reason: str | None = None) -> None:
        super().set_status(status_code, reason)
        if status_code == 405:
            # Here, because Tornado's error pages clear the headers that were set before the status.
            self.set_header("Allow", ", ".join(self.allowed()))

    @override
    def write_error(self, status_code: int, **kwargs: Any) -> None:
        self.set_header("Content-Type", "text/plain; charset=utf-8")
        self.finish(f"{self._reason}\n")
