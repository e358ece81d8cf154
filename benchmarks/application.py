"""The application that is measured: the same short response with a session, and without one.

It must not know how it is measured.
"""

from __future__ import annotations

from tornado.web import Application, RequestHandler

from tornado_sessions import SessionConfig, SessionMixin, Sessions

__all__ = ["SECRET", "application"]

SECRET = "x" * 40


class Bare(RequestHandler):
    def get(self) -> None:
        self.write("ada")


class Untouched(SessionMixin, RequestHandler):
    def get(self) -> None:
        self.write("ada")


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
    routes = [("/bare", Bare), ("/none", Untouched), ("/read", Read), ("/write", Write), ("/login", LogIn)]
    return Application(routes, sessions=sessions, log_function=log_function), sessions
