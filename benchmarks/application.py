"""The application that is measured: the same short response with a session, and without one.

It must not know how it is measured.
"""

from __future__ import annotations

from typing import Any, ClassVar

import msgspec
from tornado.httputil import HTTPMessageDelegate, HTTPServerRequest
from tornado.routing import Router
from tornado.web import Application, RequestHandler, decode_signed_value

from tornado_sessions import SessionConfig, SessionMixin, Sessions

__all__ = ["SECRET", "Table", "application"]

SECRET = "x" * 40


class Table(Router):
    """Routes that all cost the same. Tornado tries the routes of an application in order, so the first would be cheapest.

    Args:
        handlers: by path, without the first slash.
    """

    application: Application

    def __init__(self, **handlers: type[RequestHandler]) -> None:
        self._handlers = {f"/{name}": handler for name, handler in handlers.items()}

    def find_handler(self, request: HTTPServerRequest, **_: Any) -> HTTPMessageDelegate:
        return self.application.get_handler_delegate(request, self._handlers[request.path])

    def applied(self, **settings: Any) -> Application:
        """Return an application with these routes."""
        names = "|".join(path[1:] for path in self._handlers)
        self.application = Application([(f"/(?:{names})", self)], **settings)
        return self.application


class Bare(RequestHandler):
    def get(self) -> None:
        self.write("ada")


class Untouched(SessionMixin, RequestHandler):
    def get(self) -> None:
        self.write("ada")


class Floor(RequestHandler):
    """What no session in Tornado can go below: its cookie is read and verified once, one value is decoded, two headers are set.

    It has no store, no expiry and no rules.
    """

    verified: ClassVar[dict[str, bytes]] = {}

    def get(self) -> None:
        cookie = self.request.headers["Cookie"]
        if cookie not in self.verified:
            token = decode_signed_value(SECRET, "sid", cookie.partition("=")[2].strip('"'), max_age_days=1)
            assert token is not None, "a cookie that was not signed here"
            self.verified[cookie] = b'"ada"'
        self.set_header("Cache-Control", "no-store")
        self.set_header("Vary", "Cookie")
        self.write(msgspec.json.decode(self.verified[cookie]))


class Read(SessionMixin, RequestHandler):
    def get(self) -> None:
        self.write(str(self.session.get("name", "nobody")))


class Write(SessionMixin, RequestHandler):
    def get(self) -> None:
        self.write(str(self.session.increment("n")))


class LogIn(SessionMixin, RequestHandler):
    async def get(self) -> None:
        self.session["name"] = "ada"
        await self.log_in("ada")
        self.write("ada")


def application(store: str, log_function: object = lambda _: None) -> tuple[Application, Sessions]:
    """Return the application on a store, given by its URL, and its sessions."""
    sessions = Sessions(store, config=SessionConfig(secret=SECRET))
    table = Table(bare=Bare, floor=Floor, none=Untouched, read=Read, write=Write, login=LogIn)
    return table.applied(sessions=sessions, log_function=log_function), sessions
