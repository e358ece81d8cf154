"""The pages of people who log in: register, log in, account, log out.

It must not know stores or hashing; ``Accounts`` decides, ``SessionMixin`` keeps the session.
"""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

from tornado.web import HTTPError

from tornado_sessions.accounts.errors import AccountError, Refused, Throttled, WrongCredentials
from tornado_sessions.accounts.service import Accounts
from tornado_sessions.accounts.setup import SetupLink
from tornado_sessions.accounts.user import User
from tornado_sessions.pages import PageHandler, Role
from tornado_sessions.record import Cause, Facts

__all__ = ["routes"]

#: Seconds that a remembered log-in lives: 30 days.
REMEMBERED = 30 * 86400
#: Seconds that a session of an operator or viewer lives unused, and at all.
STAFF_IDLE, STAFF_ABSOLUTE = 900.0, 28800.0
_MOST_DEVICES = 100


class AccountHandler(PageHandler):
    """What these pages share."""

    @property
    def accounts(self) -> Accounts:
        """The accounts of this server."""
        accounts: Accounts = self.settings["accounts"]
        return accounts

    def fail(self, template: str, error: AccountError, **names: Any) -> None:
        """Show the form again with what was wrong; what was typed stays, but no password."""
        self.set_status(error.status)
        if isinstance(error, Throttled):
            self.set_header("Retry-After", str(error.retry_after))
        faults = error.faults if isinstance(error, Refused) else {"": str(error)}
        self.render(template, faults=faults, **names)


class Root(PageHandler):
    """``/``."""

    def get(self) -> None:
        """To the account, which asks visitors to log in."""
        self.redirect("/account")


class Home(PageHandler):
    """``/home``: a greeting."""

    def get(self) -> None:
        """Greets by name, or shows the way in."""
        self.render("home.html")


class Register(AccountHandler):
    """``/reg``: a new account."""

    def get(self) -> None:
        """The form."""
        self.render("register.html", faults={}, username="", email="", operator=False)

    async def post(self) -> None:
        """Make the account, or say what is wrong with each field."""
        await self.register(Role.USER)

    async def register(self, role: Role) -> None:
        """Make an account with this role."""
        name, email, password = self.form("username"), self.form("email"), self.form("password", strip=False)
        try:
            user = await self.accounts.register(name, email, password, role=role, ip=self.client_ip)
        except AccountError as error:
            self.fail("register.html", error, username=name, email=email, operator=role is Role.OPERATOR)
            return
        self.render("registered.html", name=user.name)


class Setup(Register):
    """``/setup/TOKEN``: the first operator, by the link that the first start prints."""

    async def prepare(self) -> None:
        """Refuse a link that is used, old or made up."""
        await super().prepare()
        link: SetupLink = self.settings["setup"]
        if not await link.accepts(str(self.path_args[0])):
            raise HTTPError(404)

    def get(self, _token: str) -> None:  # type: ignore[override]
        """The form."""
        self.render("register.html", faults={}, username="", email="", operator=True)

    async def post(self, _token: str) -> None:  # type: ignore[override]
        """Make the operator."""
        await self.register(Role.OPERATOR)


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
        name, following = self.form("username"), self.form("next")
        try:
            user = await self.accounts.log_in(name, self.form("password", strip=False), self.client_ip)
        except AccountError as error:
            self.fail("login.html", error, username=name, following=following, ended=None)
            return
        await self._begin(user)
        self.notify("Logged in.")
        self.redirect(self._next(following), status=303)

    async def _begin(self, user: User) -> None:
        """Log in; who sees other people's sessions has shorter limits and is never remembered (OWASP ASVS 5.0 7.3)."""
        if user.role.is_staff:
            configured = self.sessions.config
            idle, absolute = min(STAFF_IDLE, configured.seconds("idle_timeout")), configured.seconds("absolute_timeout")
            await self.log_in(user.name, lifetime=min(STAFF_ABSOLUTE, absolute), idle_timeout=idle, persistent=False)
        else:
            await self.log_in(user.name, lifetime=REMEMBERED if self.form("remember") else None)

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


class LogOut(PageHandler):
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
        await self.log_out()
        self.render("logout.html", done=True)


class Account(AccountHandler):
    """``/account``: who I am, and my devices."""

    needs = Role.USER

    async def get(self) -> None:
        """The page."""
        await self.show({})

    async def show(self, faults: dict[str, str]) -> None:
        """The page, with what was wrong with a form on it."""
        user = self.session.user
        account = await self.accounts.get(user or "")
        page = await self.sessions.find(user=user, limit=_MOST_DEVICES)
        notice = self.take_notice()
        devices: list[Facts] = sorted(page.items, key=lambda item: item.handle != self.session.handle)
        self.render(
            "account.html", faults=faults, account=account, devices=devices, own=self.session.handle, notice=notice
        )


class EndDevice(AccountHandler):
    """``/account/end``: one of my other sessions, or all of them."""

    needs = Role.USER

    async def post(self) -> None:
        """End the session that ``handle`` names if it is mine; without one, all but this."""
        user, handle = self.session.user or "", self.form("handle")
        if not handle:
            await self.sessions.destroy_user(user, self.session.handle, cause=Cause.USER, by=user)
        elif (await self.sessions.find(user=user, handle=handle)).items:
            await self.sessions.destroy(handle, cause=Cause.USER, by=user)
        if handle == self.session.handle:
            await self.log_out()
            self.redirect("/login", status=303)
            return
        self.notify("The session has ended." if handle else "Your other sessions have ended.")
        self.redirect("/account", status=303)


class ChangePassword(Account):
    """``/account/password``."""

    async def get(self) -> None:
        """Back to the page with the form."""
        self.redirect("/account")

    async def post(self) -> None:
        """Change it, give this browser a new token and end every other session of mine."""
        user = self.session.user or ""
        old, new = self.form("old_password", strip=False), self.form("new_password", strip=False)
        try:
            await self.accounts.change_password(user, old, new, self.client_ip)
        except AccountError as error:
            self.set_status(error.status if not isinstance(error, WrongCredentials) else 400)
            wrong = {"old_password": "The current password is wrong."}
            if isinstance(error, Refused):
                wrong = error.faults
            elif not isinstance(error, WrongCredentials):
                wrong = {"": str(error)}
            await self.show(wrong)
            return
        await self.sessions.destroy_user(user, self.session.handle, cause=Cause.PASSWORD, by=user)
        await self.log_in(user)
        self.notify("Your password is changed, and your other sessions have ended.")
        self.redirect("/account", status=303)


class Language(PageHandler):
    """``/language/CODE``: which language to speak, kept in a plain cookie."""

    def get(self, code: str) -> None:
        """Remember it and go back to the front page."""
        self.set_cookie("lang", code, expires_days=365, httponly=True, samesite="Lax")
        self.redirect("/home")


def routes() -> list[Any]:
    """Addresses and their handlers."""
    return [
        (r"/", Root),
        (r"/home", Home),
        (r"/reg(?:ister)?", Register),
        (r"/setup/([A-Za-z0-9_-]{1,64})", Setup),
        (r"/login", LogIn),
        (r"/logout", LogOut),
        (r"/account", Account),
        (r"/account/end", EndDevice),
        (r"/account/password", ChangePassword),
        (r"/language/(en_US|zh)", Language),
    ]
