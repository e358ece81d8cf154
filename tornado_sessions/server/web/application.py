"""The Tornado application with every route of the server.

It must not know how its parts are made.
"""

from __future__ import annotations

import logging
from pathlib import Path

from tornado import locale
from tornado.web import Application, HTTPError, RequestHandler, StaticFileHandler

from tornado_sessions.server.parts import Parts
from tornado_sessions.server.web import api, metrics, pages
from tornado_sessions.server.web.base import NotFound, shown
from tornado_sessions.server.web.site import OnNewDevice, Place, Site, log_new_device, no_place

__all__ = ["make_application"]

_SERVER = Path(__file__).parents[1]

access = logging.getLogger("tornado_sessions.access")


def make_application(parts: Parts, on_new_device: OnNewDevice = log_new_device, place: Place = no_place) -> Application:
    """The application with every route.

    Args:
        parts: what it works with.
        place: where an address is, in words, for lists of sessions; called often, so it looks into memory only.
        on_new_device: told of a log-in from a device that the user has not used lately: the account, the address, the device
            in words. A place to send a letter.
    """
    locale.load_translations(str(_SERVER / "translations"))
    return Application(
        [*pages.routes(), *api.routes(), *metrics.routes()],
        default_handler_class=NotFound,
        template_path=str(_folder("templates")),
        static_path=str(_folder("static")),
        static_handler_class=Static,
        log_function=_log_request,
        cross_origin_protection=True,
        xsrf_cookie_kwargs={"httponly": True, "samesite": "Lax"},
        sessions=parts.sessions,
        site=Site(parts=parts, place=place, on_new_device=on_new_device),
    )


class Static(StaticFileHandler):
    """Files for browsers."""

    def validate_absolute_path(self, root: str, absolute_path: str) -> str | None:
        """No file's name holds a NUL, and asking the system for one is an error."""
        if "\0" in absolute_path:
            raise HTTPError(404)
        return super().validate_absolute_path(root, absolute_path)


def _log_request(handler: RequestHandler) -> None:
    """One line a request: no query, and no link that makes operators."""
    request = handler.request
    level = logging.WARNING if handler.get_status() >= 500 else logging.INFO
    milliseconds = 1000 * request.request_time()
    access.log(
        level,
        "%d %s %s (%s) %.1f ms",
        handler.get_status(),
        request.method,
        shown(request.path),
        handler.settings["sessions"].proxies.of(request).ip or "unix:",
        milliseconds,
    )


def _folder(name: str) -> Path:
    """Templates and static files lie inside an installed package, and beside it in a checkout."""
    inside = _SERVER.parent / name
    return inside if inside.is_dir() else _SERVER.parents[1] / name
