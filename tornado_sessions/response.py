"""``HeldResponse``: a finished response that waits for its session to be stored.

It must not know sessions. It stands in for the request's connection, so Tornado composes the response as always, at the moment the
handler calls ``finish`` or ``flush``; only the bytes wait.
"""

from __future__ import annotations

from asyncio import Future
from collections.abc import Callable
from contextvars import Context
from functools import partial
from typing import Any, Self

from tornado.concurrent import chain_future
from tornado.httputil import HTTPConnection, HTTPHeaders, RequestStartLine, ResponseStartLine

__all__ = ["HeldResponse"]

_OWN = frozenset({"connection", "headers", "is_finished", "_writes"})


class HeldResponse(HTTPConnection):
    """Keeps what Tornado writes, in order, until ``release`` or ``drop``.

    Args:
        connection: the real one, which gets it then.

    Attributes:
        connection: the real one.
        headers: the response's headers; ``None`` while none were written, because they left before.
        is_finished: whether Tornado has finished the response.
    """

    def __init__(self, connection: HTTPConnection) -> None:
        self.connection = connection
        self.headers: HTTPHeaders | None = None
        self.is_finished = False
        self._writes: list[tuple[Callable[[], Future[None]], _Sent]] = []

    def write_headers(
        self, start_line: RequestStartLine | ResponseStartLine, headers: HTTPHeaders, chunk: bytes | None = None
    ) -> Future[None]:
        """Keep the headers and the first bytes of the body. Returns a future that is done when they have left."""
        self.headers = _copy(headers)
        return self._keep(partial(self.connection.write_headers, start_line, self.headers, chunk))

    def write(self, chunk: bytes) -> Future[None]:
        """Keep more of the body. Returns a future that is done when it has left."""
        return self._keep(partial(self.connection.write, chunk))

    def finish(self) -> None:
        """Remember that this is all."""
        self.is_finished = True
        # Tornado's reader asks this before it hands the rest of a request's body to the handler or sends "100 Continue".
        # The response is decided from here on, although the real finish() comes later.
        if hasattr(self.connection, "_write_finished"):
            self.connection._write_finished = True

    def _keep(self, send: Callable[[], Future[None]]) -> Future[None]:
        sent = _Sent()
        self._writes.append((send, sent))
        return sent

    def release(self) -> None:
        """Send everything.

        Raises:
            ValueError, HTTPOutputError: as the real connection does, for headers or a body that make no valid response.
        """
        while self._writes:
            send, sent = self._writes[0]
            chain_future(send(), sent)
            del self._writes[0]
        if self.is_finished:
            self.connection.finish()

    def drop(self, error: Exception | None) -> None:
        """Throw everything away.

        Args:
            error: what whoever awaits one of the writes gets; ``None``: nothing, another response is sent instead.
        """
        writes, self._writes = self._writes, []
        for _, sent in writes:
            if sent.done():
                continue
            if error is None:
                sent.set_result(None)
            else:
                sent.set_exception(error)

    @property
    def is_awaited(self) -> bool:
        """Whether somebody waits for one of the writes now."""
        return any(sent.is_awaited for _, sent in self._writes)

    def __setattr__(self, name: str, value: object) -> None:
        """What is set on this is set on the real connection, such as ``no_keep_alive``."""
        if name in _OWN:
            super().__setattr__(name, value)
        else:
            setattr(self.connection, name, value)

    def __getattr__(self, name: str) -> Any:
        """Everything else, such as ``set_close_callback``, ``stream`` and ``detach``, is the real connection's."""
        return getattr(self.connection, name)


def _copy(headers: HTTPHeaders) -> HTTPHeaders:
    """A copy, because what the handler sets behind finish() would have come too late.

    ``HTTPHeaders.copy`` checks every name and value again, which costs as much as composing the whole response.
    """
    copied = HTTPHeaders.__new__(HTTPHeaders)
    for name, part in vars(headers).items():
        if isinstance(part, dict):
            part = {key: value.copy() if isinstance(value, list) else value for key, value in part.items()}  # noqa: PLW2901
        setattr(copied, name, part)
    return copied


class _Sent(Future[None]):
    """Done when a write has left."""

    def __init__(self) -> None:
        super().__init__()
        #: Whether anything was told to go on when it is done.
        self.is_awaited = False
        # Awaiting it is optional, so an error that nobody looks at is no news.
        super().add_done_callback(_look_at_error)

    def add_done_callback(self, fn: Callable[[Self], object], /, *, context: Context | None = None) -> None:
        self.is_awaited = True
        super().add_done_callback(fn, context=context)


def _look_at_error(sent: Future[None]) -> None:
    if not sent.cancelled():
        sent.exception()
