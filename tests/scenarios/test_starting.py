"""A server process that starts: what it waits for, what it refuses, and the link that it prints."""

from __future__ import annotations

import resource
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from support.amount import only_long
from support.forked_server import ForkedServer
from support.passwords import PASSWORD
from support.ports import free_port
from support.redis_servers import Valkey
from support.server_process import ROOT, Client, ServerProcess, StartedServer, environment
from support.waiting import wait_until

SECRET = "a secret of the tests that both servers share"


@pytest.fixture
def valkey() -> Iterator[Valkey]:
    made = Valkey("--requirepass", "right")
    yield made
    made.stop()


def failed(folder: Path, *flags: str) -> str:
    """Start a server that cannot start. Return its log."""
    command = [sys.executable, str(ROOT / "server.py"), "--port", "0", "--secret", SECRET, *flags]
    # Half of the default of --start-timeout, so that one that waits for nothing fails here.
    ended = subprocess.run(
        command, cwd=folder, env=environment(), capture_output=True, text=True, timeout=30, check=False
    )
    assert ended.returncode == 1
    return ended.stderr


def refused(folder: Path, *flags: str) -> str:
    """Return the log of a server that refuses these flags, forked: it takes a tenth of the time."""
    command = [str(ROOT / "server.py"), "--port", "0", "--secret", SECRET, *flags]
    with (folder / "stderr").open("w") as errors:
        ended = ForkedServer(command, folder, environment(), errors)
    with ended.stdout:
        assert ended.stdout.read() == ""
    assert ended.wait(timeout=30) == 1
    return log_of(folder)


def log_of(folder: Path) -> str:
    return (folder / "stderr").read_text() if (folder / "stderr").exists() else ""


@pytest.mark.parametrize("processes", [pytest.param("1", marks=only_long), "2"])
def test_a_server_waits_for_its_store(tmp_path: Path, processes: str) -> None:
    port = free_port()
    flags = ("--store", f"redis://127.0.0.1:{port}", "--secret", SECRET, "--processes", processes)
    with ThreadPoolExecutor(1) as pool:
        starting = pool.submit(StartedServer, tmp_path, *flags)
        wait_until(lambda: "waiting for the store" in log_of(tmp_path), "the log")
        valkey = Valkey(port=port)
        server = starting.result(timeout=60)
    try:
        assert Client(server.url).get("/readyz")[1] == "ok\n"
        lines = log_of(tmp_path).splitlines()
        assert all("redis: " in line for line in lines if "waiting for the store" in line)
        assert "Traceback" not in log_of(tmp_path)
    finally:
        assert server.stop() == 0
        valkey.stop()


def test_waiting_for_a_store_has_a_bound(tmp_path: Path) -> None:
    log = failed(tmp_path, "--store", f"redis://127.0.0.1:{free_port()}", "--start-timeout", "0.6")
    assert "waiting for the store" in log
    assert "Traceback" not in log
    assert log.splitlines()[-1].startswith("error: redis: ")


def test_a_wrong_configuration_ends_a_server_at_once(tmp_path: Path, valkey: Valkey) -> None:
    for url, said in [
        (valkey.url.replace("//", "//:wrong@"), "PASSWORD@"),
        (valkey.url, "PASSWORD@"),
        ("redis://127.0.0.1:x", "redis"),
        ("nothing://", "no store for nothing://"),
        ("sqlite:////proc/nowhere/sessions.db", "cannot be created"),
    ]:
        log = refused(tmp_path, "--store", url)
        assert log.splitlines()[-1].startswith("error: "), log
        assert said in log
        assert "waiting" not in log


@pytest.mark.parametrize(
    ("flags", "start"),
    [
        (["--public-url", "https://sessions.example.org"], "https://sessions.example.org/setup/"),
        (["--host", "0.0.0.0"], "http://localhost:"),
        pytest.param(["--host", "::"], "http://localhost:", marks=only_long),
        pytest.param([], "http://127.0.0.1:", marks=only_long),
    ],
)
def test_the_printed_link_can_be_opened(tmp_path: Path, flags: list[str], start: str) -> None:
    server = StartedServer(tmp_path, *flags)
    try:
        assert server.setup_link.startswith(start)
    finally:
        server.stop()


def test_two_servers_of_a_store_know_each_others_links(tmp_path: Path) -> None:
    """Also after a restart, on each worker, and in no log."""
    servers = [StartedServer(tmp_path, "--processes", processes) for processes in ("1", "2")]
    first, second = (server.setup_path for server in servers)
    try:
        servers[0].stop()
        servers[0].restart()
        links = {first, second, servers[0].setup_path}
        assert len(links) == 3
        for server in servers:
            for link in links:
                pages = [Client(server.url).get(link)[1] for _ in range(4)]
                assert all('name="username"' in page for page in pages)
        fields = {"username": "root", "email": "root@example.org", "password": PASSWORD}
        assert "Account created" in Client(servers[0].url).post(second, **fields)[1]
        for server in servers:
            assert all("404" in Client(server.url).get(link)[1] for link in links)
        log = log_of(tmp_path)
        assert not any(link.removeprefix("/setup/") in log for link in links)
        assert "/setup/" in log
    finally:
        for server in servers:
            server.stop()


def allow_no_writes() -> None:
    """Let files grow no more, as on a full disk, except for SQLite's shared memory, which exists and is only filled again."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (32768, 32768))


def test_a_server_that_was_stopped_cleanly_says_what_sqlite_needs_on_a_full_disk(tmp_path: Path) -> None:
    server = ServerProcess(tmp_path)
    assert server.stop() == 0
    assert not (tmp_path / "data" / "sessions.db-shm").exists()
    refused = subprocess.run(
        [sys.executable, str(ROOT / "server.py"), "--port", "0", "--start-timeout", "0"],
        cwd=tmp_path,
        env=environment(),
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (16384, 16384)),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert refused.returncode == 1
    (line,) = refused.stderr.splitlines()
    assert line.startswith("error: sqlite: ")
    assert line.endswith(
        "SQLite must write its files -shm and -wal beside it even to read: is the disk full, or read-only?"
    )


def test_a_server_starts_on_a_full_disk_and_serves_readers(tmp_path: Path) -> None:
    server = ServerProcess(tmp_path, "--drain-timeout", "1")
    client = Client(server.url)
    client.post("/reg", username="ada", email="ada@example.org", password=PASSWORD)
    client.enter()
    assert (tmp_path / "data" / "sessions.db-wal").stat().st_size > 32768
    server.kill()
    command = [sys.executable, str(ROOT / "server.py"), "--port", "0", "--start-timeout", "0"]
    with subprocess.Popen(
        command,
        cwd=tmp_path,
        env=environment(),
        preexec_fn=allow_no_writes,  # noqa: PLW1509 - this process has no other threads that hold locks
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as full:
        try:
            assert full.stdout is not None
            client.url = full.stdout.readline().split()[2]
            assert client.is_in()
            assert client.get("/readyz")[1] == "ok\n"
            assert "temporarily unavailable" in client.post("/account/end")[1]
            assert client.is_in()
        finally:
            full.terminate()
