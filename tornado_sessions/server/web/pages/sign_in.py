"""``/login`` and ``/logout``: sign in, with two-step verification if it is on, and sign out.

It must not know stores or hashing, which are left to ``Accounts`` and ``SessionMixin``.
"""

from __future__ import annotations

import logging
import secrets
from urllib.parse import urlencode

from tornado.web import Finish, HTTPError
from typing_extensions import override

from tornado_sessions.errors import ProviderUnavailable
from tornado_sessions.server.accounts.errors import AccountError, FormRepeated
from tornado_sessions.server.accounts.user import User
from tornado_sessions.server.display import device
from tornado_sessions.server.mail.letters import Kind
from tornado_sessions.server.operations.action_names import Action
from tornado_sessions.server.web.origins import Source
from tornado_sessions.server.web.people import AccountHandler
from tornado_sessions.server.web.provider import ProviderHandler
from tornado_sessions.server.web.sign_in import form_of, is_good_ticket, make_ticket, start_session

__all__ = ["SecondStepPage", "SignInPage", "SignOutPage"]

logger = logging.getLogger("tornado_sessions.server.accounts")


class SignInPage(AccountHandler):
    """``/login``."""

    is_for_signed_in = False
    _password = ""

    def get(self) -> None:
        """Show the form, with the reason why the browser's last session ended."""
        following = self.query_value("next")
        if self.current_user is not None:
            self.lead_to(self._after(following), 302)
            return
        self.render("login.html", faults={}, username="", following=following, ended=self.session.ended)

    async def post(self) -> None:
        """Check the password. An unknown name and a wrong password get the same response after the same time."""
        if self.parts.oidc_only:
            raise HTTPError(403)
        name, following = self.form_value("username"), self.form_value("next")
        password = self.form_value("password", strip=False)
        try:
            user = await self.parts.accounts.log_in(name, password, self.client)
        except AccountError as error:
            await self.record_failure(error, lambda: self.parts.accounts.look_up_named(name))
            self.fail("login.html", error, username=name, following=following, ended=None)
            return
        remember = bool(self.form_value("remember"))
        self._password = password
        if user.has_two_steps:
            ticket = make_ticket(self.site.form_key, user, self.sessions.clock())
            self.render("code.html", faults={}, user_id=user.id, ticket=ticket, following=following, remember=remember)
            return
        await self.start(user, following, remember=remember)

    async def start(self, user: User, following: str, *, remember: bool) -> None:
        """Start the session and redirect to the requested page.

        Args:
            user: the user who signs in.
            following: the path of the requested page; empty for the default page.
            remember: whether the session survives closing the browser.
        """
        used_device = device(self.request.headers.get("User-Agent", ""))
        # Before this sign-in is recorded, because the audit log shows which devices are known.
        is_new = await self.parts.events.is_new_device(user.id, used_device)
        await self.record(Action.LOG_IN, user.id, target=used_device)
        self.parts.activity.count("sign-ins")
        if is_new:
            await self._report_device(user, used_device)
            at = self.language.moment(self.sessions.clock())
            await self.tell(user, Kind.NEW_DEVICE, self.language.device(used_device), self.client_ip, at)
        await start_session(self, user, remember=remember, password_at=self.sessions.clock())
        # The account may have been blocked, or its password or role changed, after the password was checked and before the
        # session existed. That ended the other sessions of the account, but not this one, so check again.
        if not await self.parts.accounts.may_stay(user):
            await self.log_out()
            self.redirect("/login", status=303)
            return
        await self.remember_device(user)
        await self.keep_proof(user)
        self._greet(user)
        self.role = user.role
        self.lead_to(self._after(following, self._usual))

    async def keep_proof(self, user: User) -> None:
        """Keep in the session what this way of signing in proves; nothing more for a password."""

    def _greet(self, user: User) -> None:
        """Show a notice on the next page. Only here is the length of an older password known, or of one after a reset."""
        rules = self.parts.accounts.rules
        if (
            self._password
            and not user.has_two_steps
            and rules.length_fault(self._password, two_steps=False) is not None
        ):
            self.notify("Your password is short. Choose a longer one or turn on two-step verification.", kind="bad")
        else:
            self.notify("You're signed in.")

    @property
    def _usual(self) -> str:
        """The URL of the page that a sign-in leads to without ``next``."""
        overview = self.site.url(f"{self.site.dashboard}/overview")
        return self.site.landing or (overview if self.role.is_staff else self.site.url("/account"))

    @override
    def after_repeated_form(self) -> str | None:
        following = self.form_value("next")
        if self.session.user is not None:
            return self._after(following, self._usual)
        # If the first copy of the form has signed in, the browser comes with its new cookie, and the page leads on.
        return self.site.url("/login?") + urlencode({"next": following})

    def _after(self, following: str, usual: str = "") -> str:
        """Return the URL of the page to show after the sign-in: the requested one, unless it is a form to sign in."""
        usual = usual or self.site.landing or self.site.url("/account")
        url, forms = self.reachable(following) or usual, map(self.site.url, ("/login", "/login/code"))
        return usual if url.partition("?")[0] in forms else url

    async def _report_device(self, user: User, used_device: str) -> None:
        try:
            await self.site.on_new_device(user, self.client_ip, used_device)
        except Exception:
            # This is code of the application, which often sends an email. Its failure must not prevent the sign-in.
            logger.exception("on_new_device failed")


