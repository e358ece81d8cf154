"""``HeldResponse``: keep the bytes of a response until they may be sent.

It replaces the request's connection, so Tornado composes the response as usual when the handler calls ``finish`` or ``flush``;
only the bytes wait. It must not know sessions, or what the bytes wait for.
"""

from __future__ import annotations

from asyncio import Future
from collections.abc import Callable
from functools import partial
from typing import Any

from tornado.concurrent import chain_future
from tornado.httputil import HTTPConnection, HTTPHeaders, RequestStartLine, ResponseStartLine
from tornado.web import RequestHandler

__all__ = ["HeldResponse"]

# The methods that Tornado's finish() calls after it has written the last byte.
_AFTER_THE_LAST_BYTE = ("_log", "on_finish", "_break_cycles")


class HeldResponse(HTTPConnection):
    """Keeps Tornado's writes, in order, until ``release`` or ``drop``. Everything else is delegated to the connection.

    Args:
        connection: the real connection.

    Attributes:
        connection: the real connection.
        headers: the response's headers; ``None`` if they were sent before the response was held.
        is_finished: whether Tornado has finished the response.
    """

    connection: HTTPConnection
    headers: HTTPHeaders | None = None
    is_finished: bool = False
    #: Status and reason of the complete response.
    _status: tuple[int, str] | None = None
    _writes: list[tuple[Callable[[], Future[None]], Future[None]]]

    def __init__(self, connection: HTTPConnection) -> None:
        # All attributes of this object are set through vars(): __setattr__ sets those of the real connection.
        own = vars(self)
        own["connection"], own["_writes"] = connection, []

    def write_headers(
        self, start_line: RequestStartLine | ResponseStartLine, headers: HTTPHeaders, chunk: bytes | None = None
    ) -> Future[None]:
        """Keep the headers and the first bytes of the body. Return a future that is done when they are written."""
        copied = vars(self)["headers"] = _copy(headers)
        return self._keep(partial(self.connection.write_headers, start_line, copied, chunk))

    def write(self, chunk: bytes) -> Future[None]:
        """Keep more of the body. Return a future that is done when it is written."""
        return self._keep(partial(self.connection.write, chunk))

    def _keep(self, send: Callable[[], Future[None]]) -> Future[None]:
        sent: Future[None] = Future()
        self._writes.append((send, sent))
        return sent

    def finish(self) -> None:
        """Record that the response is complete."""
        vars(self)["is_finished"] = True
        # Tornado's reader checks this before it passes more of the request's body to the handler or sends "100 Continue".
        # It must already see a finished response, although the real finish() comes later.
        if hasattr(self.connection, "_write_finished"):
            self.connection._write_finished = True

    def release(self) -> None:
        """Send everything.

        Raises:
            ValueError, HTTPOutputError: raised by the real connection if headers or body make no valid response.
        """
        while self._writes:
            send, sent = self._writes[0]
            written = send()
            if written.done() and not written.cancelled() and written.exception() is None and not sent.done():
                # As nearly always: the kernel has taken the bytes.
                sent.set_result(None)
            else:
                chain_future(written, sent)
                sent.add_done_callback(_look_at_error)
            del self._writes[0]
        if self.is_finished:
            self.connection.finish()

    def drop(self, error: Exception | None) -> None:
        """Discard everything.

        Args:
            error: raised to the code that awaits one of the writes; ``None``: they succeed, since another response is sent instead.
        """
        writes = self._writes.copy()
        self._writes.clear()
        for _, sent in writes:
            if sent.done():
                continue
            if error is None:
                sent.set_result(None)
            else:
                sent.set_exception(error)
                _look_at_error(sent)

    @property
    def is_awaited(self) -> bool:
        """Whether any code waits for one of the writes."""
        # asyncio's own attribute: the callbacks of those that wait.
        return any(getattr(sent, "_callbacks", None) for _, sent in self._writes)

    def postpone_end(self, handler: RequestHandler) -> None:
        """Keep Tornado's ``finish`` from logging the request and calling ``on_finish`` while the bytes are held.

        ``finish`` calls ``flush`` and, right after it, each of three methods once. On this handler, each of them is replaced by
        a function that only removes itself. ``end`` calls the real ones when the response has been sent.
        """
        # A set_status() after finish() must not change the status that the access log and on_finish() see.
        vars(self)["_status"] = handler._status_code, handler._reason
        own = vars(handler)
        for name in _AFTER_THE_LAST_BYTE:
            # Without a function in Python's sense: each request that writes calls all three.
            own[name] = partial(_skip_once, own, name, own[name]) if name in own else partial(own.pop, name)

    def end(self, handler: RequestHandler) -> None:
        """Run the postponed methods, if there are any."""
        if self._status is None:
            return
        handler._status_code, handler._reason = self._status
        try:
            handler._log()
            handler.on_finish()
            handler._break_cycles()
        except Exception as error:  # noqa: BLE001 - an error in on_finish is logged, as in Tornado's own _execute
            handler._handle_request_exception(error)

    def __setattr__(self, name: str, value: object) -> None:
        """Set an attribute, such as ``no_keep_alive``, on the real connection."""
        setattr(self.connection, name, value)

    def __getattr__(self, name: str) -> Any:
        """Read an attribute, such as ``set_close_callback``, ``stream`` or ``detach``, from the real connection."""
        return getattr(self.connection, name)


def _skip_once(own: dict[str, Any], name: str, replaced: Callable[[], object]) -> None:
    """Skip one call of a postponed method that the handler has replaced itself, and restore it."""
    own[name] = replaced


def _copy(headers: HTTPHeaders) -> HTTPHeaders:
    """Copy headers, so that later changes by the handler have no effect.

    ``HTTPHeaders.copy`` validates every name and value again, which costs as much as composing the whole response.
    """
    copied = HTTPHeaders.__new__(HTTPHeaders)
    # The lines of each header are a list, to which the handler could add.
    copied._as_list = {name: lines[:] for name, lines in headers._as_list.items()}
    copied._combined_cache = headers._combined_cache.copy()
    return copied


def _look_at_error(sent: Future[None]) -> None:
    """Silence asyncio's warning about an exception that was never retrieved: a handler need not await flush()."""
    if not sent.cancelled():
        sent.exception()
