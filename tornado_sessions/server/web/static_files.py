"""Static files and templates: their location, and the handler of static files. It must not know their content."""

from __future__ import annotations

import asyncio
from functools import cache
from pathlib import Path

from tornado.template import Loader
from tornado.web import HTTPError, StaticFileHandler

from tornado_sessions.server.web.methods import MethodHandler

__all__ = ["StaticFiles", "folder", "load_templates", "static_url", "templates"]

_PACKAGE = Path(__file__).parents[2]


class StaticFiles(StaticFileHandler, MethodHandler):  # type: ignore[misc]
    """Serves the style sheet, the script and the icon. ``StaticFileHandler`` has its own HEAD, which reads no file."""

    def validate_absolute_path(self, root: str, absolute_path: str) -> str | None:
        """Answer 404 to a path with NUL, for which the file system would raise an error."""
        if "\0" in absolute_path:
            raise HTTPError(404)
        return super().validate_absolute_path(root, absolute_path)


@cache
def folder(name: str) -> str:
    """Return the path of ``templates`` or ``static``: inside an installed package, or next to the package in a checkout."""
    inside = _PACKAGE / name
    return str(inside if inside.is_dir() else _PACKAGE.parent / name)


@cache
def static_url(path: str, prefix: str) -> str:
    """Return the URL of a static file, with a hash of its content, below the path of all of them."""
    return StaticFiles.make_static_url({"static_path": folder("static"), "static_url_prefix": prefix}, path)


@cache
def templates() -> Loader:
    """Return the loader with all templates compiled: no page needs a descriptor for them later, when there may be none.

    The first call takes a third of a second, so it belongs before the first request; on an event loop, use ``load_templates``.
    """
    root = Path(folder("templates"))
    loader = Loader(str(root))
    for path in sorted(root.rglob("*.html")):
        loader.load(str(path.relative_to(root)))
    static = Path(folder("static"))
    for path in filter(Path.is_file, static.rglob("*")):
        # The hash in the links to a static file, which Tornado keeps.
        StaticFiles.get_version({"static_path": str(static)}, path.relative_to(static).as_posix())
    return loader


async def load_templates() -> None:
    """Compile the templates, if they are not yet, without holding up the event loop."""
    await asyncio.to_thread(templates)
