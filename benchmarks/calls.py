"""Count the function calls that a request with a session makes, above those of a bare handler.

    python -m benchmarks.calls                    count, and compare with benchmarks/calls.json
    python -m benchmarks.calls --record           count, and write benchmarks/calls.json
    python -m benchmarks.calls --stores memory --profile read      which functions they are

A count is the same on every machine, where a time is not. A real Tornado server gets real requests on 32 connections at
the same moment, so that a store can answer them together, or on one connection ("alone"). The calls of all threads of
the process are counted while the requests are answered: *Python* counts the functions of Python, where a coroutine
counts again each time it goes on, *C* the functions and methods of C. A count is the smallest of many rounds, because
the other work of a process, such as a timer that is due, can only add to a round.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import json
import socket
import sys
import tempfile
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import CodeType, FrameType
from typing import Any

from tornado.httpserver import HTTPServer

from benchmarks import page
from benchmarks.application import application
from benchmarks.results import RECORDED, Calls, read_recorded
from benchmarks.servers import database_servers

__all__ = ["STORES", "count", "has_grown", "urls"]

STORES = ("memory", "sqlite", "redis", "mongo")
#: By path: the route, whether its requests have a cookie, and how many come at once.
PATHS = {
    "no cookie": ("none", False, 32),
    "untouched": ("none", True, 32),
    "read": ("read", True, 32),
    "write": ("write", True, 32),
    "read, alone": ("read", True, 1),
    "write, alone": ("write", True, 1),
}
#: Rounds of each path, after those that warm it up.
ROUNDS, WARM_UP = 10, 3
#: Turns of the event loop after the last response.
SETTLE = 10
#: A count may grow by this share before the test fails.
MAY_GROW = 0.1


class Profile:
    """Counts the calls of all threads that start while it is installed."""

    def __init__(self, *, with_names: bool = False) -> None:
        self.names: Counter[CodeType] | None = Counter() if with_names else None
        self._python, self._c = itertools.count(), itertools.count()
        self._is_on = False

    @contextmanager
    def installed(self) -> Iterator[None]:
        threading.setprofile(self._called)
        sys.setprofile(self._called)
        try:
            yield
        finally:
            sys.setprofile(None)
            threading.setprofile(None)  # type: ignore[arg-type]

    def start(self) -> None:
        """Count from now on."""
        self._python, self._c = itertools.count(), itertools.count()
        self._is_on = True

    def stop(self) -> Calls:
        """Return the number of calls since the start."""
        self._is_on = False
        return Calls(next(self._python), next(self._c))

    def _called(self, frame: FrameType, event: str, _: Any) -> None:
        # Several threads count: next() of a counter is one step, where += is two.
        if not self._is_on:
            return
        if event == "call":
            next(self._python)
            if self.names is not None:
                self.names[frame.f_code] += 1
        elif event == "c_call":
            next(self._c)


class Client:
    """One connection. It blocks, so that the server does nothing before every client has sent its request.

    Args:
        port: of the server on this machine.
    """

    def __init__(self, port: int) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port))
        self.cookie = ""

    def send(self, route: str, *, with_cookie: bool = True) -> None:
        cookie = f"Cookie: {self.cookie}\r\n" if with_cookie and self.cookie else ""
        self._socket.sendall(f"GET /{route} HTTP/1.1\r\nHost: localhost\r\n{cookie}\r\n".encode())

    def receive(self) -> str:
        """Return the body of the response, and keep its cookie."""
        answer = b""
        while b"\r\n\r\n" not in answer:
            answer += self._read()
        head, _, body = answer.partition(b"\r\n\r\n")
        headers = dict(line.split(": ", 1) for line in head.decode().split("\r\n")[1:])
        while len(body) < int(headers["Content-Length"]):
            body += self._read()
        assert head.startswith(b"HTTP/1.1 200"), head
        self.cookie = headers.get("Set-Cookie", self.cookie).partition(";")[0]
        return body.decode()

    def _read(self) -> bytes:
        part = self._socket.recv(65536)
        assert part, "the server closed the connection"
        return part

    def close(self) -> None:
        self._socket.close()


class Rounds:
    """A server in this process and its clients.

    Args:
        port: of the server.
        done: put once for each finished response, by the server.
        profile: counts the calls.
    """

    def __init__(self, port: int, done: asyncio.Queue[None], profile: Profile) -> None:
        self._done = done
        self._profile = profile
        self.clients = [Client(port) for _ in range(32)]

    async def one(self, route: str, *, with_cookie: bool, at_once: int) -> tuple[Calls, set[str]]:
        """Send requests, and return the calls of the server until all are answered, with the bodies."""
        clients = self.clients[:at_once]
        for client in clients:
            client.send(route, with_cookie=with_cookie)
        self._profile.start()
        for _ in clients:
            await self._done.get()
        # Turns of the loop for what follows a response, until every connection waits for its next request.
        for _ in range(SETTLE):
            await asyncio.sleep(0)
        calls = self._profile.stop()
        return calls, {client.receive() for client in clients}

    async def smallest(self, path: str, rounds: int = ROUNDS) -> Calls:
        """Return the calls of one request of a path, in the round with the fewest."""
        route, with_cookie, at_once = ("bare", False, int(path)) if path.isdigit() else PATHS[path]
        taken = []
        for number in range(WARM_UP + rounds):
            calls, bodies = await self.one(route, with_cookie=with_cookie, at_once=at_once)
            assert len(bodies) == 1 or route == "write", bodies
            assert route == "write" or bodies == {"nobody" if route == "read" and not with_cookie else "ada"}, bodies
            if number >= WARM_UP:
                taken.append(calls)
        return Calls(min(calls.python for calls in taken) / at_once, min(calls.c for calls in taken) / at_once)

    def close(self) -> None:
        for client in self.clients:
            client.close()


async def _count(url: str, profile: Profile, paths: tuple[str, ...]) -> dict[str, Calls]:
    done: asyncio.Queue[None] = asyncio.Queue()
    app, sessions = application(url, lambda _: done.put_nowait(None))
    server = HTTPServer(app)
    server.listen(0, "127.0.0.1")
    port = next(iter(server._sockets.values())).getsockname()[1]
    rounds = Rounds(port, done, profile)
    found: dict[str, Calls] = {}
    try:
        await rounds.one("login", with_cookie=False, at_once=32)
        bare = {32: await rounds.smallest("32"), 1: await rounds.smallest("1")}
        if profile.names is not None:
            profile.names.clear()
        for path in paths:
            calls, own = await rounds.smallest(path), bare[PATHS[path][2]]
            found[path] = Calls(round(calls.python - own.python, 1), round(calls.c - own.c, 1))
    finally:
        rounds.close()
        server.stop()
        await sessions.close()
    return found


def count(url: str, paths: tuple[str, ...] = tuple(PATHS), profile: Profile | None = None) -> dict[str, Calls]:
    """Return the calls of each path on a store, given by its URL."""
    used = profile or Profile()
    with used.installed():
        return asyncio.run(_count(url, used, paths))


def write_recorded(counted: dict[str, dict[str, Calls]]) -> None:
    """Replace the recorded counts of the stores that were counted."""
    recorded = read_recorded() if RECORDED.exists() else {}
    lines = []
    for store, paths in (recorded | counted).items():
        rows = ",\n".join(f"    {json.dumps(path)}: {json.dumps(list(calls))}" for path, calls in paths.items())
        lines.append(f"  {json.dumps(store)}: {{\n{rows}\n  }}")
    RECORDED.write_text("{\n" + ",\n".join(lines) + "\n}\n")


@contextmanager
def urls(stores: list[str]) -> Iterator[dict[str, str]]:
    """Start the servers that the stores need, and return the URL of each store."""
    with (
        tempfile.TemporaryDirectory() as folder,
        database_servers(redis="redis" in stores, mongo="mongo" in stores) as given,
    ):
        found = {
            "memory": "memory://",
            "sqlite": f"sqlite:///{folder}/sessions.db",
            "redis": given.get("REDIS_URL", ""),
            "mongo": f"{given.get('MONGO_URL')}/calls?driver=pymongo",
        }
        yield {store: found[store] for store in stores}


def has_grown(now: Calls, recorded: Calls) -> bool:
    """Return whether a request makes over a tenth more calls than recorded, of Python or of C."""
    return any(calls > (1 + MAY_GROW) * before for calls, before in zip(now, recorded, strict=True))


def show(store: str, counted: dict[str, Calls], recorded: dict[str, Calls]) -> bool:
    """Print a row for each path, and return whether one has grown too much."""
    found = False
    for path, calls in counted.items():
        before = recorded.get(path, calls)
        grown = has_grown(calls, before)
        found |= grown
        print(
            f"{store:8} {path:14} {calls.python:7.1f} Python ({before.python:.1f})  {calls.c:7.1f} C ({before.c:.1f})"
            f"{'  GROWN' if grown else ''}",
            flush=True,
        )
    return found


def show_profile(names: Counter[CodeType], number: int) -> None:
    for code, times in names.most_common(60):
        place = "/".join(Path(code.co_filename).parts[-2:])
        print(f"{times / number:8.2f}  {place}:{code.co_firstlineno} {code.co_qualname}")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--stores", nargs="+", default=list(STORES), choices=STORES)
    parser.add_argument("--record", action="store_true", help="write benchmarks/calls.json")
    parser.add_argument(
        "--profile", choices=PATHS, metavar="PATH", help="print the functions of Python that are called"
    )
    given = parser.parse_args()
    counted: dict[str, dict[str, Calls]] = {}
    recorded = read_recorded() if RECORDED.exists() else {}
    found_grown = False
    with urls(given.stores) as found:
        for store, url in found.items():
            if given.profile:
                profile = Profile(with_names=True)
                count(url, (given.profile,), profile)
                assert profile.names is not None
                show_profile(profile.names, (ROUNDS + WARM_UP) * PATHS[given.profile][2])
            else:
                counted[store] = count(url)
                found_grown |= show(store, counted[store], recorded.get(store, {}))
    if given.record:
        write_recorded(counted)
        page.write()
        return 0
    return int(found_grown)


if __name__ == "__main__":
    sys.exit(main())
