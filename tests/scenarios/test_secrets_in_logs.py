"""A whole run at DEBUG with a secret in every place where a client or an operator can put one: none appears anywhere."""

from __future__ import annotations

import re
import secrets
import socket
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote, urlsplit

import pytest
from support.passwords import PASSWORD
from support.redis_servers import Valkey
from support.server_process import Client, ServerProcess

PASSWORD_OF_STORE = "canary@store/pass?word"
# Not one that may begin with a dash, like a flag.
KEY = secrets.token_hex(48)


@pytest.fixture(params=["sqlite", "redis"])
def server(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[ServerProcess]:
    flags = ["--secret", KEY, "--log-level", "debug"]
    valkey = Valkey("--requirepass", PASSWORD_OF_STORE) if request.param == "redis" else None
    if valkey is not None:
        flags += ["--store", valkey.url.replace("//", f"//:{quote(PASSWORD_OF_STORE, safe='')}@")]
    made = ServerProcess(tmp_path, *flags)
    yield made
    made.stop()
    if valkey is not None:
        valkey.stop()


def send(server: ServerProcess, request: str) -> None:
    """Send bytes that no browser sends, and wait for the answer."""
    url = urlsplit(server.url)
    with socket.create_connection((url.hostname or "", url.port or 0), timeout=10) as connection:
        connection.sendall(request.encode("latin1") + b"\r\n\r\n")
        connection.recv(65536)


def malformed(cookie: str, api: str, setup: str) -> Iterator[str]:
    """Requests with secrets, each malformed in another way."""
    for secret in (cookie, api, f"Basic {api}"):
        for name in (
            "Cookie",
            "Authorization",
            "X-XSRFToken",
            "Host",
            "Content-Length",
            "Transfer-Encoding",
            "X-Request-ID",
            "Referer",
        ):
            for value in (
                f"sid={secret}",
                f"Bearer {secret}\x01",
                f"\x00{secret}",
                f'"{secret}',
                f"{secret}\x7f; a={secret}",
            ):
                yield f"GET /account HTTP/1.1\r\nHost: x\r\n{name}: {value}"
        yield f"GET /account HTTP/1.1\r\nHost: x\r\n{secret}: x"
        yield f"GET /account HTTP/1.1\r\nHost: x\r\nCookie\r\n {secret}"
        yield f"GET /account HTTP/1.1\r\nHost: x\r\nCookie {secret}"
        yield f"{secret} /account HTTP/1.1\r\nHost: x"
        yield f"GET /{secret} HTTP/1.1\r\nHost: x"
        yield f"GET /account?token={secret} HTTP/1.1\r\nHost: x"
        yield f"GET /account HTTP/{secret}\r\nHost: x"
    for path in (
        "/%s",
        "//%s",
        "/SETUP/%s",
        "/%%73etup/%s",
        "/setup%%2F%s",
        "/ops/setup/%s",
        "/setup/%s/",
        "/setup/%s?a=b",
        "/setup/./%s",
    ):
        yield f"GET {path % setup} HTTP/1.1\r\nHost: localhost"
        yield f"GET /login HTTP/1.1\r\nHost: localhost\r\nReferer: http://h{path % setup}"


def test_no_secret_appears_in_any_log_entry_or_store(server: ServerProcess) -> None:
    client = Client(server.url)
    client.post("/reg", username="ada", email="ada@example.org", password=PASSWORD)
    client.enter()
    cookie = next(cookie.value or "" for cookie in client.jar if "sid" in cookie.name).strip('"')
    api = server.command("create-token", "canary").stdout.strip()
    setup = server.setup_path.rpartition("/")[2]
    for request in malformed(cookie, api, setup):
        send(server, request)
    assert client.is_in()
    audit = server.command("audit", "--json").stdout
    server.stop()
    log = (server.folder / "stderr").read_bytes().decode("utf-8", "replace")
    assert "Malformed HTTP message" in log
    stores = b"".join(path.read_bytes() for path in server.folder.rglob("*.db*")).decode("latin1")
    value, signature = re.split("[|]", cookie)[-2:]
    canaries = [
        KEY,
        PASSWORD,
        PASSWORD_OF_STORE,
        "store/pass",
        quote(PASSWORD_OF_STORE, safe=""),
        setup,
        value.partition(":")[2],
    ]
    for canary in (*canaries, signature, api, api.rpartition("_")[2]):
        for place in (log, audit, stores):
            assert canary not in place, canary
