"""A real OpenID provider on node (npm's ``oidc-provider``), and a person's way through it."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path
from typing import Any
from urllib.parse import urlencode, urlsplit

from support.browser import Browser
from support.express_app import NodeProgram
from tornado.httpclient import AsyncHTTPClient, HTTPRequest, HTTPResponse

PROGRAM = Path(__file__).parent / "programs/oidc_provider.mjs"


class OIDCProvider(NodeProgram):
    """The provider. Each test registers a client of its own.

    Attributes:
        issuer: its address.
    """

    def __init__(self) -> None:
        # Its warnings about development mode say nothing about a test.
        super().__init__(PROGRAM, stderr=subprocess.DEVNULL)
        self.issuer = self.base

    async def register(self, client: AsyncHTTPClient, redirect_url: str, **more: Any) -> dict[str, str]:
        """Register a client; ``more`` are its further metadata."""
        body = json.dumps({"redirect_uris": [redirect_url], **more})
        request = HTTPRequest(f"{self.issuer}/reg", "POST", {"Content-Type": "application/json"}, body)
        return json.loads((await client.fetch(request)).body)  # type: ignore[no-any-return]


class Person:
    """A browser at the provider: it keeps the provider's cookies apart from those of the application.

    Args:
        client: sends the requests.
        issuer: where the person has an account.
        account: its name.
        groups: of the account from the next sign-in on.
    """

    def __init__(self, client: AsyncHTTPClient, issuer: str, account: str, *groups: str) -> None:
        self.browser = Browser(client, issuer)
        self.browser.headers |= {"X-Account": account, "X-Groups": ",".join(groups) or "-"}

    def elsewhere(self) -> Person:
        """Return the same person at another device."""
        twin = Person(self.browser.client, self.browser.base, "")
        twin.browser.headers = dict(self.browser.headers)
        return twin

    async def follow(self, url: str) -> str:
        """Walk through the provider's pages, and return the address to which it leads back."""
        for _ in range(10):
            assert url.startswith(self.browser.base), url
            answer = await self.browser.get(url.removeprefix(self.browser.base))
            assert answer.code in (302, 303), (answer.code, answer.body)
            url = answer.headers["Location"]
            if url.startswith("/"):
                url = self.browser.base + url
            if not url.startswith(self.browser.base):
                return url
        raise AssertionError("the provider leads nowhere")

    async def sign_out(self, url: str) -> HTTPResponse:
        """Confirm the sign-out at the provider, which tells its clients, and return its last answer."""
        parts = urlsplit(url)
        page = (await self.browser.get(f"{parts.path}?{parts.query}")).body.decode()
        found = re.search(r'name="xsrf" value="([^"]+)"', page)
        assert found, page
        body = urlencode({"xsrf": found[1], "logout": "yes"})
        return await self.browser.send(
            "POST", "/session/end/confirm", body, Content_Type="application/x-www-form-urlencoded"
        )


def path_of(url: str) -> str:
    """Return the path and query of an address."""
    parts = urlsplit(url)
    return f"{parts.path}?{parts.query}"
