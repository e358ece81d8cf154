"""The server takes over the users of a real Express application, by its flags."""

from __future__ import annotations

import json
import time
from pathlib import Path
from urllib.parse import quote
from urllib.request import HTTPCookieProcessor, build_opener
from uuid import uuid4

import pytest
from support.express_app import SECRET, ExpressApp
from support.mongo_servers import Mongo
from support.passwords import PASSWORD
from support.redis_servers import Valkey
from support.server_process import Client, ServerProcess, run_command

CRYPTO = "squirrel SECRET of 42 +!"


def visit(client: Client, base: str, path: str) -> str:
    """Open a page of another server with the same cookies: browsers do not tell ports of a host apart."""
    with build_opener(HTTPCookieProcessor(client.jar)).open(base + path, timeout=20) as response:
        return str(response.read().decode())


def started(folder: Path, url: str, *more: str) -> ServerProcess:
    (folder / "express-secret").write_text(f"a newer one\n{SECRET}\n")
    flags = [
        "--takeover",
        f"express+{url}",
        "--takeover-secret-file",
        "express-secret",
        "--takeover-user-key",
        "user.name",
    ]
    return ServerProcess(folder, *flags, *more)


def test_users_of_express_are_signed_in_and_operators_are_not(redis: Valkey, tmp_path: Path) -> None:
    prefix = f"{uuid4().hex}:"
    express = ExpressApp("connect-redis-9", redis.url, {"prefix": prefix})
    server = started(tmp_path, f"{redis.url}?prefix={prefix}")
    try:
        for name, more in (("ada", ()), ("boss", ("--role", "admin"))):
            given = server.command(
                "create-user", name, "--email", f"{name}@example.org", *more, given=f"{PASSWORD}\n{PASSWORD}\n"
            )
            assert given.returncode == 0, given.stderr
        people = {name: Client(server.url) for name in ("ada", "boss", "grace", "mary", "cli")}
        for name, client in people.items():
            visit(client, express.base, f"/login?user={name}")
        values = quote(json.dumps({"notice": "boo", "proved_at": time.time(), "token_made": [1]}))
        visit(people["ada"], express.base, f"/login?user=ada&more={values}")
        assert people["ada"].is_in()
        assert "boo" not in people["ada"].get("/home")[1]
        assert "ada" in people["ada"].get("/home")[1]
        assert not people["boss"].is_in(), "whoever has the name of an operator there must sign in here"
        assert not people["cli"].is_in(), "a name of the audit log"
        assert people["grace"].is_in(), "no account here yet"

        Client(server.url).post("/reg", username="grace", email="g@example.org", password=PASSWORD)
        assert not people["grace"].is_in(), "the new account may be somebody else's"

        assert people["mary"].is_in()
        server.command("create-user", "mary", given=f"{PASSWORD}\n{PASSWORD}\n")
        assert not people["mary"].is_in(), "nor may she enter one that an operator makes for somebody"

        assert "session taken over" in server.command("audit").stdout
        people["ada"].post("/logout")
        assert not people["ada"].is_in()
        assert "登录 注册" in visit(people["ada"], express.base, "/home")
    finally:
        express.stop()
        server.stop()
    log = (tmp_path / "stderr").read_text()
    assert SECRET not in log
    assert ": 500 " not in log


@pytest.mark.long
def test_encrypted_sessions_of_mongodb_with_the_secret_in_a_file(mongo: Mongo, tmp_path: Path) -> None:
    url = f"{mongo.url}/{uuid4().hex}"
    express = ExpressApp("connect-mongo-6", url, {"crypto": {"secret": CRYPTO}, "collectionName": "visits"})
    (tmp_path / "crypto").write_text(CRYPTO)
    file = quote(str(tmp_path / "crypto"), safe="")
    server = started(tmp_path, f"{url}?collection=visits&crypto_secret_file={file}")
    try:
        client = Client(server.url)
        visit(client, express.base, "/login?user=ada")
        assert client.is_in()
    finally:
        express.stop()
        server.stop()
    assert CRYPTO not in (tmp_path / "stderr").read_text()


@pytest.mark.parametrize(
    ("flags", "fault"),
    [
        (["--takeover", "redis://h", "--takeover-secret-file", "s"], "express+redis"),
        (["--takeover", "express+redis://h"], "--takeover-secret-file"),
        (["--takeover", "express+redis://h", "--takeover-secret-file", "missing"], "cannot read missing"),
        (["--takeover", "express+redis://h", "--takeover-secret-file", "empty"], "empty is empty"),
        (["--takeover", "express+sqlite:///x", "--takeover-secret-file", "s"], "sqlite"),
        (["--takeover", "express+mongodb://h/?crypto_secret_file=no", "--takeover-secret-file", "s"], "cannot read no"),
    ],
)
def test_a_wrong_setting_is_named(tmp_path: Path, flags: list[str], fault: str) -> None:
    (tmp_path / "s").write_text("s\n")
    (tmp_path / "empty").touch()
    given = run_command(tmp_path, *flags, "list")
    assert given.returncode != 0
    assert fault in given.stderr
