"""A process of its own that serves WebSockets of an application: URL of the store. It prints its port, and ends with its input."""

from __future__ import annotations

import asyncio
import sys

from support.passwords import SECRET
from tornado.httpserver import HTTPServer
from tornado.netutil import bind_sockets
from tornado.web import Application
from tornado.websocket import WebSocketHandler

from tornado_sessions import SessionMixin, Sessions


class Socket(SessionMixin, WebSocketHandler):
    def open(self, *_args: str, **_kwargs: str) -> None:
        self.write_message(self.session.user or "")


async def main(url: str) -> None:
    sessions = Sessions(url, secret=SECRET)
    await sessions.open()
    server = HTTPServer(Application([("/socket", Socket)], sessions=sessions))
    (free,) = bind_sockets(0, "127.0.0.1")
    server.add_sockets([free])
    print(free.getsockname()[1], flush=True)
    await asyncio.to_thread(sys.stdin.read)
    server.stop()
    await sessions.close()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
