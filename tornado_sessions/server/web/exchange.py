"""``Exchange``: one request and its response. It refuses requests that are too large or too many before a handler sees them.

It is between Tornado's connection, which reads the request, and the application. It must not know how connections are accepted,
or pages.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from contextlib import suppress
from socket import SHUT_WR

from tornado.http1connection import HTTP1Connection
from tornado.httputil import HTTPHeaders, HTTPMessageDelegate, RequestStartLine, ResponseStartLine
from tornado.iostream import StreamClosedError
from tornado.log import app_log

from tornado_sessions.server.web.admission import Admission
from tornado_sessions.server.web.connections import ClientStream, Phase
from tornado_sessions.server.web.limits import Limits
from tornado_sessions.server.web.load import Load
from tornado_sessions.server.web.refusals import answer, raw_answer

__all__ = ["Exchange"]

# A client that sends too large a body may read our answer only after it has sent all of it. Closing earlier would reset the
# connection and lose the answer, so the body is read and dropped, for this many seconds and bytes.
_LINGER_TIME = 5.0
_LINGER_BYTES = 32 << 20


class Exchange(HTTPMessageDelegate):
    """One request and its response.

    Args:
        stream: the client's connection.
        connection: Tornado's part of it for this request.
        delegate: the application's.
        admission, limits, load: of the server.
    """

    #: See ``admission.Request``.
    client: str | None = None
    _received = 0
    #: Whether ``load`` counts this request; whether it waits for its handler, or the handler works.
    _is_counted = _is_working = False
    _is_refused = False

    def __init__(
        self,
        stream: ClientStream,
        connection: HTTP1Connection,
        delegate: HTTPMessageDelegate,
        admission: Admission,
        limits: Limits,
        load: Load,
    ) -> None:
        self._stream, self._connection, self._delegate = stream, connection, delegate
        self._admission, self._limits, self._load = admission, limits, load
        self._method, self.path, self.headers, self.context = "", "", HTTPHeaders(), connection.context

    # --- the request arrives -----------------------------------------------------------------------------------------

    def headers_received(
        self, start_line: RequestStartLine | ResponseStartLine, headers: HTTPHeaders
    ) -> Awaitable[None] | None:
        """Refuse a request that is too large before its body is read."""
        self._load.in_progress += 1
        self._is_counted = True
        self._method, target = getattr(start_line, "method", ""), getattr(start_line, "path", "")
        self.path, self.headers = target.partition("?")[0], headers
        has_waited = self._stream.phase is Phase.IDLE
        # The connection has this phase also when there is no body: ``finish`` follows at once.
        self._stream.enter(Phase.BODY)
        if sum(1 for _ in headers.get_all()) > self._limits.header_lines:
            return self._refuse(431)
        if _is_longer(headers.get("Content-Length", ""), self._limits.body_bytes):
            return self._refuse(413)
        if has_waited:
            # No byte has arrived since the response before: the header was already there.
            return self._wait_for_pipelined(start_line, headers)
        return self._delegate.headers_received(start_line, headers)

    async def _wait_for_pipelined(self, start_line: RequestStartLine | ResponseStartLine, headers: HTTPHeaders) -> None:
        self._stream.enter(Phase.AHEAD)
        await self._admission.pace(self)
        self._stream.enter(Phase.BODY)
        received = self._delegate.headers_received(start_line, headers)
        if received is not None:
            await received

    def data_received(self, chunk: bytes) -> Awaitable[None] | None:
        """Refuse a body that turns out to be too large, because its client did not announce the length."""
        self._received += len(chunk)
        if self._received <= self._limits.body_bytes:
            return self._delegate.data_received(chunk)
        if not self._is_refused:
            self._answer_too_large()
        elif self._received > _LINGER_BYTES:
            self._stream.close()
        return None

    def finish(self) -> None:
        """The request is complete: hand it to its handler, now or soon, or answer 503."""
        if self._is_refused:
            self._stream.close()
            return
        self._is_working = True
        self._stream.enter(Phase.WORKING)
        # Tornado has no hook for "the response is finished", whatever kind of handler it is.
        setattr(self._connection, "finish", self._finish_response)  # noqa: B010 - for the type checker
        self._admission.enter(self)

    def start(self) -> None:
        """Hand the request to its handler."""
        try:
            if self._stream.closed():
                self._delegate.on_connection_close()
                self._stop_working()
                self.leave()
            else:
                self._delegate.finish()
        except Exception:  # noqa: BLE001 - as Tornado does with an error outside of the handler
            app_log.exception("Uncaught exception")
            self._stop_working()
            self._connection.close()

    def answer_busy(self) -> None:
        """Answer 503."""
        self._load.refused["busy"] += 1
        self._delegate.on_connection_close()
        headers, body = answer(503, self.headers, **self._kind())
        line = ResponseStartLine("HTTP/1.1", 503, "Service Unavailable")
        self._connection.write_headers(line, headers, b"" if self._method == "HEAD" else body)
        self._connection.finish()

    # --- the response leaves -----------------------------------------------------------------------------------------

    def _finish_response(self) -> None:
        self._stop_working()
        self._stream.enter(Phase.ANSWERED)
        self._connection.finish()
        if self._stream.closed():
            self.leave()

    def _stop_working(self) -> None:
        # Without this attribute, the connection has its own method again, and references itself no longer.
        vars(self._connection).pop("finish", None)
        self._is_working = False
        self._admission.leave(self)

    def on_connection_close(self) -> None:
        """The client has left before its request was complete."""
        self._delegate.on_connection_close()

    def leave(self) -> None:
        """End this exchange: its response has left, the client has, or it has become a WebSocket.

        A handler whose client has left still works: ``_finish_response`` then ends the exchange.
        """
        if self._is_working and getattr(self._connection, "stream", None) is None:
            self._stop_working()
        if self._is_counted and not self._is_working:
            self._is_counted = False
            self._load.in_progress -= 1

    # --- refusals ----------------------------------------------------------------------------------------------------

    async def _refuse(self, status: int) -> None:
        """Answer, then drop what still arrives for a while, then close."""
        # Detached, Tornado reads no further.
        stream = self._connection.detach()
        self._load.refused[f"answered {status}"] += 1
        try:
            async with asyncio.timeout(_LINGER_TIME):
                await stream.write(raw_answer(status, self.headers, **self._kind()))
                stream.socket.shutdown(SHUT_WR)
                dropped = 0
                while dropped < _LINGER_BYTES:
                    dropped += len(await stream.read_bytes(1 << 16, partial=True))
                    await asyncio.sleep(0)
        except (TimeoutError, StreamClosedError, OSError):
            pass
        finally:
            with suppress(OSError):
                stream.close()

    def _answer_too_large(self) -> None:
        """Answer 413 while the body arrives. Tornado may be reading already, so it reads on, until the body's time is over."""
        self._is_refused = True
        self._load.refused["answered 413"] += 1
        self._delegate.on_connection_close()
        self._stream.write(raw_answer(413, self.headers, **self._kind()))
        with suppress(OSError):
            if not self._stream.writing():
                self._stream.socket.shutdown(SHUT_WR)

    def _kind(self) -> dict[str, bool]:
        # The API also below a prefix, which a proxy may or may not remove.
        return {"is_api": "/admin/api/" in self.path, "is_secure": self._admission.is_secure(self)}


def _is_longer(content_length: str, limit: int) -> bool:
    """Return whether a ``Content-Length`` is over the limit. What is no number is left to Tornado, which answers 400."""
    # A proxy may have repeated the header, which joins its values.
    digits = content_length.partition(",")[0].strip()
    return digits.isascii() and digits.isdigit() and (len(digits) > 18 or int(digits) > limit)
