"""Servers on a Redis that refuses writes: they start, serve readers, and end sessions while memory is full."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.error import HTTPError
from urllib.parse import urlencode
from urllib.request import Request, urlopen

import pytest
import redis
from support.amount import only_long
from support.passwords import PASSWORD
from support.redis_servers import Valkey
from support.server_process import Client, ServerProcess
from support.waiting import wait_until


@pytest.fixture
def valkey() -> Iterator[Valkey]:
    made = Valkey()
    yield made
    made.stop()


@pytest.fixture
def server(tmp_path: Path, valkey: Valkey) -> Iterator[ServerProcess]:
    """A server with an account of ada."""
    made = ServerProcess(tmp_path, "--store", valkey.url)
    assert made.command("create-user", "ada", given=PASSWORD + "\n").returncode == 0
    yield made
    made.stop()


def fill(valkey: Valkey) -> None:
    valkey.ask("CONFIG", "SET", "maxmemory", "1mb")


def make_read_only(valkey: Valkey) -> None:
    valkey.ask("REPLICAOF", "127.0.0.1", "1")


def let_snapshots_fail(valkey: Valkey) -> None:
    """``MISCONF``: the disk is full, so Redis accepts no writes."""
    valkey.ask("CONFIG", "SET", "save", "1 1")
    # A directory of that name stands in the way of the snapshot.
    (valkey.folder / "dump.rdb" / "x").mkdir(parents=True)
    valkey.ask("SET", "something", "changed")
    wait_until(lambda: refuses(valkey), "MISCONF")


def refuses(valkey: Valkey) -> bool:
    try:
        valkey.ask("SET", "something", "else")
    except redis.ResponseError as error:
        return "MISCONF" in str(error)
    return False


@pytest.mark.long
@pytest.mark.parametrize(
    "refuse", [fill, *(pytest.param(way, marks=only_long) for way in (make_read_only, let_snapshots_fail))]
)
def test_a_server_starts_and_serves_readers(
    server: ServerProcess, valkey: Valkey, refuse: Callable[[Valkey], None]
) -> None:
    client, other = Client(server.url), Client(server.url)
    client.enter()
    other.enter()  # so that there is another session to end
    server.stop()
    refuse(valkey)
    server.restart()
    client.url = server.url
    assert client.is_in()
    assert client.get("/readyz")[1] == "ok\n"
    assert server.command("list").returncode == 0
    # Writes are refused for now, and sign nobody out.
    for who, path, fields in [
        (client, "/account/end", {}),
        (Client(server.url), "/login", {"username": "ada", "password": PASSWORD}),
    ]:
        token = who.get("/home")[1].partition('name="xsrf-token" content="')[2].partition('"')[0]
        form = urlencode({"_xsrf": token, **fields}).encode()
        cookies = "; ".join(f"{cookie.name}={cookie.value}" for cookie in who.jar)
        with pytest.raises(HTTPError) as refused:
            urlopen(Request(server.url + path, form, {"Cookie": cookies}), timeout=20)
        with refused.value as answer:
            assert (answer.code, bool(answer.headers["Retry-After"])) == (503, True), path
    assert client.is_in()


def test_sessions_end_while_memory_is_full(server: ServerProcess, valkey: Valkey) -> None:
    """All that a server writes on the way to an end is accepted: the audit log, its completion, the job."""
    clients = [Client(server.url) for _ in range(3)]
    for client in clients:
        client.enter()
    handle = json.loads(server.command("list", "--json").stdout.splitlines()[0])["handle"]
    fill(valkey)
    assert server.command("destroy", handle).returncode == 0
    still_in = [client for client in clients if client.is_in()]
    assert len(still_in) == 2
    still_in[0].post("/logout")
    assert [client.is_in() for client in still_in] == [False, True]
    ended = server.command("destroy-all", "--reason", "breach")
    assert ended.returncode == 0, ended.stderr
    assert not any(client.is_in() for client in clients)
    told = server.command("audit").stdout
    assert "end everybody's sessions" in told
    assert "log-out" in told
    assert server.command("audit", "verify").returncode == 0
