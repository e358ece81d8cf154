"""The routes of the application, read from its router, with a path for each that it matches."""

from __future__ import annotations

import re

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
