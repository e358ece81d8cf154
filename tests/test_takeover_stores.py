"""Every kind of Redis that Express may use can be taken over: TLS, Sentinels, a cluster. A wrong setting shows at the start."""

from __future__ import annotations

import asyncio
import base64
import hmac
import json
import logging
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote

import pytest
import redis
from support.amount import only_long
from support.browser import Browser
from support.passwords import SECRET
from support.redis_servers import Valkey, ValkeyCluster, ValkeySentinel
from support.tls_servers import PASSWORD, TlsServer, options_of, write_certificates
from support.waiting import wait_until
from tornado.httpclient import AsyncHTTPClient
from tornado.web import Application, RequestHandler

from tornado_sessions import ConfigError, SessionMixin, Sessions
from tornado_sessions.server.express_takeover import check_express, express_of
from tornado_sessions.server.settings import ServerOptions
from tornado_sessions.takeover import Express

EXPRESS_SECRET = "keyboard cat"
#: Of an application that keeps its keys together on a cluster.
PREFIX = "{app}sess:"
ID = "x" * 32


class Old(NamedTuple):
    """Where Express' sessions are.

    Attributes:
        url: without a prefix.
        ask: runs a command on the right server.
    """

    url: str
    ask: Callable[..., Any]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_certificates(tmp_path_factory.mktemp("takeover-tls"), "127.0.0.1")


@pytest.fixture(scope="module")
def tls(folder: Path) -> Iterator[Old]:
    server = TlsServer(folder)
    yield Old(f"{server.url('rediss')}?{options_of(folder)}", server.ask)
    server.stop()


@pytest.fixture(scope="module")
def tls_cluster(folder: Path) -> Iterator[Old]:
    node = TlsServer(folder, ["cluster-enabled yes\ntls-cluster yes"])
    node.ask("CLUSTER", "ADDSLOTSRANGE", 0, 16383)
    wait_until(lambda: b"cluster_state:ok" in node.ask("CLUSTER", "INFO"), "the cluster")
    yield Old(f"{node.url('rediss+cluster')}?{options_of(folder)}", node.ask)
    node.stop()


@pytest.fixture(scope="module")
def tls_sentinel(folder: Path) -> Iterator[Old]:
    master = TlsServer(folder)
    watched = [f"sentinel monitor mymaster 127.0.0.1 {master.port} 1", f'sentinel auth-pass mymaster "{PASSWORD}"']
    sentinel = TlsServer(folder, watched, sentinel=True)
    yield Old(f"{sentinel.url('rediss+sentinel', '/mymaster')}?{options_of(folder)}", master.ask)
    for server in (sentinel, master):
        server.stop()


@pytest.fixture
def cluster(redis_cluster: ValkeyCluster) -> Old:
    def ask(*command: Any) -> Any:
        for node in redis_cluster.nodes:
            with suppress(redis.exceptions.MovedError):
                return node.ask(*command)
        raise AssertionError("no node has this key")

    return Old(f"{redis_cluster.url}?", ask)


@pytest.fixture
def sentinel(redis_sentinel: ValkeySentinel) -> Old:
    def ask(*command: Any) -> Any:
        with redis.Redis(port=redis_sentinel.master_port()) as client:
            return client.execute_command(*command)

    return Old(f"{redis_sentinel.url}?", ask)


@pytest.fixture
def old(kind: str, request: pytest.FixtureRequest) -> Old:
    found: Old = request.getfixturevalue(kind)
    return found


def server_express(folder: Path, url: str) -> Express:
    """The takeover of a server with these settings."""
    file = folder / "express-secret"
    file.write_text(EXPRESS_SECRET)
    options = {"takeover": f"express+{url}", "takeover_secret_file": str(file), "takeover_user_key": "user"}
    express = express_of(ServerOptions(**options))  # type: ignore[arg-type]
    assert express is not None
    return express


class Home(SessionMixin, RequestHandler):
    def get(self) -> None:
        self.write({"user": self.session.user})


@pytest.fixture
def app(old: Old, tmp_path: Path, io_loop: Any) -> Iterator[Application]:
    express = server_express(tmp_path, f"{old.url}&prefix={quote(PREFIX)}")
    sessions = Sessions("memory://", secret=SECRET, takeover=express)
    yield Application([("/home", Home)], sessions=sessions)
    io_loop.run_sync(sessions.close)


KINDS = [
    "tls",
    "cluster",
    "sentinel",
    *(pytest.param(each, marks=only_long) for each in ("tls_cluster", "tls_sentinel")),
]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.gen_test(timeout=60)
async def test_a_session_moves_from_every_kind_of_server(
    old: Old, http_client: AsyncHTTPClient, base_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    session = {"cookie": {"originalMaxAge": None, "expires": None}, "user": "ada"}
    old.ask("SET", f"{PREFIX}{ID}", json.dumps(session), "EX", 3600)
    signature = base64.b64encode(hmac.digest(EXPRESS_SECRET.encode(), ID.encode(), "sha256")).decode().rstrip("=")
    browsers = [Browser(http_client, base_url) for _ in range(3)]
    for browser in browsers:
        browser.cookies = {"connect.sid": quote(f"s:{ID}.{signature}", safe="")}
    found = await asyncio.gather(*(browser.get("/home") for browser in browsers))
    assert [json.loads(answer.body)["user"] for answer in found] == ["ada"] * 3
    assert not old.ask("EXISTS", f"{PREFIX}{ID}")
    assert "pass word" not in caplog.text
    assert "pass%20word" not in caplog.text


@pytest.mark.gen_test(timeout=30)
async def test_a_store_that_cannot_be_read_is_named_at_the_start(
    redis: Valkey, folder: Path, tls: Old, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Wrong kinds of server, a certificate that nobody trusts, a wrong password, nobody at all: a line, and no stop."""
    other = write_certificates(tmp_path / "other", "127.0.0.1")
    port = tls.url.partition("?")[0].rpartition(":")[2]
    urls = [
        f"rediss://127.0.0.1:{redis.port}",
        f"redis+cluster://127.0.0.1:{redis.port}",
        f"redis+sentinel://127.0.0.1:{redis.port}/mymaster",
        f"rediss://:pass%20word@127.0.0.1:{port}?{options_of(other)}",
        f"rediss://:not%20it@127.0.0.1:{port}?{options_of(folder)}",
        "redis://127.0.0.1:1",
    ]
    express = [server_express(tmp_path, f"{url}{'&' if '?' in url else '?'}connect_timeout=0.5") for url in urls]
    with caplog.at_level(logging.WARNING):
        await asyncio.gather(*(check_express(each, 0.0) for each in express))
    for each in express:
        await each.close()
    said = [record.message for record in caplog.records if record.name == "tornado_sessions"]
    assert len(said) == len(urls), said
    assert all(line.startswith("users of Express get 503 until its store can be read: redis: ") for line in said)
    assert "pass word" not in str(said)
    assert "not it" not in str(said)


@pytest.mark.parametrize(
    ("url", "fault"),
    [
        ("rediss://h?ssl_ca_certs=none.pem", "cannot read none.pem"),
        ("redis://h?ssl_ca_certs=none.pem", "rediss instead of redis"),
        ("redis+sentinel://h", "name the service"),
        ("redis+cluster://h?colour=1", "colour"),
        ("redis://h?prefix=a&timeout=x", "timeout"),
        ("mongodb://h/db?tlsCAFile=none.pem", "tlscafile"),
    ],
)
def test_a_setting_that_cannot_work_is_refused_at_the_start(url: str, fault: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=fault):
        server_express(tmp_path, url)
