"""The token of a form: signed, bound to a session or to a visitor's cookie, and never the same twice."""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import urlencode

import pytest
from argon2.profiles import CHEAPEST
from support.browser import Browser
from support.passwords import PASSWORD
from tornado.httpclient import AsyncHTTPClient
from tornado.httpserver import HTTPServer
from tornado.netutil import bind_sockets

from tornado_sessions.server.accounts.passwords import Passwords
from tornado_sessions.server.parts import Parts
from tornado_sessions.server.settings import ServerOptions
from tornado_sessions.server.web.application import make_application
from tornado_sessions.server.web.form_tokens import FormTokens

FORM = {"Content_Type": "application/x-www-form-urlencoded"}
KEY = "a secret of the tests, long enough"
#: Behind a proxy that says https.
SECURE = {"X_Forwarded_For": "192.0.2.1", "X_Forwarded_Proto": "https"}


@pytest.fixture
def url() -> str:
    """What is tested here knows no store."""
    return "memory://"


def body(token: str, **fields: str) -> str:
    return urlencode({"_xsrf": token, "username": "ada", "password": PASSWORD, **fields})


@pytest.mark.gen_test
async def test_a_cookie_that_another_host_has_planted_signs_nobody_in(browser: Browser, other: Browser) -> None:
    await browser.register()
    await other.get("/login")
    genuine = other.cookies["_xsrf"]
    made_up = [
        "abc",
        "0" * 32,
        "2|00000000|00000000000000000000000000000000|1700000000",
        genuine[:-1],
        f"{genuine}0",
        genuine.upper(),
    ]
    made_up += [genuine.partition(".")[0], f"x{genuine}", ".", "", "名"]
    for planted in made_up:
        for token in (planted, await other.token("/login")):
            answer = await browser.send(
                "POST", "/login", body(token), Cookie=f"_xsrf={planted}".encode().decode("latin1"), **FORM
            )
            assert answer.code == 403, planted


@pytest.mark.gen_test
async def test_of_two_genuine_cookies_none_is_believed(browser: Browser, other: Browser) -> None:
    await browser.register()
    token = await other.token("/login")
    mine, planted = browser.cookies["_xsrf"], other.cookies["_xsrf"]
    for line in (f"_xsrf={planted}; _xsrf={mine}", f"_xsrf={mine}; _xsrf={planted}"):
        assert (await browser.send("POST", "/login", body(token), Cookie=line, **FORM)).code == 403
    assert (
        await browser.send("POST", "/login", body(token), Cookie=f"_xsrf={planted}; _xsrf=junk", **FORM)
    ).code == 303


@pytest.mark.gen_test
async def test_the_same_token_is_never_sent_twice_and_each_is_good(browser: Browser) -> None:
    await browser.register()
    for path in ("/login", "/account"):
        tokens = [await browser.token(path) for _ in range(3)]
        assert len(set(tokens)) == 3
        page = (await browser.get(path)).body.decode()
        assert (
            len(set(re.findall(r'name="_xsrf" value="([^"]+)"', page) + re.findall(r'token" content="([^"]+)"', page)))
            == 1
        )
        if path == "/login":
            await browser.log_in()
        assert {(await browser.send("POST", "/account/end", body(token), **FORM)).code for token in tokens} == (
            {403} if path == "/login" else {303}
        )


@pytest.mark.gen_test
async def test_a_token_counts_in_the_body_and_in_the_header_only(browser: Browser) -> None:
    await browser.register()
    for signed_in in (False, True):
        if signed_in:
            await browser.log_in()
        token = await browser.token()
        path, good = ("/account/end", 303) if signed_in else ("/login", 401)
        wrong = {"username": "ada", "password": "wrong"}
        assert (await browser.send("POST", f"{path}?_xsrf={token}", urlencode(wrong), **FORM)).code == 403
        assert (await browser.send("POST", path, urlencode(wrong), X_CSRFToken=token, **FORM)).code == 403
        assert (await browser.send("POST", path, urlencode(wrong), X_XSRFToken=token, **FORM)).code == good


@pytest.mark.gen_test
async def test_a_token_is_bound_to_its_session_and_ends_at_sign_in_and_sign_out(
    browser: Browser, other: Browser
) -> None:
    await browser.register()
    before = await browser.token()
    await browser.log_in()
    await other.log_in()
    during = await browser.token()
    for token in (before, await other.token(), during[:-1], during + "0", "", "é"):
        assert (await browser.send("POST", "/account/end", body(token), **FORM)).code == 403
    await browser.post("/logout", {})
    assert (await browser.send("POST", "/login", body(during), **FORM)).code == 403


