"""A block ends the user's sessions and open connections, wherever it is given, and lasts against new sign-ins."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable

import pytest
from support.browser import Browser
from support.clock import Clock
from support.people import make_operator
from support.second_step import make_two_step_user, sign_in_with_code
from tornado.httpclient import HTTPRequest
from tornado.web import Application
from tornado.websocket import WebSocketHandler, websocket_connect

from tornado_sessions.mixin import SessionMixin
from tornado_sessions.server import commands
from tornado_sessions.server.cli import make_parser
from tornado_sessions.server.parts import Parts

Block = Callable[[Browser, Parts, bool], Awaitable[None]]


async def by_page(operator: Browser, parts: Parts, keep: bool) -> None:
    fields = {"user": "ada", "seconds": "3600", **({"keep_sessions": "1"} if keep else {})}
    assert (await operator.post("/admin/block", fields)).code == 303


async def by_end_page(operator: Browser, parts: Parts, keep: bool) -> None:
    fields = {"user": "ada", "confirm": "1", "why": "x", "expected": "2", "block": "1", "block_for": "3600"}
    assert (await operator.post("/admin/end", fields)).code == 303


async def by_api(operator: Browser, parts: Parts, keep: bool) -> None:
    body = json.dumps({"seconds": 3600, **({"keep_sessions": True} if keep else {})})
    headers = {"X_XSRFToken": await operator.token(), "Content_Type": "application/json"}
    assert (await operator.send("POST", "/admin/api/users/ada/block", body, **headers)).code == 204


async def by_command(operator: Browser, parts: Parts, keep: bool) -> None:
    words = ["block", "ada", "--hours", "1", *(["--keep-sessions"] if keep else [])]
    assert await commands.run(parts, make_parser().parse_args(words)) == 0


WAYS: dict[str, Block] = {"page": by_page, "end page": by_end_page, "API": by_api, "command": by_command}


class Socket(SessionMixin, WebSocketHandler):
    def check_origin(self, origin: str) -> bool:
        return True

    def on_message(self, message: str | bytes) -> None:
        """Nothing is sent."""


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.gen_test(timeout=30)
async def test_a_block_ends_sessions_and_sockets_and_lasts(
    browser: Browser, other: Browser, operator: Browser, parts: Parts, app: Application, clock: Clock, way: str
) -> None:
    app.add_handlers(".*", [("/socket", Socket)])
    phone = await make_two_step_user(parts, clock)
    await make_operator(parts, operator)
    for one in (browser, other):
        assert (await sign_in_with_code(one, phone.code())).code == 303
    cookies = "; ".join(f"{name}={value}" for name, value in browser.cookies.items())
    url = browser.base.replace("http", "ws", 1) + "/socket"
    socket = await websocket_connect(HTTPRequest(url, headers={"Cookie": cookies}))
    await WAYS[way](operator, parts, False)
    assert await socket.read_message() is None, "the connection is closed"
    socket.close()
    for one in (browser, other):
        assert (await one.get("/account")).code == 302
    assert (await operator.get("/admin/")).code == 200
    assert (await other.log_in()).code == 403
    clock.ahead += 3601
    assert (await sign_in_with_code(other, phone.code())).code == 303


@pytest.mark.parametrize("way", ["page", "API", "command"])
@pytest.mark.gen_test(timeout=30)
async def test_sessions_are_kept_if_the_operator_says_so(
    browser: Browser, operator: Browser, parts: Parts, way: str
) -> None:
    await browser.register()
    await browser.log_in()
    await make_operator(parts, operator)
    await WAYS[way](operator, parts, True)
    assert (await browser.get("/account")).code == 200
    assert (await Browser(browser.client, browser.base).log_in()).code == 403


@pytest.mark.gen_test(timeout=30)
async def test_a_block_between_the_two_steps_refuses_the_second(browser: Browser, parts: Parts, clock: Clock) -> None:
    phone = await make_two_step_user(parts, clock)
    page = (await browser.log_in()).body.decode()
    fields = {name: page.split(f'name="{name}" value="')[1].split('"')[0] for name in ("name", "ticket")}
    await by_command(browser, parts, False)
    assert (await browser.post("/login/code", {**fields, "code": phone.code()})).code == 403
    assert (await browser.get("/account")).code == 302


@pytest.mark.gen_test
async def test_nobody_blocks_themselves(operator: Browser, parts: Parts) -> None:
    await make_operator(parts, operator)
    await operator.post("/admin/block", {"user": "root", "seconds": "60"})
    assert (await operator.get("/admin/")).code == 200
    assert (await operator.log_in("root")).code == 303
