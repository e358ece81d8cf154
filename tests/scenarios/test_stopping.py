"""A server process that is stopped: what it answers until its end, and how it ends."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Callable, Iterator
from contextlib import suppress
from http.client import HTTPConnection
from pathlib import Path
from urllib.parse import urlencode, urlsplit

import pytest
from support.amount import amount, only_long
from support.passwords import PASSWORD
from support.raw_connection import RawConnection, connected
from support.redis_servers import Valkey
from support.server_process import Client, ServerProcess, ShippedServer
from support.tried import Tried
from support.waiting import until, wait_until

STOP_SIGNALS = [signal.SIGTERM, signal.SIGINT, signal.SIGHUP]
ways_to_stop = pytest.mark.parametrize(
    ("number", "processes"),
    [
        (signal.SIGTERM, "1"),
        (signal.SIGINT, "2"),
        pytest.param(signal.SIGINT, "1", marks=only_long),
        pytest.param(signal.SIGTERM, "2", marks=only_long),
        pytest.param(signal.SIGHUP, "1", marks=only_long),
        pytest.param(signal.SIGHUP, "2", marks=only_long),
    ],
)
MakeServer = Callable[..., ServerProcess]


@pytest.fixture
def make_server(tmp_path: Path) -> Iterator[MakeServer]:
    made: list[ServerProcess] = []

    def make(*flags: str) -> ServerProcess:
        made.append(ShippedServer(tmp_path, *flags))
        return made[-1]

    yield make
    for server in made:
        server.kill()


def port_of(server: ServerProcess) -> int:
    return urlsplit(server.url).port or 0


def log_of(server: ServerProcess) -> str:
    return (server.folder / "stderr").read_text()


def status_of(server: ServerProcess, path: str) -> tuple[int, str | None]:
    """The status and the header ``Connection`` of an answer on a connection of its own."""
    connection = HTTPConnection("127.0.0.1", port_of(server), timeout=5)
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        answer.read()
        return answer.status, answer.headers["Connection"]
    finally:
        connection.close()


def is_refused(server: ServerProcess) -> bool:
    try:
        status_of(server, "/healthz")
    except ConnectionRefusedError:
        return True
    return False


@ways_to_stop
def test_a_server_says_that_it_is_going_while_it_still_answers(
    make_server: MakeServer, number: signal.Signals, processes: str
) -> None:
    server = make_server("--drain-delay", "2", "--processes", processes)
    assert status_of(server, "/readyz") == (200, None)
    server.process.send_signal(number)
    # Of each process.
    wait_until(lambda: {status_of(server, "/readyz")[0] for _ in range(6)} == {503}, "/readyz")
    assert [status_of(server, path) for path in ("/readyz", "/healthz", "/home", "/nowhere")] == [
        (503, "close"),
        (200, "close"),
        (200, "close"),
        (404, "close"),
    ]
    wait_until(lambda: is_refused(server), "the end of accepting")
    assert server.process.wait(timeout=10) == 0


def post(connection: RawConnection, client: Client, path: str, **fields: str) -> None:
    """Send a form over a connection, with the cookies and the token of a browser."""
    page = client.get("/home")[1]
    token = page.partition('name="xsrf-token" content="')[2].partition('"')[0]
    body = urlencode({"_xsrf": token, **fields}).encode()
    cookies = "; ".join(f"{cookie.name}={cookie.value}" for cookie in client.jar)
    kind = "application/x-www-form-urlencoded"
    headers = {"Cookie": cookies, "Content-Type": kind, "Content-Length": str(len(body))}
    connection.send("POST", path, headers, body)


@pytest.mark.parametrize("processes", [pytest.param("1", marks=only_long), "2"])
@pytest.mark.gen_test(timeout=60)
async def test_sign_ins_in_progress_are_finished_and_kept(
    make_server: MakeServer, processes: str, tried: Tried
) -> None:
    server = make_server("--processes", processes)
    first = Client(server.url)
    await asyncio.to_thread(first.post, "/reg", username="ada", email="ada@example.org", password=PASSWORD)

    async def sign_in(started: asyncio.Barrier) -> bytes:
        client = Client(server.url)
        await asyncio.to_thread(client.get, "/home")
        async with connected(("127.0.0.1", port_of(server))) as connection:
            await asyncio.to_thread(post, connection, client, "/login", username="ada", password=PASSWORD)
            await connection.writer.drain()
            await started.wait()
            return await connection.response(seconds=20)

    count = amount(4, 8)
    started = asyncio.Barrier(count + 1)
    running = [asyncio.create_task(sign_in(started)) for _ in range(count)]
    await started.wait()
    server.process.send_signal(signal.SIGTERM)
    answers = await asyncio.gather(*running)
    cut = sum(answer[:12] != b"HTTP/1.1 303" for answer in answers)
    tried("sign-ins in progress at SIGTERM", times=count, lost=cut)
    assert cut == 0
    # Those that are answered after the signal say that the connection ends.
    assert b"connection: close" in answers[-1].lower() or b"connection: close" in b"".join(answers).lower()
    assert await asyncio.to_thread(server.process.wait, 20) == 0
    listed = await asyncio.to_thread(server.command, "list")
    assert listed.stdout.count("ada") == count


@pytest.mark.gen_test(timeout=60)
async def test_connections_that_are_kept_alive_end_between_two_requests(make_server: MakeServer, tried: Tried) -> None:
    """A client that reuses its connection is told to stop reusing it, and never meets a closed one."""
    server = make_server("--drain-delay", "0.3")

    async def ask_until_told(pause: float) -> tuple[int, bytes]:
        async with connected(("127.0.0.1", port_of(server))) as connection:
            for number in range(1000):
                connection.send("GET", "/healthz", {})
                answer = await connection.response()
                assert answer.startswith(b"HTTP/1.1 200")
                if b"Connection: close" in answer:
                    return number, await connection.rest()
                await asyncio.sleep(pause)
        raise AssertionError("never told")

    running = [asyncio.create_task(ask_until_told(0.01 * number)) for number in range(30)]
    await until(lambda: asyncio.to_thread(status_of, server, "/healthz"), "the server")
    server.process.send_signal(signal.SIGTERM)
    asked = await asyncio.gather(*running)
    assert {rest for _, rest in asked} == {b""}
    tried("requests on kept connections until SIGTERM ends them", times=sum(number + 1 for number, _ in asked), lost=0)
    assert await asyncio.to_thread(server.process.wait, 20) == 0


@pytest.mark.gen_test(timeout=60)
async def test_waiting_for_requests_has_a_bound(make_server: MakeServer) -> None:
    server = make_server("--drain-timeout", "0.5")
    # Reset, if the server has not read everything.
    with suppress(ConnectionResetError):
        async with connected(("127.0.0.1", port_of(server))) as connection:
            connection.send("POST", "/login", {"Content-Length": "100"}, b"half")
            await connection.writer.drain()
            server.process.send_signal(signal.SIGTERM)
            assert await connection.rest() == b""
    assert await asyncio.to_thread(server.process.wait, 10) == 0
    assert "1 requests did not finish within 0.5 s" in log_of(server)


@ways_to_stop
def test_a_second_signal_ends_a_server_at_once(
    make_server: MakeServer, number: signal.Signals, processes: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    server = make_server("--drain-delay", "60", "--processes", processes)
    server.process.send_signal(number)
    # Of each process.
    wait_until(lambda: {status_of(server, "/readyz")[0] for _ in range(6)} == {503}, "/readyz")
    server.process.send_signal(number)
    assert server.process.wait(timeout=5) == 128 + number
    wait_until(lambda: is_refused(server), "the end of its workers")
    assert list(tmp_path.glob("tornado_sessions-*")) == []


def workers_of(server: ServerProcess) -> list[int]:
    children = Path(f"/proc/{server.process.pid}/task/{server.process.pid}/children")
    return [int(number) for number in children.read_text().split()]


def test_a_signal_to_all_processes_of_a_server_drains_it(make_server: MakeServer) -> None:
    """systemd sends SIGTERM to each of them, and a terminal SIGINT. The parent's comes to the workers on top of that."""
    for number in amount(STOP_SIGNALS[:1], STOP_SIGNALS):
        server = make_server("--drain-delay", "0.5", "--processes", "2")
        for process in (*workers_of(server), server.process.pid):
            os.kill(process, number)
        assert server.process.wait(timeout=20) == 0


