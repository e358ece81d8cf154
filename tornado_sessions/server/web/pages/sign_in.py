"""``/login`` and ``/logout``: sign in, with a second step where the account has one, and sign out.

It must not know stores or hashing; ``Accounts`` decides, ``SessionMixin`` keeps the session.
"""

from __future__ import annotations

import logging
from urllib.parse import urlsplit

from tornado_sessions.server.accounts.errors import AccountError
from tornado_sessions.server.accounts.user import User
from tornado_sessions.server.display import device
from tornado_sessions.server.operations.action_names import Action
from tornado_sessions.server.web.people import AccountHandler
from tornado_sessions.server.web.sign_in import is_good_ticket, make_ticket, start_session

__all__ = ["SecondStepPage", "SignInPage", "SignOutPage"]

logger = logging.getLogger("tornado_sessions.server.accounts")


class SignInPage(AccountHandler):
    """``/login``."""

    def get(self) -> None:
        """Show the form, and why the last session of this browser ended."""
        following = self.query_value("next")
        if self.current_user is not None:
            self.redirect(_local(following))
            return
        self.render("login.html", faults={}, username="", following=following, ended=self.session.ended)

    async def post(self) -> None:
        """Check the password. A wrong name and a wrong password get the same answer after the same time."""
        name, following = self.form_value("username"), self.form_value("next")
        try:
            user = await self.parts.accounts.log_in(name, self.form_value("password", strip=False), self.client_ip)
        except AccountError as error:
            await self.record_failure(name, error)
            self.fail("login.html", error, username=name, following=following, ended=None)
            return
        remember = bool(self.form_value("remember"))
        if user.has_two_steps:
            ticket = make_ticket(self.site.form_key, user, self.sessions.clock())
            self.render("code.html", faults={}, name=user.name, ticket=ticket, following=following, remember=remember)
            return
        await self.start(user, following, remember=remember)

    async def start(self, user: User, following: str, *, remember: bool) -> None:
        """Start the session and go to the page that was asked for.

        Args:
            user: who signs in.
            following: the path of that page; empty: there is none.
            remember: whether the session outlives the browser.
        """
        used_device = device(self.request.headers.get("User-Agent", ""))
        is_new = await self.parts.events.is_new_device(user.name, used_device)
        await self.record(Action.LOG_IN, user.name, target=used_device)
        self.parts.activity.count("sign-ins")
        if is_new:
            await self._report_device(user, used_device)
        await start_session(self, user, remember=remember, password_at=self.sessions.clock())
        # An operator may have blocked the account, or its password may have changed, after the password was checked and before
        # the session existed. Whoever did that has ended the sessions of that time, but not this one.
        if not await self.parts.accounts.may_stay(user):
            await self.log_out()
            self.redirect("/login", status=303)
            return
        self.notify("You're signed in.")
        self.redirect(_local(following or ("/admin/overview" if user.role.is_staff else "")), status=303)

    async def _report_device(self, user: User, used_device: str) -> None:
        try:
            await self.site.on_new_device(user, self.client_ip, used_device)
        except Exception:
            # The application's code, which often sends a mail. Its failure must not keep the user out.
            logger.exception("on_new_device failed")


class SecondStepPage(SignInPage):
    """``/login/code``."""

    def get(self) -> None:
        """Go to the first step."""
        self.redirect("/login")

    async def post(self) -> None:
        """Check the code."""
        name, ticket, following = self.form_value("name"), self.form_value("ticket"), self.form_value("next")
        user = await self.parts.accounts.get(name)
        if user is None or not is_good_ticket(self.site.form_key, ticket, user, self.sessions.clock()):
            self.redirect("/login", status=303)
            return
        remember = bool(self.form_value("remember"))
        try:
            user = await self.parts.accounts.second_step(name, self.form_value("code"), self.client_ip)
        except AccountError as error:
            await self.record_failure(name, error)
            self.fail("code.html", error, name=name, ticket=ticket, following=following, remember=remember)
            return
        await self.start(user, following, remember=remember)


class SignOutPage(AccountHandler):
    """``/logout``."""

    async def get(self) -> None:
        """Sign out. A link on another site must not do that, so it leads to a question first."""
        came_from = self.request.headers.get("Sec-Fetch-Site", "none")
        if self.current_user is not None and came_from not in ("none", "same-origin"):
            self.render("logout.html", done=False)
            return
        await self.post()

    def check_form(self) -> None:
        """Check the form token, unless there is no session that another site could end, as after a second click."""
        if self.session.handle is not None:
            super().check_form()

    async def post(self) -> None:
        """Sign out."""
        if self.session.user is not None:
            await self.record(Action.LOG_OUT, self.session.user)
        await self.log_out()
        self.render("logout.html", done=True)


def _local(url: str) -> str:
    """Return a path of this site. Anything else becomes the account page: an open redirect helps phishing."""
    if not url.isprintable() or "\\" in url or not url.startswith("/") or url.startswith("//"):
        return "/account"
    try:
        parts = urlsplit(url)
    except ValueError:
        return "/account"
    return "/account" if parts.scheme or parts.netloc or parts.path in ("/login", "/logout") else url
