"""Real server processes: started, killed, restarted, two on one file."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from urllib.error import URLError
from urllib.request import Request, urlopen

import pytest
from support.amount import only_long
from support.passwords import PASSWORD
from support.redis_servers import Valkey
from support.server_process import Client, ServerProcess, run_command
from support.urls import url_of


@pytest.fixture
def server(tmp_path: Path) -> Iterator[ServerProcess]:
    made = ServerProcess(tmp_path)
    yield made
    made.stop()


def test_a_login_survives_a_kill_and_a_restart(server: ServerProcess) -> None:
    client = Client(server.url)
    client.post("/reg", username="ada", email="ada@example.org", password=PASSWORD)
    client.enter()
    server.kill()
    server.restart()
    client.url = server.url
    assert client.is_in()


def test_two_servers_on_one_file_share_sessions_and_their_end(server: ServerProcess) -> None:
    second = ServerProcess(server.folder)
    try:
        client = Client(server.url)
        client.post("/reg", username="ada", email="ada@example.org", password=PASSWORD)
        client.enter()
        elsewhere = Client(second.url)
        elsewhere.jar = client.jar
        twin = Client(second.url)
        for cookie in client.jar:
            twin.jar.set_cookie(cookie)
        assert twin.is_in()
        client.post("/logout")
        assert not twin.is_in()
    finally:
        second.stop()


def test_commands_work_on_the_store_of_a_running_server(server: ServerProcess) -> None:
    made = server.command("create-user", "root", "--role", "operator", given=PASSWORD + "\n")
    assert made.returncode == 0, made.stderr
    client = Client(server.url)
    client.enter("root")
    handle = json.loads(server.command("list", "--json").stdout.splitlines()[0])["handle"]
    # One as a program of its own, as people run it; the others in this process, which is faster.
    assert "ok      Received the event" in server.command_process("check").stdout
    assert server.command("destroy", handle).returncode == 0
    assert not client.is_in()
    client.enter("root")
    assert server.command("destroy-user", "ROOT").stdout == "Ended: 1\n"
    assert not client.is_in()
    assert server.command("prune").returncode == 0


@pytest.mark.parametrize(
    "arguments",
    [
        ("--store", "nonsense://x"),
        ("--store", "sqlite://host/x"),
        ("--port", "99999"),
        ("--idle-timeout", "-1"),
        ("--trusted-proxies", "x"),
        ("--forwarded-header", "X-Real-IP"),
        ("--store", "sqlite:////proc/nowhere/x.db"),
    ],
)
def test_a_wrong_setting_is_one_clear_line(tmp_path: Path, arguments: tuple[str, ...]) -> None:
    result = run_command(tmp_path, *arguments, "check")
    assert result.returncode == 1
    assert result.stderr.startswith("error: ")
    assert "Traceback" not in result.stderr


def test_a_port_that_is_taken_is_named(server: ServerProcess) -> None:
    port = server.url.rpartition(":")[2]
    result = server.command_process("--port", port)
    assert result.returncode == 1
    assert result.stderr == f"error: cannot listen on 127.0.0.1 port {port}: Address already in use\n"


def test_secret_and_data_are_readable_by_their_owner_alone(server: ServerProcess) -> None:
    files = list((server.folder / "data").iterdir())
    assert {"secret", "sessions.db"} <= {file.name for file in files}
    assert {file.stat().st_mode & 0o777 for file in files} == {0o600}


def test_two_workers_share_sessions_and_the_setup_link(tmp_path: Path) -> None:
    server = ServerProcess(tmp_path, "--processes", "2")
    try:
        for number in range(4):
            client = Client(server.url)
            client.post("/reg", username=f"ada{number}", email=f"ada{number}@example.org", password=PASSWORD)
            client.enter(f"ada{number}")
            assert all(client.is_in() for _ in range(10))
        operator = Client(server.url)
        operator.post(server.setup_path, username="root", email="root@example.org", password=PASSWORD)
        operator.enter("root")
        assert operator.get("/admin/")[0] == server.url + "/admin/"
        assert "404" in Client(server.url).get(server.setup_path)[1]
    finally:
        server.stop()
    with pytest.raises((URLError, ConnectionError)):
        for _ in range(20_000):
            urlopen(server.url + "/healthz", timeout=5).close()


@pytest.mark.long_on("mongo")
@pytest.mark.parametrize(
    "kind",
    [
        "redis",
        "mongo_motor",
        *(pytest.param(kind, marks=only_long) for kind in ("redis_cluster", "redis_sentinel", "mongo_pymongo")),
    ],
)
def test_a_server_on_another_store_does_all_of_it(kind: str, request: pytest.FixtureRequest, tmp_path: Path) -> None:
    server = ServerProcess(tmp_path, "--store", url_of(kind, request, tmp_path))
    try:
        assert "ok" in server.command("check").stdout
        client, other = Client(server.url), Client(server.url)
        client.post("/reg", username="ada", email="ada@example.org", password=PASSWORD)
        assert "taken" in client.post("/reg", username="ADA", email="b@example.org", password=PASSWORD)[1]
        client.enter()
        other.enter()
        assert server.command("list").stdout.count("ada") == 2
        made = server.command("create-user", "root", "--role", "operator", given=PASSWORD + "\n")
        assert made.returncode == 0, made.stderr
        token = server.command("create-token", "tests").stdout.strip()
        asked = Request(server.url + "/admin/api/sessions?user=ada", headers={"Authorization": f"Bearer {token}"})
        with urlopen(asked, timeout=20) as answer:
            told = json.loads(answer.read())
        assert (told["total"], len(told["items"])) == (2, 2)
        server.kill()
        server.restart()
        client.url = other.url = server.url
        assert client.is_in()
        assert "Ended: 2" in server.command("destroy-user", "ada").stdout
        assert not client.is_in()
        assert not other.is_in()
    finally:
        server.stop()


def test_the_command_line_lists_as_json_and_ends_everybody(server: ServerProcess) -> None:
    client = Client(server.url)
    client.post("/reg", username="ada", email="ada@example.org", password=PASSWORD)
    client.enter()
    told = [json.loads(line) for line in server.command("list", "--json", "--ip", "127.0.0.1").stdout.splitlines()]
    assert [(item["user"], item["ip"]) for item in told] == [("ada", "127.0.0.1")]
    assert "secret_hash" not in told[0]
    assert server.command("destroy-all", "--reason", "a drill").stdout == "Ended: 1\n"
    assert not client.is_in()


@pytest.mark.usefixtures("redis", "mongo")
def test_accounts_may_be_kept_elsewhere_than_sessions(request: pytest.FixtureRequest, tmp_path: Path) -> None:
    sessions, users = url_of("redis", request, tmp_path), url_of("mongo_motor", request, tmp_path)
    server = ServerProcess(tmp_path, "--store", sessions, "--users", users)
    try:
        client = Client(server.url)
        client.post("/reg", username="ada", email="ada@example.org", password=PASSWORD)
        client.enter()
        assert server.command("list").stdout.count("ada") == 1
    finally:
        server.stop()


def test_check_says_in_one_line_what_is_wrong(tmp_path: Path) -> None:
    for url, said in [
        ("redis://127.0.0.1:1", "redis: "),
        ("mongodb://127.0.0.1:1", "mongodb: "),
        ("redis+sentinel://127.0.0.1:1/mymaster", "Sentinel"),
        ("redis+cluster://127.0.0.1:1", "redis: "),
        ("redis://127.0.0.1:x/?color=red", "unknown option 'color'"),
        ("mongodb://127.0.0.1/?driver=other", "driver must be motor or pymongo"),
        ("nothing://", "no store for nothing://"),
    ]:
        found = run_command(tmp_path, "--store", url, "check")
        assert (found.returncode, found.stdout) == (1, ""), url
        assert found.stderr.startswith("error: ")
        assert said in found.stderr, found.stderr
        assert found.stderr.count("\n") == 1, found.stderr


def test_check_knows_a_server_that_would_lose_sessions(tmp_path: Path) -> None:
    evicting, locked = Valkey("--maxmemory-policy", "allkeys-lru"), Valkey("--requirepass", "secret")
    try:
        found = run_command(tmp_path, "--store", evicting.url, "check")
        assert (found.returncode, "set it to noeviction" in found.stdout) == (1, True), found
        evicting.ask("CONFIG", "SET", "maxmemory-policy", "noeviction")
        evicting.ask("CONFIG", "SET", "appendonly", "no")
        found = run_command(tmp_path, "--store", evicting.url, "check")
        assert (found.returncode, "appendonly" in found.stdout) == (0, True), found
        found = run_command(tmp_path, "--store", locked.url, "check")
        assert (found.returncode, "PASSWORD@" in found.stderr) == (1, True), found
        assert run_command(tmp_path, "--store", locked.url.replace("//", "//:secret@"), "check").returncode == 0
    finally:
        evicting.stop()
        locked.stop()