def test_a_worker_that_dies_is_replaced_with_backoff(make_server: MakeServer) -> None:
    server = make_server("--processes", "2")
    for _ in range(2):
        wait_until(lambda: len(workers_of(server)) == 2, "both workers")
        before = workers_of(server)
        os.kill(before[0], signal.SIGKILL)
        wait_until(lambda before=before: len(set(workers_of(server)) - set(before)) == 1, "another worker")  # type: ignore[misc]
        assert Client(server.url).get("/healthz")[1] == "ok\n"
    assert server.stop() == 0
    assert log_of(server).count("was killed by signal 9; another one starts in 0.") >= 2


def test_a_worker_that_is_stopped_alone_leaves_the_others_and_their_socket_as_they_are(make_server: MakeServer) -> None:
    server = make_server("--processes", "2")
    wait_until(lambda: len(workers_of(server)) == 2, "both workers")
    before = workers_of(server)
    os.kill(before[0], signal.SIGTERM)
    wait_until(lambda: len(workers_of(server)) == 2 and before[0] not in workers_of(server), "another worker")
    # A connection that the kernel does not let in would time out, and not be refused.
    assert [status_of(server, "/healthz")[0] for _ in range(5)] == [200] * 5
    assert server.stop() == 0


def test_workers_end_with_their_parent(make_server: MakeServer) -> None:
    server = make_server("--processes", "2")
    server.kill()
    wait_until(lambda: is_refused(server), "the end of the workers")


@only_long
def test_a_store_that_hangs_does_not_keep_a_server_from_ending(make_server: MakeServer) -> None:
    valkey = Valkey()
    try:
        server = make_server("--store", valkey.url)
        assert status_of(server, "/healthz")[0] == 200
        assert valkey.process is not None
        valkey.process.send_signal(signal.SIGSTOP)
        server.process.send_signal(signal.SIGTERM)
        assert server.process.wait(timeout=20) == 0
        assert "Traceback" not in log_of(server)
    finally:
        valkey.stop()
