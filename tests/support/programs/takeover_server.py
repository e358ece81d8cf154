"""A server that takes over the sessions of Express, and is killed in the middle of the first move.

Its argument is JSON: the URL of its store and its secret, the arguments of ``Express``, and where it dies, as in ``Dying``. It
prints its port.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from typing import Any

from tornado.httpserver import HTTPServer
from tornado.netutil import bind_sockets
from tornado.web import Application, RequestHandler
from typing_extensions import override

from tornado_sessions import SessionMixin, Sessions
from tornado_sessions.takeover import Express


class Dying(Express):
    dies = ""

    def _reach(self, point: str) -> None:
        if point == self.dies:
            os.kill(os.getpid(), signal.SIGKILL)

    @override
    async def end(self, session_id: str) -> bool:
        self._reach("before end")
        ended = await super().end(session_id)
        self._reach("after end")
        return ended

    @override
    async def forget(self, session_id: str) -> None:
        self._reach("before forget")
        await super().forget(session_id)


class Home(SessionMixin, RequestHandler):
    def get(self) -> None:
        self.write({"user": self.session.user})


async def main(store: str, secret: str, express: dict[str, Any], dies: str) -> None:
    old = Dying(**express)
    old.dies = dies
    server = HTTPServer(Application([("/home", Home)], sessions=Sessions(store, secret=secret, takeover=old)))
    (free,) = bind_sockets(0, "127.0.0.1")
    server.add_sockets([free])
    print(free.getsockname()[1], flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main(**json.loads(sys.argv[1])))
