"""Measure requests per second with one worker and with two, and the longest pause of an event loop while people sign in.

    python -m benchmarks.workers [--seconds 5] [--stores sqlite redis]

The workers, the store's server and the load generator share the machine's cores: two workers need four cores to show all that
they gain. A pause is how much later than a millisecond a timer fires, under a load of reads and writes; "with sign-ins"
means that two clients sign in all the time, each of which hashes a password as the server does.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

from benchmarks import page
from benchmarks.cost import process_clock
from benchmarks.load import Target
from benchmarks.results import write_results
from benchmarks.servers import database_servers, free_port

__all__ = ["Workers", "main", "measure"]

ROOT = Path(__file__).parents[1]


class Workers:
    """Processes that serve one port together.

    Args:
        url: of the store.
        number: of processes.
    """

    def __init__(self, url: str, number: int) -> None:
        port = free_port()
        self.base = f"http://127.0.0.1:{port}"
        self.title = "1 worker" if number == 1 else f"{number} workers"
        command = [sys.executable, "-m", "benchmarks.worker", url]
        environment = {**os.environ, "PORT": str(port)}
        self._processes = [subprocess.Popen(command, cwd=ROOT, env=environment) for _ in range(number)]
        self._wait_until_all_listen(f"127.0.0.1:{port}")

    def _wait_until_all_listen(self, address: str) -> None:
        # A worker that starts later than the first would miss its share of the connections.
        for _ in range(400):
            listening = subprocess.run(["ss", "-Hltn", "src", address], capture_output=True, text=True, check=True)
            if len(listening.stdout.splitlines()) == len(self._processes):
                return
            time.sleep(0.05)
        self.stop()
        raise AssertionError(f"{self.title} do not listen")

    def ask(self, route: str) -> str:
        """Return what a worker answers."""
        with urllib.request.urlopen(f"{self.base}/{route}", timeout=10) as response:
            return str(response.read().decode())

    def cpu(self) -> float:
        return sum(process_clock(process.pid) for process in self._processes)

    def stop(self) -> None:
        """Stop the processes."""
        for process in self._processes:
            process.terminate()
        for process in self._processes:
            process.wait()


def measure(url: str, seconds: float, folder: Path) -> dict[str, float]:
    """Return requests per second by number of workers, and the longest pauses in milliseconds."""
    found: dict[str, float] = {}
    # Sessions in memory are known to one process only.
    for number in (1,) if url.startswith("memory") else (1, 2):
        workers = Workers(url, number)
        try:
            target = Target(workers, folder)
            for path in ("read", "write"):
                found[f"{path}, requests/s, {workers.title}"] = target.load(path, seconds).rps
            if number == 1:
                found |= _pauses(workers, target, seconds)
        finally:
            workers.stop()
    return found


def _pauses(workers: Workers, target: Target, seconds: float) -> dict[str, float]:
    return {
        "longest pause, ms": _longest(workers, target, seconds),
        "longest pause with sign-ins, ms": _with_sign_ins(workers, target, seconds),
    }


def _longest(workers: Workers, target: Target, seconds: float) -> float:
    workers.ask("pause")
    target.load("read", seconds)
    target.load("write", seconds)
    return float(workers.ask("pause"))


def _with_sign_ins(workers: Workers, target: Target, seconds: float) -> float:
    command = ["wrk", "-t1", "-c2", f"-d{2 * seconds + 5:g}s", f"{workers.base}/signin"]
    signing_in = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    try:
        return _longest(workers, target, seconds)
    finally:
        signing_in.terminate()
        signing_in.wait()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--stores", nargs="+", default=["memory", "sqlite", "redis", "mongo"])
    parser.add_argument("--seconds", type=float, default=5)
    parser.add_argument("--no-page", action="store_true", help="write neither results.json nor the page")
    given = parser.parse_args()
    stores: dict[str, dict[str, float]] = {}
    servers = database_servers(redis="redis" in given.stores, mongo="mongo" in given.stores)
    with servers as urls, tempfile.TemporaryDirectory() as folder:
        for store in given.stores:
            url = {
                "memory": "memory://",
                "sqlite": f"sqlite:///{folder}/sessions.db",
                "redis": urls.get("REDIS_URL", ""),
                "mongo": f"{urls.get('MONGO_URL')}/workers?driver=pymongo",
            }[store]
            stores[store] = measure(url, given.seconds, Path(folder))
            print(store, *(f"   {name:36} {value:9.1f}" for name, value in stores[store].items()), sep="\n", flush=True)
    if not given.no_page:
        write_results("workers", {"stores": stores})
        page.write()


if __name__ == "__main__":
    main()
