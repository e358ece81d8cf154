"""``/admin/live``: what is going on, pushed every other second as server-sent events (WHATWG HTML 9.2).

It must not know how it is counted or drawn. The stream closes with the operator's session, as every stream does.
"""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec
from tornado.iostream import StreamClosedError
from tornado.web import HTTPError

from tornado_sessions.errors import SessionError
from tornado_sessions.server.display import exactly
from tornado_sessions.server.web.operators import OperatorHandler
from tornado_sessions.server.web.pages.charts import drawn, short

__all__ = ["routes"]

#: Streams that one process serves at a time.
MOST = 20
EVERY = 2.0
#: Seconds after which a stream ends and the browser begins a new one, so that who may see it is asked anew.
LIVES = 600.0


class TooManyStreams(HTTPError):
    """This process serves as many as it will; the page goes on without live numbers and tries again."""

    retry_after = 60

    def __init__(self) -> None:
        super().__init__(503)


class LivePage(OperatorHandler):
    """The stream; browsers open it again by themselves, so it is no sign of a person at work."""

    touches = False

    async def get(self) -> None:
        """One event every other second: numbers, and charts drawn anew."""
        streams = self.site.streams
        if len(streams) >= MOST:
            raise TooManyStreams
        streams.add(self)
        try:
            self.set_header("Content-Type", "text/event-stream")
            self.set_header("Cache-Control", "no-store")
            self.set_header("X-Accel-Buffering", "no")
            await self._send_for_a_while()
        except StreamClosedError:
            return
        finally:
            streams.discard(self)

    async def _send_for_a_while(self) -> None:
        for _ in range(int(LIVES / EVERY)):
            try:
                snapshot = await self.parts.activity.snapshot()
            except SessionError:
                # The page keeps what it shows, with its time; it goes on when the store does.
                self.write(": the store cannot be reached\n\n")
            else:
                charts = drawn(self, snapshot)
                told = {
                    "at": exactly(snapshot.at),
                    "numbers": {
                        **{name: chart.now for name, chart in charts.items()},
                        "active": short(snapshot.active.total),
                        "users": short(snapshot.users.total),
                        "visitors": short(snapshot.visitors.total),
                    },
                    "charts": {name: [chart.picture, chart.words] for name, chart in charts.items()},
                }
                self.write(b"data: " + msgspec.json.encode(told) + b"\n\n")
            await self.flush()
            await asyncio.sleep(EVERY)


def routes() -> list[Any]:
    """Addresses and their handlers."""
    return [(r"/admin/live", LivePage)]
