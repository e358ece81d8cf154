"""Every route, read from the router: methods, ``Allow``, HEAD and security headers, in success and in each kind of error."""

from __future__ import annotations

from collections.abc import Mapping

import pytest
from support.amount import in_turn
from support.browser import Browser
from support.passwords import PASSWORD
from support.people import make_operator
from support.raw_connection import connected
from support.routes import path_of, routes_of
from support.tried import Tried
from tornado.web import Application

from tornado_sessions.server.parts import Parts
from tornado_sessions.server.roles import Role
from tornado_sessions.server.settings import ServerOptions
from tornado_sessions.server.web.application import make_application

WANTED = {
    "Content-Security-Policy": "frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Permissions-Policy": "camera=()",
}
#: A stream: its GET lasts until the client leaves.
STREAM = "/admin/live"
#: Each GET of it changes what the next shows.
ENDS = "/logout"


@pytest.fixture
def url() -> str:
    """What is tested here knows no store."""
    return "memory://"


def faults_of(headers: Mapping[str, str]) -> list[str]:
    """What is missing or too much in the headers of a response."""
    found = [name for name, part in WANTED.items() if part not in headers.get(name, "")]
    found += [name for name, value in headers.items() if "tornado" in value.lower() and value != "tornado_sessions"]
    return found + (["Strict-Transport-Security"] if "Strict-Transport-Security" in headers else [])


@pytest.mark.parametrize("who", ["visitor", "admin"])
@pytest.mark.gen_test(timeout=60)
async def test_every_method_of_every_route_has_all_security_headers(
    browser: Browser, operator: Browser, parts: Parts, app: Application, who: str, tried: Tried
) -> None:
    await make_operator(parts, operator, Role.ADMIN)
    person, count = operator if who == "admin" else browser, 0
    handle = (await parts.sessions.find(user="root")).items[0].handle
    patterns = [*routes_of(app), "/nowhere", "/admin/api/nowhere", "/static/nowhere.css"]
    for number, pattern in enumerate(patterns):
        path = path_of(pattern, handle)
        unusual = in_turn(("PUT", "PATCH", "DELETE", "TRACE", "FOO"), number, 2)
        for method in ("GET", "HEAD", "OPTIONS", "POST", *unusual):
            if (method, path) == ("GET", STREAM):
                continue
            answer = await person.send(method, path, "" if method in ("POST", "PUT", "PATCH") else None)
            count += 1
            assert faults_of(answer.headers) == [], (method, path)
            assert answer.code < 500, (method, path)
            assert answer.code != 405 or answer.headers["Allow"], (method, path)
    tried("every method on every route: errors of the server", times=count, lost=0)
    assert (await operator.get("/account")).code == 200


@pytest.mark.gen_test(timeout=60)
async def test_every_get_answers_head_with_the_same_headers_and_no_body(
    operator: Browser, parts: Parts, app: Application
) -> None:
    await make_operator(parts, operator, Role.ADMIN)
    await operator.get("/account")  # Shows the notice of the sign-in, which no later page has.
    handle = (await parts.sessions.find(user="root")).items[0].handle
    for pattern in routes_of(app):
        path = path_of(pattern, handle)
        if path in (STREAM, ENDS):
            continue
        page, head = await operator.get(path), await operator.send("HEAD", path)
        assert (head.code, head.body) == (page.code, b""), path
        changing = {"Date", "Content-Length", "Etag", "Set-Cookie", "Transfer-Encoding", "X-Request-Id"}
        changing |= {"Content-Encoding", "X-Consumed-Content-Encoding"}  # there is nothing to compress
        assert {k: v for k, v in head.headers.get_all() if k not in changing} == {
            k: v for k, v in page.headers.get_all() if k not in changing
        }, path
        if page.code == 200 and "Content-Length" in page.headers:
            # Times and pictures on a page differ from one request to the next.
            assert 0.9 < int(head.headers["Content-Length"]) / int(page.headers["Content-Length"]) < 1.1, path


@pytest.mark.gen_test
async def test_head_changes_nothing(operator: Browser, parts: Parts) -> None:
    await make_operator(parts, operator, Role.ADMIN)
    before = [entry.id for entry in await parts.audit.entries()]
    for path in ("/account", "/admin/", "/logout", "/admin/audit.csv", "/admin/live"):
        await operator.send("HEAD", path, Sec_Fetch_Site="same-origin")
    assert "You&#x27;re signed in" in (await operator.get("/account")).body.decode()
    assert [entry.id for entry in await parts.audit.entries()] == before