class SecondStepPage(SignInPage):
    """``/login/code``."""

    def get(self) -> None:
        """Redirect to the first step."""
        self.redirect("/login")

    async def post(self) -> None:
        """Check the code."""
        user_id, ticket, following = self.form_value("name"), self.form_value("ticket"), self.form_value("next")
        user = await self.parts.accounts.get(user_id)
        if user is None or not is_good_ticket(self.site.form_key, ticket, user, self.sessions.clock()):
            self.redirect("/login", status=303)
            return
        remember = bool(self.form_value("remember"))
        try:
            user = await self.parts.accounts.second_step(user_id, self.form_value("code"), self.client, form_of(ticket))
        except FormRepeated:
            # Whoever sends a copy gets no session by it: the browser has its cookie already, and the page leads on.
            self.lead_to(self.after_repeated_form() or self.site.url("/login"))
            return
        except AccountError as error:
            await self.record_failure(error, lambda: self.parts.accounts.look_up(user_id))
            self.fail("code.html", error, user_id=user_id, ticket=ticket, following=following, remember=remember)
            return
        await self.start(user, following, remember=remember)


class SignOutPage(ProviderHandler):
    """``/logout``."""

    async def get(self) -> None:
        """Sign out. Ask first, unless the request is proved to come from a page of ours."""
        if self.current_user is None or (self.source is Source.OWN_PAGE and self.request.method == "GET"):
            await self.post()
        else:
            self.render("logout.html", done=False, is_foreign=self.source is Source.FOREIGN, leave_to="")

    @override
    def check_form(self) -> None:
        """Check the form token, unless there is no session to end, for example after a second click."""
        if self.session.handle is None:
            return
        try:
            super().check_form()
        except HTTPError:
            # The form is of an earlier session. The page asks, or signs out if the request comes from a page of ours.
            self.redirect("/logout", status=303)
            raise Finish from None

    async def post(self) -> None:
        """Sign out."""
        if self.session.user is not None:
            await self.record(Action.LOG_OUT, self.session.user)
        leave_to = await self._leave_provider()
        await self.log_out()
        self.render("logout.html", done=True, is_foreign=False, leave_to=leave_to)

    async def _leave_provider(self) -> str:
        """Return the address at which the browser signs out at the OpenID provider as well; empty without one.

        The page leads there by a header: browsers apply the policy for forms to redirects of a form. The link on the page is for
        browsers that ignore the header. It has no ID token, which would stay in copies of the page; the provider asks instead.
        """
        kept = self.kept_identity()
        if self.parts.open_id is None or kept is None:
            return ""
        state, back_to = secrets.token_urlsafe(16), self.open_id.signed_out_url
        try:
            url = await self.oidc.sign_out_url(kept.id_token, back_to, state)
            shown = await self.oidc.sign_out_url("", back_to, state)
        except ProviderUnavailable:
            # Whoever wants to leave leaves here in any case.
            return ""
        if url:
            self.keep_value("oidc", state, max_age=600)
            self.set_header("Refresh", f"0; url={url}")
        return shown or ""
