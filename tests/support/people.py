"""Browsers without a screen, and what people and operators do with them."""

from __future__ import annotations

import re
import time
from typing import Any
from urllib.parse import urlencode

from tornado.httpclient import AsyncHTTPClient, HTTPRequest, HTTPResponse

from tornado_sessions.request import RequestInfo
from tornado_sessions.server.parts import Parts
from tornado_sessions.server.roles import Role

PASSWORD = "correct horse battery staple"


class Clock:
    """The real time, and what a test adds to it."""

    ahead = 0.0

    def __call__(self) -> float:
        return time.time() + self.ahead


class Browser:
    """Cookies, forms and a language."""

    def __init__(self, client: AsyncHTTPClient, base: str) -> None:
        self.client, self.base = client, base
        self.cookies: dict[str, str] = {}
        self.headers: dict[str, str] = {
            "User-Agent": "Mozilla/5.0 (X11; Linux x86_64; rv:120.0) Gecko/20100101 Firefox/120.0"
        }

    async def send(self, method: str, path: str, body: str | None = None, **headers: str) -> HTTPResponse:
        cookie = "; ".join(f"{name}={value}" for name, value in self.cookies.items())
        sent = {**self.headers, **{name.replace("_", "-"): value for name, value in headers.items()}}
        if cookie:
            sent["Cookie"] = cookie
        request = HTTPRequest(
            self.base + path,
            method=method,
            body=body,
            headers=sent,
            follow_redirects=False,
            allow_nonstandard_methods=True,
        )
        response = await self.client.fetch(request, raise_error=False)
        for line in response.headers.get_list("Set-Cookie"):
            name, _, rest = line.partition("=")
            value = rest.partition(";")[0].strip('"')
            self.cookies.pop(name, None)
            if value:
                self.cookies[name] = value
        return response

    async def get(self, path: str, **headers: str) -> HTTPResponse:
        return await self.send("GET", path, **headers)

    async def token(self, path: str = "/home") -> str:
        page = (await self.get(path)).body.decode()
        found = re.search(r'name="xsrf-token" content="([^"]+)"', page)
        assert found
        return found[1]

    async def post(self, path: str, fields: dict[str, Any], page: str = "/home") -> HTTPResponse:
        body = urlencode({"_xsrf": await self.token(page), **fields}, doseq=True)
        return await self.send("POST", path, body, Content_Type="application/x-www-form-urlencoded")

    async def register(self, name: str = "ada", password: str = PASSWORD) -> HTTPResponse:
        return await self.post("/reg", {"username": name, "email": f"{name}@example.org", "password": password})

    async def log_in(self, name: str = "ada", password: str = PASSWORD, **more: str) -> HTTPResponse:
        return await self.post("/login", {"username": name, "password": password, **more})


async def make_operator(parts: Parts, operator: Browser, role: Role = Role.OPERATOR) -> None:
    await parts.accounts.register("root", "root@example.org", PASSWORD, role=role)
    assert (await operator.log_in("root")).code == 303


async def fill_store(parts: Parts, count: int, ip: str, user: str | None = None) -> None:
    """Sessions of visitors who stored something, or of a user, from one address."""
    for number in range(count):
        request = parts.sessions.new_request_session(RequestInfo(parts.sessions.clock(), ip))
        request.session["n"] = number
        if user is not None:
            await parts.sessions.log_in(request, user)
        await parts.sessions.commit(request)
