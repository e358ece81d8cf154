"""A small attack on a real server process: people's pages go on, and the log stays small."""

from __future__ import annotations

import resource
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPConnection
from multiprocessing import get_context
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from support.amount import amount, only_long
from support.hostile import attack
from support.passwords import PASSWORD
from support.server_process import Client, ServerProcess, ShippedServer
from support.tried import Tried
from support.waiting import wait_until

SECONDS = amount(2.0, 20.0)
#: By name, the attackers' addresses. People come from 127.0.0.1.
SOURCES = {"other addresses": ["127.0.1.1", "127.0.1.2"], "the address of people": ["127.0.0.1"]}


class LimitedServer(ServerProcess):
    """A server that cannot raise its limit of open files."""

    program = ("prlimit", "--nofile=256:256", sys.executable)


@contextmanager
def attacked(server: ServerProcess, number: int, sources: list[str]) -> Iterator[None]:
    at = urlsplit(server.url)
    process = get_context("spawn").Process(target=attack, args=(number, at.hostname, at.port, sources), daemon=True)
    process.start()
    try:
        yield
    finally:
        process.kill()
        process.join()


def open_files(server: ServerProcess) -> int:
    return len(list(Path(f"/proc/{server.process.pid}/fd").iterdir()))


def ask(server: ServerProcess, path: str, cookie: str) -> int:
    at = urlsplit(server.url)
    connection = HTTPConnection(at.hostname or "", at.port, timeout=10)
    try:
        connection.request("GET", path, headers={"Cookie": cookie} if cookie else {})
        response = connection.getresponse()
        response.read()
        return response.status
    finally:
        connection.close()


@pytest.mark.parametrize(
    ("kind", "origin"),
    [
        (ShippedServer, "other addresses"),
        (LimitedServer, "the address of people"),
        pytest.param(ShippedServer, "the address of people", marks=only_long),
        pytest.param(LimitedServer, "other addresses", marks=only_long),
    ],
)
def test_people_are_served_during_an_attack(
    kind: type[ServerProcess], origin: str, tmp_path: Path, tried: Tried
) -> None:
    server = kind(tmp_path)
    try:
        client = Client(server.url)
        client.post(server.setup_path, username="ada", email="ada@example.org", password=PASSWORD)
        client.enter()
        cookie = "; ".join(f"{each.name}={each.value}" for each in client.jar)
        log, failed, times = tmp_path / "stderr", 0, []
        size, before = log.stat().st_size, open_files(server)
        with attacked(server, 150, SOURCES[origin]):
            wait_until(lambda: open_files(server) > before + 20, "the attack")
            end = time.monotonic() + SECONDS
            while time.monotonic() < end:
                for path, sent in (("/login", ""), ("/account", cookie), ("/admin/overview", cookie), ("/healthz", "")):
                    start = time.monotonic()
                    failed += ask(server, path, sent) != 200
                    times.append(time.monotonic() - start)
            assert open_files(server) <= resource.prlimit(server.process.pid, resource.RLIMIT_NOFILE)[0]
        tried(f"people's pages under 150 hostile connections from {origin}", times=len(times), lost=failed)
        assert failed == 0
        # Machines that run tests are busy, so only what a person would call broken counts: a page that hangs.
        assert sorted(times)[len(times) // 2] < 1.0
        assert log.stat().st_size - size < 100_000 + 50_000 * SECONDS
        wait_until(lambda: open_files(server) < before + 20, "the end of the attackers' connections")
        assert client.is_in()
    finally:
        assert server.stop() == 0
