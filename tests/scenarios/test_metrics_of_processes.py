"""Metrics of a server with several worker processes: each of them answers for all."""

from __future__ import annotations

import os
import re
import signal
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from urllib.request import urlopen

import pytest
from support.server_process import ServerProcess
from support.waiting import wait_until

_COUNT = re.compile(
    r'^tornado_sessions_http_request_duration_seconds_count{method="GET",status="2xx"} (\S+)', re.MULTILINE
)


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ServerProcess]:
    shared = tmp_path / "shared"
    shared.mkdir()
    monkeypatch.setenv("TMPDIR", str(shared))
    made = ServerProcess(tmp_path, "--processes", "2")
    yield made
    assert list(shared.glob("*/*.db"))
    assert made.stop() == 0
    assert list(shared.iterdir()) == [], "the files of the metrics are left behind"


def scrape(server: ServerProcess) -> str:
    with urlopen(server.url + "/metrics", timeout=20) as answer:
        return str(answer.read().decode())


def requests(server: ServerProcess) -> float:
    found = _COUNT.search(scrape(server))
    assert found
    return float(found[1])


def workers(server: ServerProcess) -> list[int]:
    children = Path(f"/proc/{server.process.pid}/task/{server.process.pid}/children").read_text()
    return list(map(int, children.split()))


def metrics_files(server: ServerProcess) -> set[str]:
    return {path.name for path in server.folder.glob("shared/*/*.db")}


def test_what_a_killed_server_left_is_removed_at_the_next_start_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shared = tmp_path / "shared"
    shared.mkdir()
    monkeypatch.setenv("TMPDIR", str(shared))
    foreign = shared / "tornado_sessions-of-somebody"
    foreign.mkdir()
    (shared / "tornado_sessions-link").symlink_to(tmp_path)
    (tmp_path / "lock").touch()
    with ExitStack() as stack:

        def start() -> ServerProcess:
            server = ServerProcess(tmp_path, "--processes", "2")
            stack.callback(lambda: server.process.poll() is None and server.stop())
            return server

        def folders() -> set[Path]:
            return {path.parent for path in shared.glob("*/lock") if not path.parent.is_symlink()}

        first = start()
        (of_first,) = wait_until(folders, "the folder")
        second = start()
        wait_until(lambda: len(folders()) == len(workers(first)) == 2, "the second server and the workers of the first")
        doomed = workers(first)
        first.kill()
        assert first.process.stdout is not None
        first.process.stdout.close()
        wait_until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in doomed), "the end of the workers")
        assert of_first in folders()
        start()
        wait_until(lambda: of_first not in folders() and len(folders()) == 2, "the clean-up of the next start")
        assert requests(second) >= 0
    assert {path.name for path in shared.iterdir()} == {"tornado_sessions-of-somebody", "tornado_sessions-link"}
    assert (tmp_path / "lock").exists()


def test_counts_only_grow_whichever_process_answers_and_survive_its_death(server: ServerProcess) -> None:
    seen = []
    for _ in range(40):
        # Each connection is accepted by whichever worker is first.
        with urlopen(server.url + "/healthz", timeout=20):
            pass
        seen.append(requests(server))
    assert seen == sorted(seen)
    assert len(set(seen)) == len(seen), "a scrape did not see the requests of the other worker"
    assert seen[-1] >= 78
    before, files = workers(server), metrics_files(server)
    assert len(before) == 2
    os.kill(before[0], signal.SIGKILL)
    wait_until(lambda: len(workers(server)) == 2 and before[0] not in workers(server), "a new worker")
    assert requests(server) >= seen[-1]
    # The gauges of the dead process are gone: memory of two processes, not of three.
    one = int(re.search(r"VmRSS:\s+(\d+)", Path(f"/proc/{before[1]}/status").read_text())[1]) * 1024  # type: ignore[index]
    memory = re.search(r"^process_resident_memory_bytes (\S+)", scrape(server), re.MULTILINE)
    assert memory
    assert float(memory[1]) < 2.6 * one
    wait_until(lambda: metrics_files(server) == files, "the files of the dead worker in use by its replacement")
