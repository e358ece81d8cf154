"""Measure people's pages while hostile connections attack the server: latency, failures and growth of the log.

    python -m benchmarks.hostile [--connections 2000] [--seconds 20] [--descriptors 1024] [--from others|same]

The attackers are processes of their own, at eight other addresses than people, or at the same. ``--descriptors`` is the soft
limit of open files that the server starts with, or ``hard=N`` for both limits. The row ``the machine`` shows what a server would
take that does nothing: the attackers use the same processors.
"""

from __future__ import annotations

import argparse
import multiprocessing
import resource
import socket
import sys
import tempfile
import time
from collections import Counter, defaultdict
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from urllib.parse import urlsplit

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from support.hostile import attack
from support.passwords import PASSWORD
from support.server_process import Client, ServerProcess
from support.waiting import wait_until

_SOURCES = {"others": [f"127.0.1.{n}" for n in range(1, 9)], "same": ["127.0.0.1"]}
_MACHINE = "the machine"
_PAUSE = 0.01
_POINTS = (("p50", 0.5), ("p95", 0.95), ("p99", 0.99))
_spawn = multiprocessing.get_context("spawn")


def answer_nothing(listener: socket.socket) -> None:
    """Answer every request with an empty page: the time it takes is that of the machine and of the client."""
    while True:
        connection, _ = listener.accept()
        with connection:
            connection.recv(4096)
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")


class People:
    """Ask for each kind of page in turn, each on a new connection.

    Args:
        pages: host, port, path and cookie of each kind.
    """

    def __init__(self, pages: dict[str, tuple[str, int, str, str]]) -> None:
        self._pages = pages

    def measure(self, name: str, seconds: float) -> None:
        """Ask for so many seconds, and print the times."""
        times: defaultdict[str, list[float]] = defaultdict(list)
        statuses: defaultdict[str, Counter[int]] = defaultdict(Counter)
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            for kind, page in self._pages.items():
                start = time.perf_counter()
                statuses[kind][_ask(*page)] += 1
                times[kind].append(time.perf_counter() - start)
                time.sleep(_PAUSE)
        print(f"{name}:")
        people = [took for kind, several in times.items() if kind != _MACHINE for took in several]
        for kind, several in {**times, "all pages": people}.items():
            ordered = sorted(several)
            shown = ", ".join(f"{label} {1000 * ordered[int(len(ordered) * part)]:.1f}" for label, part in _POINTS)
            print(
                f"  {kind:20} {shown}, max {1000 * ordered[-1]:.1f} ms; {dict(statuses.get(kind, {})) or len(ordered)}"
            )
        sys.stdout.flush()
        assert all(set(codes) == {200} for codes in statuses.values()), "a page was not answered with 200"


def _ask(host: str, port: int, path: str, cookie: str) -> int:
    """Return the status of a page; 0: no answer."""
    connection = HTTPConnection(host, port, timeout=10)
    try:
        connection.request("GET", path, headers={"Cookie": cookie} if cookie else {})
        response = connection.getresponse()
        response.read()
    except (OSError, HTTPException):
        return 0
    else:
        return response.status
    finally:
        connection.close()


def _started(folder: Path, descriptors: str) -> ServerProcess:
    number = int(descriptors.removeprefix("hard="))
    own = resource.getrlimit(resource.RLIMIT_NOFILE)
    # The server inherits the limits that it starts with; this process cannot raise its own hard limit again.
    resource.setrlimit(resource.RLIMIT_NOFILE, (number, own[1]))
    try:
        program = ("prlimit", f"--nofile={number}:{number}", sys.executable)
        kind = type("_Limited", (ServerProcess,), {"program": program}) if descriptors.startswith("hard=") else None
        return (kind or ServerProcess)(folder)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (own[1], own[1]))


def _people(server: ServerProcess, host: str, port: int, idle: int) -> People:
    client = Client(server.url)
    client.post(server.setup_path, username="ada", email="ada@example.org", password=PASSWORD)
    client.enter()
    cookie = "; ".join(f"{each.name}={each.value}" for each in client.jar)
    return People(
        {
            "a static file": (host, port, "/static/style.css", ""),
            "a visitor's page": (host, port, "/login", ""),
            "an account": (host, port, "/account", cookie),
            "the dashboard": (host, port, "/admin/overview", cookie),
            _MACHINE: (host, idle, "/", ""),
        }
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--connections", type=int, default=2000)
    parser.add_argument("--seconds", type=float, default=20)
    parser.add_argument("--descriptors", default="1024")
    parser.add_argument("--from", dest="origin", choices=list(_SOURCES), default="others")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name, socket.create_server(("127.0.0.1", 0)) as listener:
        folder = Path(name)
        server = _started(folder, options.descriptors)
        nothing = _spawn.Process(target=answer_nothing, args=(listener,), daemon=True)
        nothing.start()
        try:
            at = urlsplit(server.url)
            host, port = at.hostname or "", at.port or 0
            people = _people(server, host, port, listener.getsockname()[1])
            people.measure("before", 4)
            log = folder / "stderr"
            size = log.stat().st_size
            attackers = (options.connections, host, port, _SOURCES[options.origin], options.seconds + 4)
            process = _spawn.Process(target=attack, args=attackers, daemon=True)
            process.start()
            wait_until(lambda: _open_connections(server) > min(options.connections, 900) / 4, "the attack")
            people.measure(f"under {options.connections} hostile connections from {options.origin}", options.seconds)
            print(f"open descriptors of the server: {_open_connections(server)}")
            print(f"growth of the log: {(log.stat().st_size - size) / 1e6:.2f} MB in {options.seconds:g} s")
            process.join()
            people.measure("afterwards", 3)
        finally:
            nothing.kill()
            server.stop()


def _open_connections(server: ServerProcess) -> int:
    return len(list(Path(f"/proc/{server.process.pid}/fd").iterdir()))


if __name__ == "__main__":
    main()