@pytest.mark.gen_test
async def test_options_names_the_methods_to_everybody(browser: Browser, app: Application) -> None:
    for pattern in routes_of(app):
        if pattern.startswith("/setup"):
            continue
        answer = await browser.send("OPTIONS", path_of(pattern))
        assert answer.code == 204, pattern
        allowed = set(answer.headers["Allow"].split(", "))
        assert "OPTIONS" in allowed
        assert ("GET" in allowed) == ("HEAD" in allowed)
        assert not allowed & {"TRACE", "CONNECT"}
    assert (await browser.send("OPTIONS", "/login")).headers["Allow"] == "GET, HEAD, POST, OPTIONS"
    assert (await browser.send("OPTIONS", "/nowhere")).code == 404


@pytest.mark.parametrize("method", ["TRACE", "CONNECT", "FOO", "get"])
@pytest.mark.parametrize("path", ["/login", "/healthz", "/static/style.css", "/admin/api/sessions"])
@pytest.mark.gen_test
async def test_unknown_methods_are_refused_and_told_what_is_allowed(browser: Browser, method: str, path: str) -> None:
    port = int(browser.base.rpartition(":")[2])
    async with connected(("127.0.0.1", port)) as raw:
        raw.send(method, path, {"X-Canary": "echo"})
        answer = await raw.response()
    assert answer.startswith(b"HTTP/1.1 405 ")
    assert b"\r\nAllow: GET, HEAD" in answer
    assert b"echo" not in answer


@pytest.mark.parametrize(("method", "target"), [("CONNECT", "127.0.0.1:80"), ("TRACE", "*"), ("CONNECT", "/nowhere")])
@pytest.mark.gen_test
async def test_no_tunnel_and_no_echo_is_opened(browser: Browser, method: str, target: str) -> None:
    async with connected(("127.0.0.1", int(browser.base.rpartition(":")[2]))) as raw:
        raw.send(method, target, {"X-Canary": "echo"})
        answer = await raw.response()
    assert answer.startswith(b"HTTP/1.1 405 ")
    assert b"echo" not in answer


@pytest.mark.parametrize("path", ["/login", "/healthz", "/static/style.css", "/home", "/language/zh"])
@pytest.mark.gen_test
async def test_a_method_that_a_route_does_not_have_is_405_without_a_token(browser: Browser, path: str) -> None:
    for method in ("PUT", "PATCH", "DELETE"):
        answer = await browser.send(method, path, None if method == "DELETE" else "")
        assert (answer.code, method in answer.headers["Allow"]) == (405, False)


@pytest.mark.parametrize("request_line", [b"GET /%zz\x01 HTTP/1.1", b"nonsense", b"GET / HTTP/9.9"])
@pytest.mark.gen_test
async def test_the_answer_to_a_malformed_request_is_bare(browser: Browser, request_line: bytes) -> None:
    async with connected(("127.0.0.1", int(browser.base.rpartition(":")[2]))) as raw:
        raw.writer.write(request_line + b"\r\n\r\n")
        assert b"ornado" not in await raw.rest()


@pytest.mark.gen_test
async def test_a_redirect_and_an_unmodified_file_have_them_too(browser: Browser) -> None:
    style = await browser.get("/static/style.css")
    again = await browser.get("/static/style.css", If_None_Match=style.headers["Etag"])
    for answer, code in ((again, 304), (await browser.get("/"), 302), (await browser.get("/account"), 302)):
        assert (answer.code, faults_of(answer.headers)) == (code, [])


@pytest.mark.gen_test
async def test_signing_out_clears_what_the_browser_keeps_of_the_pages(browser: Browser, other: Browser) -> None:
    await browser.register()
    await browser.log_in()
    out = await browser.post("/logout", {})
    assert out.headers["Clear-Site-Data"] == '"cache", "storage"'
    assert "Clear-Site-Data" not in (await other.post("/logout", {})).headers, "somebody without a session"
    await browser.log_in()
    assert "Clear-Site-Data" in (await browser.post("/account/remove", {"remove_password": PASSWORD})).headers


class TestBehindTls:
    @pytest.fixture
    def app(self, parts: Parts) -> Application:
        options = ServerOptions(
            store="memory://", secret=["a secret of the tests, long enough"], trusted_proxies=["127.0.0.1"]
        )
        return make_application(Parts(options))

    @pytest.mark.parametrize("path", ["/home", "/nowhere", "/static/style.css", "/healthz", "/", "/admin/api/sessions"])
    @pytest.mark.gen_test
    async def test_https_stays_https(self, browser: Browser, path: str) -> None:
        secure = {"X_Forwarded_For": "192.0.2.1", "X_Forwarded_Proto": "https"}
        assert (await browser.get(path, **secure)).headers["Strict-Transport-Security"] == "max-age=31536000"
        assert "Strict-Transport-Security" not in (await browser.get(path)).headers
