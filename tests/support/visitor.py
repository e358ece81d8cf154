"""A clock that stands still and a browser with one cookie."""

from __future__ import annotations

import json
import re
from typing import Any

from tornado.httpclient import AsyncHTTPClient, HTTPRequest, HTTPResponse

SECRET = "a secret of the tests, long enough to sign with"


class Clock:
    def __init__(self) -> None:
        self.now = 1_800_000_000.0

    def __call__(self) -> float:
        return self.now


class Browser:
    """A cookie jar and a base address."""

    def __init__(self, client: AsyncHTTPClient, base: str) -> None:
        self.client, self.base = client, base
        self.cookie: str | None = None

    async def get(self, path: str, **options: Any) -> HTTPResponse:
        headers = {"Cookie": f"sid={self.cookie}"} if self.cookie else {}
        request = HTTPRequest(self.base + path, headers={**headers, **options.pop("headers", {})}, **options)
        response = await self.client.fetch(request, raise_error=False)
        for line in response.headers.get_list("Set-Cookie"):
            found = re.match(r"sid=([^;]*)", line)
            if found:
                self.cookie = found[1] or None
        return response

    async def data(self) -> dict[str, Any]:
        return json.loads((await self.get("/read")).body)["data"]  # type: ignore[no-any-return]

    def copy(self) -> Browser:
        twin = Browser(self.client, self.base)
        twin.cookie = self.cookie
        return twin
