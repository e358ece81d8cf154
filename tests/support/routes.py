"""The routes of the application, read from its router, with a path for each that it matches."""

from __future__ import annotations

import re

from support.browser import Browser
from tornado.httpclient import HTTPResponse
from tornado.routing import Rule
from tornado.web import Application


def routes_of(app: Application) -> list[str]:
    """Return the patterns of all routes, as they are written where they are declared."""
    rules: list[Rule] = [*app.wildcard_router.rules]
    found = [str(getattr(rule.matcher, "regex").pattern) for rule in rules]  # noqa: B009
    return [pattern.removesuffix("$") for pattern in found]


def path_of(pattern: str, handle: str = "x", name: str = "ada") -> str:
    """Return a path that a pattern matches."""
    path = (
        pattern.replace("/?", "/").replace("(?:ister)?", "").replace("(jsonl|csv)", "csv").replace("(en_US|zh)", "zh")
    )
    path = re.sub(r"\(\[.*?\)", name if "/users/" in path else handle, path)
    path = path.replace("(favicon\\.ico)", "favicon.ico").replace("(robots\\.txt)", "robots.txt")
    path = path.replace("/static/(.*)", "/static/style.css").replace("\\", "")
    return path + "?name=ada" if path == "/admin/user" else path


async def pages_of(person: Browser, app: Application, handle: str, name: str) -> dict[str, HTTPResponse]:
    """Return each page that somebody may see, by its path, except the page that signs out."""
    pages = {}
    for path in (path_of(pattern, handle, name) for pattern in routes_of(app)):
        if path in ("/admin/live", "/logout"):
            continue
        answer = await person.get(path)
        if answer.code == 200 and answer.headers["Content-Type"].startswith("text/html"):
            pages[path] = answer
    return pages
