"""``/admin/live``: the parts of the overview that have changed, sent every two seconds as server-sent events (WHATWG HTML 9.2).

Like every stream, it closes when its session ends. It must not know how events are counted or drawn.
"""

from __future__ import annotations

from typing import Any

import msgspec
from tornado.iostream import StreamClosedError
from tornado.web import HTTPError
from typing_extensions import override

from tornado_sessions.errors import SessionError, StoreError
from tornado_sessions.messages import N_, Message
from tornado_sessions.server.operations.overview import Board
from tornado_sessions.server.operations.self_check import Grade, Remedy, check_of
from tornado_sessions.server.web.operators import OperatorHandler
from tornado_sessions.server.web.outage import Outage, outage_of
from tornado_sessions.server.web.pages.board import PARTS, draw_board, span_named

__all__ = ["LivePage"]

#: Seconds between two events.
INTERVAL = 2.0
#: How long a stream lasts, in seconds. The browser then opens a new one.
STREAM_LIFETIME = 600.0


class TooManyStreams(HTTPError):
    """The process or the person has reached its maximum number of streams. The page works without one and tries again later."""

    retry_after = 60

    def __init__(self) -> None:
        super().__init__(503)


class LivePage(OperatorHandler):
    """``/admin/live``. Browsers reopen the stream automatically, so it does not count as use of the session."""

    touches = False
    own_pages_only = True
    #: Whose place the stream has; empty without one.
    _person = ""
    #: When the store last answered, in UTC seconds; ``None`` until it has.
    _answered_at: float | None = None

    @override
    def initialize(self) -> None:
        """Begin with nothing sent."""
        self._sent: dict[str, str] = {}

    @override
    def write_error(self, status_code: int, **kwargs: Any) -> None:
        """Send an error page or, if the store cannot say who asks, an event with the text of the outage page.

        Browsers do not report why a stream was refused. After an event they reconnect in a few seconds.
        """
        error = (kwargs.get("exc_info") or (None, None))[1]
        if not isinstance(error, StoreError):
            super().write_error(status_code, **kwargs)
            return
        self.set_status(200)
        self._describe_stream()
        self.finish(self._down(error))

    def _describe_stream(self) -> None:
        self.set_header("Content-Type", "text/event-stream")
        self.set_header("Cache-Control", "no-store")
        self.set_header("X-Accel-Buffering", "no")

    async def get(self) -> None:
        """Send an event every two seconds."""
        self._describe_stream()
        if self.request.method == "HEAD":
            await self.flush()
            return
        self._take_place()
        try:
            await self._send()
        finally:
            self._leave_place()

    def on_connection_close(self) -> None:
        """Leave the place at once. The stream itself notices only when it sends the next event."""
        super().on_connection_close()
        self._leave_place()

    def _take_place(self) -> None:
        person = self.user_id or ""
        if not self.site.streams.take(person):
            raise TooManyStreams
        self._person = person
        self.site.load.streams += 1

    def _leave_place(self) -> None:
        if self._person:
            self.site.streams.leave(self._person)
            self.site.load.streams -= 1
            self._person = ""

    async def _send(self) -> None:
        try:
            for _ in range(int(STREAM_LIFETIME / INTERVAL)):
                self.write(await self._event())
                await self.flush()
                if await self.site.draining.pause(INTERVAL):
                    self.write(self.site.draining.hint)
                    return
        except (StreamClosedError, HTTPError):
            return

    async def _event(self) -> bytes:
        try:
            # The role may have been withdrawn since.
            await self.authorize()
            board = await self.parts.overview.look()
            data = await self._data(board)
        except SessionError as error:
            # No numbers: the page says that it is out of date. It still learns what is wrong.
            return self._down(error)
        self._answered_at = board.snapshot.at
        return b"data: " + msgspec.json.encode(data) + b"\n\n"

    def _down(self, error: SessionError) -> bytes:
        """Return the event that is sent while the store does not answer: the class of the error, whose message may name a host."""
        outage = outage_of(error) or Outage(self.sessions.store.backend, type(error).__name__)
        detail, values = N_("no answer (%s)"), [outage.kind]
        if self._answered_at is not None:
            detail, values = N_("no answer since %s (%s)"), [self.language.clock(self._answered_at), outage.kind]
        remedy = Remedy(N_("What to check"), command="tornado-sessions check")
        check = check_of(Grade.BAD, Message(N_("Store (%s)"), (outage.backend,)), detail, *values, remedy=remedy)
        health = self.render_string("modules/checks.html", checks=[check], folds=True).decode()
        # The findings are sent again when the store is back, even if they are those sent before.
        self._sent.pop("health", None)
        return b"event: down\ndata: " + msgspec.json.encode({"parts": {"health": health}}) + b"\n\n"

    async def _data(self, board: Board) -> dict[str, Any]:
        """Return the time, and the parts of the page that have changed since the last event of this stream."""
        drawn = await draw_board(self, board, span_named(self.query_value("span")))
        parts = {name: drawn[name] for name in PARTS if drawn[name] != self._sent.get(name)}
        self._sent.update(parts)
        return {"at": drawn["at"], "parts": parts}
