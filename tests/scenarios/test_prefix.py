"""The whole server below a path, behind the shipped nginx, which keeps or removes that path, and without nginx."""

from __future__ import annotations

import re
from collections.abc import Iterator
from html import unescape
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from urllib.parse import urljoin, urlsplit

import pytest
from argon2.profiles import CHEAPEST
from support.browser import Browser
from support.nginx_process import Nginx
from support.passwords import PASSWORD
from support.people import fill_store, make_operator
from tornado.httpclient import AsyncHTTPClient, HTTPResponse
from tornado.httpserver import HTTPServer
from tornado.netutil import bind_sockets

from tornado_sessions.server.accounts.passwords import Passwords
from tornado_sessions.server.parts import Parts
from tornado_sessions.server.roles import Role
from tornado_sessions.server.settings import ServerOptions
from tornado_sessions.server.web.application import make_application

#: How a request reaches the server, and the prefix of the server.
WAYS = {
    "direct, no prefix": ("", ""),
    "direct": ("/ops", ""),
    "nginx, no prefix": ("", "keeps"),
    "nginx keeps": ("/ops", "keeps"),
    "nginx removes": ("/ops/deep", "removes"),
}
LINKS = ("href", "src", "action", "formaction", "data-live")


class Links(HTMLParser):
    """The URLs of a page, by kind."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.found: list[tuple[str, str]] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found += [(name, unescape(value or "")) for name, value in attrs if name in LINKS]


@pytest.fixture(params=list(WAYS.values()), ids=list(WAYS))
def prefix(request: pytest.FixtureRequest) -> str:
    return str(request.param[0])


@pytest.fixture
def parts(prefix: str, io_loop: Any) -> Iterator[Parts]:
    options = ServerOptions(store="memory://", secret=["a secret of the tests, long enough"], prefix=prefix)
    made = Parts(options, passwords=Passwords(CHEAPEST))
    io_loop.run_sync(made.open)
    yield made
    io_loop.run_sync(made.close)


@pytest.fixture
def base(request: pytest.FixtureRequest, prefix: str, parts: Parts, tmp_path: Path, io_loop: Any) -> Iterator[str]:
    """The address at which people reach the server, with the prefix."""
    server, [listening] = HTTPServer(make_application(parts)), bind_sockets(0, "127.0.0.1")
    server.add_sockets([listening])
    address, how = f"127.0.0.1:{listening.getsockname()[1]}", request.node.callspec.params["prefix"][1]
    nginx = Nginx(tmp_path, address, location=prefix + "/", removes=how == "removes") if how else None
    yield (nginx.http if nginx is not None else f"http://{address}") + prefix
    if nginx is not None:
        nginx.stop()
    server.stop()
    io_loop.run_sync(server.close_all_connections)


def leaving(answer: HTTPResponse, prefix: str) -> list[str]:
    """The URLs and cookie paths of a response that lead out of the prefix."""
    headers, page = answer.headers, answer.body.decode() if "html" in answer.headers.get("Content-Type", "") else ""
    urls = [url for _, url in Links(page).found] + [headers[name] for name in ("Location",) if name in headers]
    urls += re.findall(r"url=(.*)", headers.get("Refresh", ""))
    # Only URLs that start with a slash leave the page's own folder; an absolute one names a host.
    found = [url for url in urls if url[:1] not in ("", "?", "#") and not url.startswith(prefix + "/")]
    found += [url for url in urls if urlsplit(url).netloc]
    # This one leads to the authenticator app of a phone.
    found = [url for url in found if not url.startswith("otpauth:")]
    paths = [re.findall(r"path=([^;]*)", line, re.IGNORECASE) for line in headers.get_list("Set-Cookie")]
    return found + [f"cookie {path}" for path in paths if path != [prefix or "/"]]


async def crawl(person: Browser, prefix: str, *more: str) -> set[str]:
    """Follow every link from the start page, and check each response on the way. Return the paths that were seen."""
    todo, seen = ["/", *more], set[str]()
    while todo:
        path = todo.pop()
        if path.partition("?")[0] in seen or path.startswith(("/language/", "/admin/live")):
            continue
        seen.add(path.partition("?")[0])
        answer = await person.get(path)
        assert leaving(answer, prefix) == [], path
        assert answer.code in (200, 302, 303, 401, 403, 404), path
        links = Links(answer.body.decode()).found if "html" in answer.headers.get("Content-Type", "") else []
        urls = [url for name, url in links if name in ("href", "src")] + [answer.headers.get("Location", path)]
        todo += [
            urljoin(prefix + path, url).removeprefix(prefix) for url in urls if not url.startswith(("#", "otpauth:"))
        ]
    return seen


@pytest.mark.gen_test(timeout=60)
async def test_no_link_form_redirect_or_cookie_leaves_the_prefix(base: str, prefix: str, parts: Parts) -> None:
    browser, client = Browser(AsyncHTTPClient(), base), AsyncHTTPClient()
    seen = await crawl(browser, prefix, "/nowhere", "/admin/api/sessions", "/admin/api/nowhere")
    assert {"/login", "/reg", "/home", "/static/style.css"} <= seen
    assert leaving(await browser.register(), prefix) == []
    assert leaving(await browser.log_in(password="wrong"), prefix) == []
    answer = await browser.log_in()
    assert (answer.headers["Location"], leaving(answer, prefix)) == (prefix + "/account", [])
    assert "/account/two-steps" in await crawl(browser, prefix, "/admin/")
    assert leaving(await browser.get("/language/en_US", Referer=f"{base}/account"), prefix) == []
    assert leaving(await browser.post("/logout", {}), prefix) == []

    operator = Browser(client, base)
    await fill_store(parts, 3, "192.0.2.7", user="ada")
    await make_operator(parts, operator, Role.ADMIN)
    await operator.post("/admin/end", {"user": "ada"})
    for fields in ({"user": "ada"}, {}, {"user": "ada", "confirm": "1", "expected": "3", "reason": "leak"}):
        assert leaving(await operator.post("/admin/end", fields), prefix) == []
    seen = await crawl(operator, prefix, "/admin/?state=ended", "/admin/user?name=ada", "/logout")
    assert {f"/admin/{page}" for page in ("", "overview", "audit", "jobs", "operators", "settings", "user")} <= seen
    assert "/static/list.js" in seen
    described = (await operator.get("/admin/api/openapi.json")).body.decode()
    assert f'"servers":[{{"url":"{prefix or "/"}"}}]' in described


@pytest.mark.gen_test
async def test_a_sign_in_goes_on_to_the_page_that_was_asked_for(base: str, prefix: str) -> None:
    browser = Browser(AsyncHTTPClient(), base)
    await browser.register()
    asked = (await browser.get("/account?a=b")).headers["Location"]
    assert asked.startswith(f"{prefix}/login?next=")
    page = (await browser.get(asked.removeprefix(prefix))).body.decode()
    [following] = re.findall(r'name="next" value="([^"]*)"', page)
    assert following == f"{prefix}/account?a=b"
    assert (await browser.log_in(next=following)).headers["Location"] == following
    outside = "/account" if prefix else "//evil.example"
    browser.cookies.clear()
    assert (await browser.log_in(next=outside)).headers["Location"] == f"{prefix}/account"


@pytest.mark.gen_test
async def test_the_setup_link_and_the_language_work_below_the_prefix(base: str, prefix: str, parts: Parts) -> None:
    browser = Browser(AsyncHTTPClient(), base)
    link = f"/setup/{await parts.setup.make()}"
    answer = await browser.post(link, {"username": "root", "email": "root@example.org", "password": PASSWORD})
    assert (answer.code, leaving(answer, prefix)) == (200, [])
    chosen = await browser.get("/language/zh", Referer=f"{base}/account")
    assert (chosen.headers["Location"], leaving(chosen, prefix)) == (f"{prefix}/account", [])
    assert 'lang="zh"' in (await browser.get("/account")).body.decode()
