"""A browser without a screen: cookies, headers and forms."""

from __future__ import annotations

import json
import re
from typing import Any
from urllib.parse import urlencode

from support.passwords import PASSWORD
from tornado.httpclient import AsyncHTTPClient, HTTPRequest, HTTPResponse

FIREFOX = "Mozilla/5.0 (X11; Linux x86_64; rv:120.0) Gecko/20100101 Firefox/120.0"


class Browser:
    """One person at one device.

    Args:
        client: sends the requests.
        base: address of the server, without a path.

    Attributes:
        cookies: by name.
        headers: sent with every request.
    """

    def __init__(self, client: AsyncHTTPClient, base: str) -> None:
        self.client, self.base = client, base
        self.cookies: dict[str, str] = {}
        self.headers: dict[str, str] = {"User-Agent": FIREFOX}
        self._token: tuple[dict[str, str], str] | None = None

    @property
    def cookie(self) -> str | None:
        """The session cookie, if there is one."""
        return self.cookies.get("sid")

    @cookie.setter
    def cookie(self, value: str | None) -> None:
        self.cookies.pop("sid", None)
        if value is not None:
            self.cookies["sid"] = value

    def copy(self) -> Browser:
        """Return a browser with the same cookies and headers, such as a second tab or a thief's."""
        twin = Browser(self.client, self.base)
        twin.cookies, twin.headers = dict(self.cookies), dict(self.headers)
        return twin

    async def send(self, method: str, path: str, body: str | None = None, **headers: str) -> HTTPResponse:
        """Send a request. Redirects are not followed.

        Args:
            method: of HTTP.
            path: with its query.
            body: of the request.
            headers: with `_` for `-`; they go before the browser's own.
        """
        sent = {**self.headers, **{name.replace("_", "-"): value for name, value in headers.items()}}
        if body and "/api/" in path:
            # Tornado's client would call every body a form.
            sent.setdefault("Content-Type", "application/json")
        if self.cookies:
            sent.setdefault("Cookie", "; ".join(f"{name}={value}" for name, value in self.cookies.items()))
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
        """Fetch a page."""
        return await self.send("GET", path, **headers)

    async def data(self) -> dict[str, Any]:
        """Return the values of the session, as the tests' handler of `/read` writes them."""
        return json.loads((await self.get("/read")).body)["data"]  # type: ignore[no-any-return]

    async def token(self, path: str = "/home") -> str:
        """Return the token that forms of a page carry."""
        page = (await self.get(path)).body.decode()
        found = re.search(r'name="xsrf-token" content="([^"]+)"', page)
        assert found
        return found[1]

    async def post(self, path: str, fields: dict[str, Any], page: str = "/home") -> HTTPResponse:
        """Send a form with the token of a page: with that of the last form, if no cookie has changed since."""
        if self._token is None or self._token[0] != self.cookies or page != "/home":
            token = await self.token(page)
            self._token = dict(self.cookies), token
        body = urlencode({"_xsrf": self._token[1], **fields}, doseq=True)
        return await self.send("POST", path, body, Content_Type="application/x-www-form-urlencoded")

    async def register(self, name: str = "ada", password: str = PASSWORD) -> HTTPResponse:
        """Register an account."""
        return await self.post("/reg", {"username": name, "email": f"{name}@example.org", "password": password})

    async def log_in(self, name: str = "ada", password: str = PASSWORD, **more: str) -> HTTPResponse:
        """Sign in."""
        return await self.post("/login", {"username": name, "password": password, **more})