def test_a_token_survives_a_new_key_and_ends_with_its_own() -> None:
    old, both, new = FormTokens(["old"]), FormTokens(["new", "old"]), FormTokens(["new"])
    token, visitor = old.make("handle", "ada"), old.new_visitor("_xsrf")
    assert both.accepts(token, "handle", "ada")
    assert both.is_visitor("_xsrf", visitor)
    assert not new.accepts(token, "handle", "ada")
    assert not new.is_visitor("_xsrf", visitor)
    assert not old.is_visitor("__Host-_xsrf", visitor)


class TestBehindTls:
    @pytest.fixture
    def parts(self, io_loop: object) -> Parts:
        return Parts(ServerOptions(store="memory://", secret=[KEY], trusted_proxies=["127.0.0.1"]))

    @pytest.mark.gen_test
    async def test_the_cookie_cannot_come_from_another_host_of_the_domain(self, browser: Browser) -> None:
        [line] = [
            part for part in (await browser.get("/login", **SECURE)).headers.get_list("Set-Cookie") if "xsrf" in part
        ]
        assert line.startswith("__Host-_xsrf=")
        assert {part.strip().lower() for part in line.split(";")[1:]} == {
            "path=/",
            "secure",
            "httponly",
            "samesite=lax",
        }
        value = browser.cookies["__Host-_xsrf"]
        page = (await browser.get("/login", **SECURE)).body.decode()
        token = page.split('token" content="')[1].split('"')[0]
        for cookie, code in (
            (f"__Host-_xsrf={value}", 401),
            (f"_xsrf={value}", 403),
            (f"\xa0__Host-_xsrf={value}", 403),
        ):
            answer = await browser.send("POST", "/login", body(token), Cookie=cookie, **FORM, **SECURE)
            assert answer.code == code, cookie

    @pytest.mark.gen_test
    async def test_every_cookie_is_bound_to_this_host_and_to_https(self, browser: Browser) -> None:
        browser.headers.update({name.replace("_", "-"): value for name, value in SECURE.items()})
        pages = [await browser.get("/login"), await browser.register(), await browser.log_in()]
        pages += [await browser.get("/language/zh"), await browser.get("/account"), await browser.post("/logout", {})]
        lines = [line for page in pages for line in page.headers.get_list("Set-Cookie")]
        assert {line.partition("=")[0].removeprefix("__Host-") for line in lines} == {"sid", "_xsrf", "lang", "devices"}
        for line in lines:
            attributes = {part.strip().lower().partition("=")[0] for part in line.split(";")[1:]}
            assert line.startswith("__Host-"), line
            assert attributes >= {"path", "secure", "httponly", "samesite"}, line
            assert "domain" not in attributes


class TestTwoServersOnOneHost:
    """Browsers send the cookies of one to the other, because they know no ports."""

    @pytest.mark.parametrize(
        ("first", "second"),
        [
            ({}, {"cookie_name": "other"}),
            ({"cookie_name": "one"}, {"cookie_name": "two"}),
            ({}, {"prefix": "/other"}),
            ({"prefix": "/a/b"}, {"prefix": "/a/c"}),
        ],
        ids=str,
    )
    def test_no_cookie_of_one_has_the_name_and_path_of_another(
        self, first: dict[str, Any], second: dict[str, Any]
    ) -> None:
        found = []
        for given in (first, second):
            parts = Parts(ServerOptions(store="memory://", secret=[KEY], **given))
            site = make_application(parts).settings["site"]
            for secure in (False, True):
                names = {site.cookie(kind, secure=secure) for kind in ("_xsrf", "lang", "devices")}
                assert len(names) == 3
                assert all(name.startswith("__Host-") == (secure and not site.prefix) for name in names)
                found.append({*names, (parts.sessions.cookies.name(secure=secure), site.prefix)})
        assert not (found[0] | found[1]) & (found[2] | found[3])

    @pytest.mark.gen_test
    async def test_who_is_signed_in_at_both_stays_signed_in_at_both(self, http_client: AsyncHTTPClient) -> None:
        people, servers = [], []
        jar: dict[str, str] = {}
        for name in (None, "other"):
            parts = Parts(
                ServerOptions(store="memory://", secret=[f"{KEY} {name}"], cookie_name=name),
                passwords=Passwords(CHEAPEST),
            )
            await parts.open()
            server, [listening] = HTTPServer(make_application(parts)), bind_sockets(0, "127.0.0.1")
            server.add_sockets([listening])
            servers.append((server, parts))
            people.append(Browser(http_client, f"http://127.0.0.1:{listening.getsockname()[1]}"))
            people[-1].cookies = jar
        for person in people:
            await person.register()
        for _ in range(2):
            for person in people:
                assert (await person.log_in()).code == 303
                await person.get("/language/zh")
        assert [(await person.get("/account")).code for person in people] == [200, 200]
        await people[0].post("/logout", {})
        assert [(await person.get("/account")).code for person in people] == [302, 200]
        for server, parts in servers:
            server.stop()
            await parts.close()
