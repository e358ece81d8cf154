"""Measure the CPU time of the server process per request, compared with a bare handler in the same run.

    python -m benchmarks.overhead [--seconds 2] [--slices 9] [--stores memory sqlite redis mongo]

One process serves the same response from four handlers: a bare one, one that never uses its session, one that reads it
and one that writes it. Slices of load (wrk, 32 connections, 64 sessions) alternate between them, so that changes in the
machine's speed affect all. The output is the medians and their ratio to the bare handler.
"""

from __future__ import annotations

import argparse
import asyncio
import multiprocessing
import os
import re
import resource
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from multiprocessing.connection import Connection
from pathlib import Path

from tornado.web import Application, RequestHandler

from tornado_sessions import SessionConfig, SessionMixin, Sessions

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
from support.mongo_servers import Mongo
from support.redis_servers import Valkey

ROUTES = ("bare", "none", "read", "write")


class Bare(RequestHandler):
    def get(self) -> None:
        self.write("ada")


class Read(SessionMixin, RequestHandler):
    def get(self) -> None:
        self.write(str(self.session.get("name", "ada")))


class Write(SessionMixin, RequestHandler):
    def get(self) -> None:
        self.write(str(self.session.increment("n")))


class Untouched(SessionMixin, RequestHandler):
    def get(self) -> None:
        self.write("ada")


class LogIn(SessionMixin, RequestHandler):
    async def get(self) -> None:
        self.session["name"] = "ada"
        await self.log_in("ada")


class Cpu(RequestHandler):
    def get(self) -> None:
        used = resource.getrusage(resource.RUSAGE_SELF)
        self.write(str(used.ru_utime + used.ru_stime))


def serve(url: str, pipe: Connection) -> None:
    os.sched_setaffinity(0, {0})

    async def run() -> None:
        sessions = Sessions(url, config=SessionConfig(secret="x" * 40))
        handlers = [
            ("/bare", Bare),
            ("/none", Untouched),
            ("/read", Read),
            ("/write", Write),
            ("/login", LogIn),
            ("/cpu", Cpu),
        ]
        server = Application(handlers, sessions=sessions, log_function=lambda _: None).listen(0, "127.0.0.1")
        pipe.send(next(iter(server._sockets.values())).getsockname()[1])
        await asyncio.Event().wait()

    asyncio.run(run())


def fetch(url: str) -> tuple[str, str]:
    with urllib.request.urlopen(url) as response:
        return response.headers.get("Set-Cookie", "").split(";")[0], response.read().decode()


def load(base: str, route: str, script: Path, seconds: int) -> float:
    before = float(fetch(base + "/cpu")[1])
    command = ["taskset", "-c", "1", "wrk", "-t1", "-c32", f"-d{seconds}", base + "/" + route]
    if route in ("read", "write"):
        command[4:4] = ["-s", str(script)]
    told = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert "Non-2xx" not in told, told
    requests = int(re.search(r"(\d+) requests in", told)[1])  # type: ignore[index]
    return 1e6 * (float(fetch(base + "/cpu")[1]) - before) / requests


def measure(name: str, url: str, seconds: int, slices: int) -> None:
    ours, theirs = multiprocessing.Pipe()
    process = multiprocessing.Process(target=serve, args=(url, theirs))
    process.start()
    base = f"http://127.0.0.1:{ours.recv()}"
    with tempfile.TemporaryDirectory() as folder:
        cookies = ", ".join(f'"{fetch(base + "/login")[0]}"' for _ in range(64))
        script = Path(folder) / "cookies.lua"
        script.write_text(
            f"local cookies = {{{cookies}}}\nlocal n = 0\n"
            'request = function() n = n % #cookies + 1; return wrk.format("GET", nil, {["Cookie"] = cookies[n]}) end\n'
        )
        times: dict[str, list[float]] = {route: [] for route in ROUTES}
        for _ in range(slices):
            for route in ROUTES:
                times[route].append(load(base, route, script, seconds))
    process.terminate()
    process.join()
    medians = {route: statistics.median(values) for route, values in times.items()}
    bare = medians["bare"]
    parts = [
        f"{route} +{medians[route] - bare:5.1f} µs ({(medians[route] - bare) / bare:5.2f})" for route in ROUTES[1:]
    ]
    print(f"{name:8} bare {bare:6.1f} µs   " + "   ".join(parts), flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=int, default=2)
    parser.add_argument("--slices", type=int, default=9)
    parser.add_argument("--stores", nargs="+", default=["memory", "sqlite", "redis", "mongo"])
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, servers(given.stores) as urls:
        for name, url in {"memory": "memory://", "sqlite": f"sqlite:///{folder}/sessions.db", **urls}.items():
            if name in given.stores:
                measure(name, url, given.seconds, given.slices)
                time.sleep(1)


@contextmanager
def servers(stores: list[str]) -> Iterator[dict[str, str]]:
    """Run real database servers on the other core, which also runs the load generator."""
    urls = {}
    with ExitStack() as stack:
        if "redis" in stores:
            server = Valkey()
            stack.callback(server.stop)
            assert server.process is not None
            os.sched_setaffinity(server.process.pid, {1})
            urls["redis"] = server.url
        if "mongo" in stores:
            mongo = Mongo()
            stack.callback(mongo.stop)
            assert mongo.process is not None
            os.sched_setaffinity(mongo.process.pid, {1})
            urls["mongo"] = f"{mongo.url}/bench?driver=pymongo"
        yield urls


if __name__ == "__main__":
    main()
