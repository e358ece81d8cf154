"""Which names a request may give this server, and that nothing repeats the name it gave."""

from __future__ import annotations

from typing import Any

import pytest
from support.browser import Browser
from support.passwords import SECRET
from support.raw_connection import connected
from support.routes import path_of, routes_of
from tornado.web import Application

from tornado_sessions.errors import ConfigError
from tornado_sessions.server.parts import Parts
from tornado_sessions.server.settings import ServerOptions, load

NAMES = {"public_url": "https://sessions.example.org", "allowed_hosts": "other.example.org,[2001:db8::1],192.0.2.1"}
GOOD = [
    "sessions.example.org", "SESSIONS.example.org", "sessions.example.org:443", "sessions.example.org:8443",
    "sessions.example.org.", "other.example.org", "192.0.2.1", "[2001:db8::1]:3000", "127.0.0.1:3000", "127.9.9.9", "localhost",
    "localhost:3000", "[::1]",
]  # fmt: skip
BAD = [
    "evil.example", "sessions.example.org.evil.example", "xsessions.example.org", "example.org", "x.sessions.example.org",
    "192.0.2.2", "[2001:db8::2]", "10.0.0.1:3000", "localhost.evil.example", "127.0.0.1.evil.example", "2130706433", "0x7f.1",
    "0.0.0.0", "[::]",
]  # fmt: skip
BROKEN = [
    "",
    "a b",
    "sessions.example.org@evil.example",
    "evil.example/sessions.example.org",
    "sessions.example.org, evil.example",
]


@pytest.fixture
def url() -> str:
    """What is tested here knows no store."""
    return "memory://"


@pytest.fixture
def parts() -> Parts:
    return Parts(ServerOptions(store="memory://", secret=[SECRET], **_given(NAMES)))


def _given(names: dict[str, str]) -> dict[str, Any]:
    return dict(names)


async def status(browser: Browser, path: str, host: str, method: str = "GET") -> tuple[int, bytes]:
    async with connected(("127.0.0.1", int(browser.base.rpartition(":")[2]))) as raw:
        raw.send(method, path, {"Host": host, "Connection": "close"})
        answer = await raw.rest()
    return int(answer.split()[1]), answer


@pytest.mark.parametrize("host", GOOD)
@pytest.mark.gen_test
async def test_our_names_and_our_addresses_are_answered(browser: Browser, host: str) -> None:
    assert (await status(browser, "/login", host))[0] == 200


@pytest.mark.parametrize("host", BAD)
@pytest.mark.gen_test
async def test_any_other_name_gets_a_bare_answer(browser: Browser, host: str) -> None:
    for path in ("/login", "/", "/nowhere", "/metrics", "/admin/api/sessions", "/static/style.css"):
        code, answer = await status(browser, path, host)
        assert code == 421, path
        assert answer.endswith(b"\r\n\r\nMisdirected Request\n")
        assert host.encode() not in answer.split(b"\r\n\r\n")[0]
        assert b"Set-Cookie" not in answer


@pytest.mark.parametrize("host", BROKEN)
@pytest.mark.gen_test
async def test_what_is_no_name_is_a_bad_request(browser: Browser, host: str) -> None:
    assert (await status(browser, "/login", host))[0] in (400, 421)


@pytest.mark.parametrize("host", [*GOOD, *BAD])
@pytest.mark.gen_test
async def test_a_load_balancer_may_ask_by_any_address(browser: Browser, host: str) -> None:
    assert [(await status(browser, path, host))[0] for path in ("/healthz", "/readyz")] == [200, 200]


@pytest.mark.gen_test
async def test_nothing_repeats_the_name_that_a_request_gave(browser: Browser, app: Application) -> None:
    for pattern in [*routes_of(app), "/nowhere"]:
        path = path_of(pattern)
        for method in ("GET", "POST", "TRACE"):
            _, answer = await status(browser, path, "other.example.org:54321", method)
            assert b"example" not in answer, (method, path)


@pytest.mark.gen_test
async def test_a_form_posted_to_the_public_name_is_our_own(browser: Browser) -> None:
    """Also where a proxy replaces the name that the browser has sent."""
    for origin, code in (("https://sessions.example.org", 401), ("https://evil.example", 403), ("null", 403)):
        token = await browser.token("/login")
        body = f"_xsrf={token}&username=ada&password=x"
        kind = "application/x-www-form-urlencoded"
        assert (await browser.send("POST", "/login", body, Content_Type=kind, Origin=origin)).code == code


class TestWithoutNames:
    @pytest.fixture
    def parts(self) -> Parts:
        return Parts(ServerOptions(store="memory://", secret=[SECRET]))

    @pytest.mark.gen_test
    async def test_every_name_is_answered(self, browser: Browser) -> None:
        assert [(await status(browser, "/login", host))[0] for host in [*GOOD, *BAD]] == [200] * len([*GOOD, *BAD])


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("allowed_hosts", "https://example.org"),
        ("allowed_hosts", "example.org:80"),
        ("allowed_hosts", "example.org/path"),
        ("allowed_hosts", "*"),
        ("prefix", "sessions"),
        ("prefix", "//sessions"),
        ("prefix", "/a/../b"),
        ("prefix", "/a b"),
        ("prefix", "/a?b"),
        ("prefix", "/ä"),
        ("cookie_name", "a b"),
    ],
)
def test_a_wrong_setting_is_named(name: str, value: str) -> None:
    with pytest.raises(ConfigError, match=name):
        Parts(load({name: value, "store": "memory://", "secret": [SECRET]}))


def test_the_prefix_and_the_path_of_the_public_address_agree() -> None:
    both = {"prefix": "/ops/", "public_url": "https://example.org/ops/"}
    assert load(both).base_url("http://127.0.0.1:3000") == "https://example.org/ops"
    assert load({"public_url": "https://example.org/ops"}).base_path == "/ops"
    assert load({"prefix": "/ops"}).base_url("http://127.0.0.1:3000") == "http://127.0.0.1:3000/ops"
    assert load({"prefix": "/ops", "public_url": "https://example.org"}).base_url("") == "https://example.org/ops"
    for path in ("/other", "/a b", "/a/../b"):
        with pytest.raises(ConfigError):
            load({"prefix": "/ops", "public_url": f"https://example.org{path}"})
