"""``/login`` and ``/logout``: sign in, with a second step where the account has one, and sign out.

It must not know stores or hashing; ``Accounts`` decides, ``SessionMixin`` keeps the session.
"""

from __future__ import annotations

import logging
from typing import Any
from urllib.parse import urlsplit

from tornado_sessions.server.accounts.errors import AccountError
from tornado_sessions.server.accounts.user import User
from tornado_sessions.server.display import device
from tornado_sessions.server.operations.action_names import Action
from tornado_sessions.server.web.people import AccountHandler
from tornado_sessions.server.web.sign_in import Ticket, begin

__all__ = ["routes"]

logger = logging.getLogger("tornado_sessions.server.accounts")


class LogIn(AccountHandler):
    """``/login``."""

    def get(self) -> None:
        """The form, with what happened to the session that this browser had."""
        if self.current_user is not None:
            self.redirect(self._next(self.get_query_argument("next", "")))
            return
        self._show({}, "", self.get_query_argument("next", ""))

    async def post(self) -> None:
        """Log in and go on; wrong names and wrong passwords get the same words after the same time."""
        name, following = self.form_value("username"), self.form_value("next")
        try:
            user = await self.parts.accounts.log_in(name, self.form_value("password", strip=False), self.client_ip)
        except AccountError as error:
            await self.record_failure(name, error)
            self.fail("login.html", error, username=name, following=following, ended=None)
            return
        remember = bool(self.form_value("remember"))
        if user.has_two_steps:
            ticket = Ticket(self.site.form_key).make(user, self.sessions.clock())
            self.render("code.html", faults={}, name=user.name, ticket=ticket, following=following, remember=remember)
            return
        await self.enter(user, following, remember=remember)

    async def enter(self, user: User, following: str, *, remember: bool) -> None:
        """Begin the session and go on."""
        seen_on = device(self.request.headers.get("User-Agent", ""))
        is_new = await self.parts.events.is_new_device(user.name, seen_on)
        await self.record(Action.LOG_IN, user.name, target=seen_on)
        self.parts.activity.count("sign-ins")
        if is_new:
            await self._tell_of(user, seen_on)
        await begin(self, user, remember=remember, proved_at=self.sessions.clock())
        if not await self.parts.accounts.may_stay(user):
            # Blocked, or the password changed, while this log-in was under way.
            await self.log_out()
            self.redirect("/login", status=303)
            return
        self.notify("Logged in.")
        self.redirect(self._next(following or ("/admin/overview" if user.role.is_staff else "")), status=303)

    async def _tell_of(self, user: User, seen_on: str) -> None:
        try:
            await self.site.on_new_device(user, self.client_ip, seen_on)
        except Exception:
            # It is somebody else's code, often a letter: nobody is locked out because that is not sent.
            logger.exception("on_new_device failed")

    def _show(self, faults: dict[str, str], name: str, following: str) -> None:
        ended = self.session.ended
        self.render("login.html", faults=faults, username=name, following=following, ended=ended)

    @staticmethod
    def _next(url: str) -> str:
        """A path of our own, whatever was asked for: an open redirect would lend our name to others."""
        plain = url.isprintable() and "\\" not in url and url.startswith("/") and not url.startswith("//")
        if not plain:
            return "/account"
        try:
            parts = urlsplit(url)
        except ValueError:
            return "/account"
        return url if not parts.scheme and not parts.netloc and parts.path not in ("/login", "/logout") else "/account"


class SecondStep(LogIn):
    """``/login/code``: the code after the password, where the account asks for one."""

    def get(self) -> None:
        """Back to the beginning: the password comes first."""
        self.redirect("/login")

    async def post(self) -> None:
        """Take the code and log in."""
        name, ticket, following = self.form_value("name"), self.form_value("ticket"), self.form_value("next")
        user = await self.parts.accounts.get(name)
        if user is None or not Ticket(self.site.form_key).is_good(ticket, user, self.sessions.clock()):
            self.redirect("/login", status=303)
            return
        remember = bool(self.form_value("remember"))
        try:
            user = await self.parts.accounts.second_step(name, self.form_value("code"), self.client_ip)
        except AccountError as error:
            await self.record_failure(name, error)
            self.fail("code.html", error, name=name, ticket=ticket, following=following, remember=remember)
            return
        await self.enter(user, following, remember=remember)


class LogOut(AccountHandler):
    """``/logout``."""

    async def get(self) -> None:
        """Log out where the request comes from our own pages or was typed; a link on another site is asked about first."""
        if self.current_user is not None and self.request.headers.get("Sec-Fetch-Site", "none") not in (
            "none",
            "same-origin",
        ):
            self.render("logout.html", done=False)
            return
        await self.post()

    def check_form(self) -> None:
        """Who is logged out already, by a second click, has nothing that another site could end."""
        if self.session.handle is not None:
            super().check_form()

    async def post(self) -> None:
        """Destroy the session."""
        if self.session.user is not None:
            await self.record(Action.LOG_OUT, self.session.user)
        await self.log_out()
        self.render("logout.html", done=True)


def routes() -> list[Any]:
    """Addresses and their handlers."""
    return [
        (r"/login", LogIn),
        (r"/login/code", SecondStep),
        (r"/logout", LogOut),
    ]
