"""Measure people's pages while hostile connections attack the server: latency, failures and growth of the log.

    python -m benchmarks.hostile [CONNECTIONS] [SECONDS] [DESCRIPTORS]

The attacker is a process of its own. DESCRIPTORS is the soft limit of open files that the server starts with, or ``hard=N`` for
both limits. Example: python -m benchmarks.hostile 2000 60 1024
"""

from __future__ import annotations

import asyncio
import multiprocessing
import resource
import sys
import tempfile
import time
from collections import Counter
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from urllib.parse import urlsplit

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from support.hostile import hostile_clients
from support.passwords import PASSWORD
from support.server_process import Client, ServerProcess
from support.waiting import wait_until

PAGES = ("/login", "/account", "/static/style.css")
PAUSE = 0.05


async def _attack(number: int, host: str, port: int, seconds: float) -> None:
    async with hostile_clients(number, host, port):
        await asyncio.sleep(seconds)


def attack(number: int, host: str, port: int, seconds: float) -> None:
    asyncio.run(_attack(number, host, port, seconds))


def ask(host: str, port: int, path: str, cookie: str) -> tuple[int, float]:
    """Return the status of a page, asked for on a new connection, and its time in seconds; status 0: no answer."""
    start = time.perf_counter()
    connection = HTTPConnection(host, port, timeout=10)
    try:
        connection.request("GET", path, headers={"Cookie": cookie})
        response = connection.getresponse()
        response.read()
        return response.status, time.perf_counter() - start
    except (OSError, HTTPException):
        return 0, time.perf_counter() - start
    finally:
        connection.close()


def measure(host: str, port: int, cookie: str, seconds: float) -> tuple[Counter[int], list[float]]:
    codes: Counter[int] = Counter()
    times = []
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        for path in PAGES:
            code, took = ask(host, port, path, cookie)
            codes[code] += 1
            times.append(took)
        time.sleep(PAUSE)
    return codes, sorted(times)


def report(name: str, codes: Counter[int], times: list[float]) -> None:
    points = (("p50", 0.5), ("p95", 0.95), ("p99", 0.99))
    shown = ", ".join(f"{label} {1000 * times[int(len(times) * part)]:.1f} ms" for label, part in points)
    print(f"{name}: {shown}, max {1000 * times[-1]:.1f} ms, statuses {dict(codes)}", flush=True)


def main(number: int = 2000, seconds: float = 60, descriptors: str = "1024") -> None:
    soft = int(descriptors.removeprefix("hard="))
    own = resource.getrlimit(resource.RLIMIT_NOFILE)
    with tempfile.TemporaryDirectory() as folder:
        # The server inherits the limits that it starts with; the attacker needs its own.
        attacker = multiprocessing.get_context("spawn")
        if not descriptors.startswith("hard="):
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, own[1]))
            server = ServerProcess(Path(folder))
            resource.setrlimit(resource.RLIMIT_NOFILE, (own[1], own[1]))
        else:
            server = _with_prlimit(Path(folder), soft)
        try:
            client = Client(server.url)
            client.post("/reg", username="ada", email="ada@example.org", password=PASSWORD)
            client.enter()
            cookie = "; ".join(f"{c.name}={c.value}" for c in client.jar)
            at = urlsplit(server.url)
            assert at.hostname is not None
            assert at.port is not None
            report("before", *measure(at.hostname, at.port, cookie, 5))
            log = Path(folder) / "stderr"
            size = log.stat().st_size
            process = attacker.Process(target=attack, args=(number, at.hostname, at.port, seconds + 4), daemon=True)
            process.start()
            wait_until(lambda: _open_connections(server.process.pid) > min(number, soft) / 4, "the attack")
            codes, times = measure(at.hostname, at.port, cookie, seconds)
            report(f"under {number} hostile connections", codes, times)
            print(f"open descriptors of the server: {_open_connections(server.process.pid)}")
            print(f"growth of the log: {(log.stat().st_size - size) / 1e6:.2f} MB in {seconds:g} s")
            process.join()
            report("afterwards", *measure(at.hostname, at.port, cookie, 3))
        finally:
            server.stop()


def _with_prlimit(folder: Path, number: int) -> ServerProcess:
    server = ServerProcess(folder)
    resource.prlimit(server.process.pid, resource.RLIMIT_NOFILE, (number, number))
    return server


def _open_connections(pid: int) -> int:
    return len(list(Path(f"/proc/{pid}/fd").iterdir()))


if __name__ == "__main__":
    main(
        *(int(sys.argv[1]) if len(sys.argv) > 1 else 2000, float(sys.argv[2]) if len(sys.argv) > 2 else 60),
        *sys.argv[3:4],
    )
