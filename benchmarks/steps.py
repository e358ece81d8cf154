"""The time of each step of a request that reads a session from memory, and of what Tornado does for it.

    python -m benchmarks.steps

Each step runs alone, thousands of times, with the objects of a real request; the fastest of seven rounds counts, in µs. It
shows what lies between a bare handler and one with a session. It calls private functions, so it changes with them.
"""

from __future__ import annotations

import asyncio
import timeit
from collections.abc import Callable

from tornado.httpclient import AsyncHTTPClient
from tornado.httputil import HTTPHeaders
from tornado.web import Application, RequestHandler

from benchmarks.application import SECRET, LogIn
from tornado_sessions import SessionConfig, SessionMixin, Sessions, lifecycle
from tornado_sessions.cache_headers import forbid_caching
from tornado_sessions.cookie import join_cookie_lines
from tornado_sessions.outgoing import Outgoing

__all__ = ["main"]

_TIMES, _ROUNDS = 20_000, 7
#: Other headers that a browser sends; the line of the cookie is measured beside them.
_HEADERS = "Host: localhost\r\nUser-Agent: Mozilla/5.0\r\n"


def _fastest(step: Callable[[], object]) -> float:
    return min(timeit.repeat(step, number=_TIMES, repeat=_ROUNDS)) / _TIMES * 1e6


class Measured(SessionMixin, RequestHandler):
    """Measures the steps of its own request."""

    found: dict[str, float]

    async def get(self) -> None:
        sessions, headers = self.sessions, self.request.headers
        cookie = headers["Cookie"]
        [presented] = sessions.cookies.read(cookie, secure=False)
        info = self._SessionMixin__request_info(sessions)  # type: ignore[attr-defined]
        request = await sessions.fetch(presented, info)
        found, not_before = sessions.store.peek(presented.handle) or (None, 0.0)

        def flush() -> None:
            self._headers = HTTPHeaders()
            Outgoing(sessions, request).before_flush(self, is_last=True)
            request.session.thaw()

        def two_headers() -> None:
            made = HTTPHeaders()
            made["Cache-Control"], made["Vary"] = "no-store", "Cookie"

        steps: dict[str, Callable[[], object]] = {
            "Tornado: parse the headers": lambda: HTTPHeaders.parse(_HEADERS),
            "Tornado: parse them with the cookie": lambda: HTTPHeaders.parse(f"{_HEADERS}Cookie: {cookie}\r\n"),
            "Tornado: make two headers": two_headers,
            "find the cookie's lines": lambda: join_cookie_lines(headers),
            "time, address, user agent": lambda: self._SessionMixin__request_info(sessions),  # type: ignore[attr-defined]
            "verify the cookie (known)": lambda: sessions.cookies.read(cookie, secure=False),
            "find the record": lambda: sessions.store.peek(presented.handle),
            "judge it": lambda: lifecycle.judge(found, presented.secret_hash, info.now, not_before),
            "make the session": lambda: sessions._session(found),  # type: ignore[arg-type]
            "all of prepare()": self.prepare,
            "read a value": lambda: request.session.get("name"),
            "plan: is anything due": lambda: sessions.pending_save(request),
            "add the cache headers": lambda: forbid_caching(HTTPHeaders()),
            "all before the bytes leave": flush,
        }
        type(self).found = {name: _fastest(step) for name, step in steps.items()}


async def main() -> None:
    """Print the time of each step."""
    sessions = Sessions("memory://", config=SessionConfig(secret=SECRET))
    app = Application([("/login", LogIn), ("/", Measured)], sessions=sessions, log_function=lambda _: None)
    server = app.listen(0, "127.0.0.1")
    port = next(iter(server._sockets.values())).getsockname()[1]
    client = AsyncHTTPClient()
    response = await client.fetch(f"http://127.0.0.1:{port}/login")
    cookie = response.headers["Set-Cookie"].partition(";")[0]
    await client.fetch(f"http://127.0.0.1:{port}/", headers={"Cookie": cookie}, request_timeout=120)
    server.stop()
    await sessions.close()
    for name, microseconds in Measured.found.items():
        print(f"{name:40} {microseconds:6.2f}")


if __name__ == "__main__":
    asyncio.run(main())
