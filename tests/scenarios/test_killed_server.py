"""A bulk end continues after its server was killed, and commands work while no server runs."""

from __future__ import annotations

import asyncio
import json
import re
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.error import URLError
from urllib.request import Request, urlopen

import pytest
from support.amount import amount
from support.passwords import PASSWORD
from support.server_process import Client, ServerProcess
from support.tried import Tried
from support.waiting import wait_until

from tornado_sessions.record import Create
from tornado_sessions.stores import open_store
from tornado_sessions.testing.maker import make_record

COUNT = amount(10_000, 30_000)


async def fill(url: str, count: int) -> None:
    store, now = open_store(url), time.time()
    await store.open()
    for start in range(0, count, 500):
        some = range(start, start + 500)
        times: dict[str, Any] = {
            "created_at": now,
            "signed_in_at": now,
            "last_seen_at": now,
            "expires_at": now + 7200,
            "absolute_at": now + 9000,
        }
        await store.save(
            [Create(record=make_record(f"h{n}", user=f"user{n % 900}", ip="192.0.2.9", **times)) for n in some]
        )
    await store.close()


@pytest.fixture
def server(tmp_path: Path) -> Iterator[ServerProcess]:
    made = ServerProcess(tmp_path)
    yield made
    made.stop()


def ask(server: ServerProcess, token: str, method: str, path: str, body: object = None) -> Any:
    data = json.dumps(body).encode() if body is not None else None
    headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
    request = Request(server.url + "/admin/api" + path, data, headers, method=method)
    with urlopen(request, timeout=20) as response:
        return json.loads(response.read() or b"null")


def jobs_of(server: ServerProcess, token: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = ask(server, token, "GET", "/jobs")["items"]
    return found


@pytest.mark.timeout(100)
def test_a_job_goes_on_after_its_server_was_killed_in_the_middle(server: ServerProcess, tried: Tried) -> None:
    asyncio.run(fill(f"sqlite:///{server.folder}/data/sessions.db", COUNT))
    token = server.command("create-token", "robot").stdout.strip()
    body = {"where": {"ip": "192.0.2.0/24"}, "reason": "leak"}

    def begin() -> None:
        with suppress(URLError, OSError):
            ask(server, token, "POST", "/sessions/destroy", body)

    sender = threading.Thread(target=begin)
    sender.start()
    while not (jobs := jobs_of(server, token)) or not 0 < jobs[0]["ended"] < COUNT:
        assert not jobs or jobs[0]["state"] == "running", "the job was over before it could be killed"
    server.kill()
    sender.join()
    server.restart()
    left = ask(server, token, "GET", "/sessions?limit=1")["total"]
    assert 0 < left < COUNT
    client = Client(server.url)
    client.post("/reg", username="ada", email="ada@example.org", password=PASSWORD)
    client.enter("ada")
    job = wait_until(
        lambda: next((job for job in jobs_of(server, token) if job["state"] == "done"), None), "the job", 60
    )
    assert job is not None
    assert client.is_in(), "who logged in meanwhile stays"
    assert ask(server, token, "GET", "/sessions?ip=192.0.2.0/24")["total"] == 0
    entry = ask(server, token, "GET", "/audit?act=end+all+sessions+matching")["items"][0]
    assert entry["ended"] == job["ended"]
    assert COUNT - 500 <= job["ended"] <= COUNT, (
        "of the killed server's last step nobody may have written how much it was"
    )
    tried(
        "kill -9 of a server during a bulk action: sessions left",
        times=1,
        lost=ask(server, token, "GET", "/sessions?ip=192.0.2.9")["total"],
    )
    assert server.command("audit", "verify").stdout.startswith("whole: ")


@pytest.mark.long
def test_everything_can_be_done_when_the_web_is_down(server: ServerProcess) -> None:
    server.kill()
    made = server.command("create-user", "ada", given=PASSWORD + "\n")
    assert made.returncode == 0, made.stderr
    asyncio.run(fill(f"sqlite:///{server.folder}/data/sessions.db", 1_000))

    def told(*arguments: str) -> str:
        result = server.command(*arguments)
        assert result.returncode == 0, result.stderr
        assert "Traceback" not in result.stderr
        return result.stdout

    assert len(told("list").splitlines()) == 1_000
    listed = [json.loads(line) for line in told("list", "--json", "--user", "user7*", "--sort", "user").splitlines()]
    assert {item["user"][:5] for item in listed} == {"user7"}
    assert json.loads(told("show", "h5", "--json"))["user"] == "user5"
    assert server.command("show", "nobody").returncode == 1
    assert told("destroy-where", "--user", "user8*", "--reason", "x", "--dry-run").startswith("Would end: ")
    assert server.command("destroy-where", "--reason", "x").returncode == 1
    assert (
        told("destroy-where", "--ip", "192.0.2.0/24", "--user", "user7*", "--reason", "leak")
        == f"Ended: {len(listed)}\n"
    )
    assert told("destroy", "h1", "h2", "--reason", "two") == "Ended: 2\n"
    assert told("destroy-user", "user3") == "Ended: 2\n"
    assert told("block", "ada", "--hours", "2").startswith("ada cannot sign in")
    assert told("allow", "ada") == "ada can sign in again.\n"
    assert server.command("block", "nobody").stderr == "error: This account doesn't exist.\n"
    assert told("set-role", "ada", "viewer") == "ada is now viewer.\n"
    token = told("create-token", "robot", "--scope", "sessions:read", "--days", "3").strip()
    handle = told("tokens").split()[0]
    assert token.startswith(f"ts_{handle}")
    assert json.loads(told("tokens", "--json"))["scopes"] == ["sessions:read"]
    assert told("revoke-token", handle) == "Revoked.\n"
    assert "done" in told("jobs")
    stats = json.loads(told("stats", "--json"))
    assert stats["active"] == 1_000 - len(listed) - 4
    assert told("destroy-all", "--reason", "breach") == f"Ended: {stats['active']}\n"
    assert told("list") == ""
    assert len(told("list", "--ended", "--most", "10").splitlines()) == 10
    acts = [json.loads(line)["act"] for line in told("audit", "--json").splitlines()]
    # Expired sessions are recorded whenever a process has removed some.
    assert next(act for act in acts if act != "sessions expired") == "end everybody's sessions"
    assert len(acts) >= 11
    verified = told("audit", "verify")
    assert re.match(r"whole: \d+ entries, head ", verified), verified
    head = verified.split()[-1]
    assert told("audit", "verify", "--head", head).startswith("whole")
    assert server.command("audit", "verify", "--head", "0" * 64).returncode == 1
    assert told("prune").startswith("Removed: 0")
