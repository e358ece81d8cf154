"""``/login/oidc``: sign in at an OpenID provider, prove there who one is, and sign out in both directions.

It must not know tokens or stores, which are left to ``OpenIDConnect`` and ``Identities``.
"""

from __future__ import annotations

import asyncio
import hmac
import logging

from tornado.web import Finish, HTTPError, RequestHandler
from typing_extensions import override

from tornado_sessions.errors import OpenIDError
from tornado_sessions.messages import Message
from tornado_sessions.oidc import BackChannelLogout, Identity, LogoutRequest
from tornado_sessions.query import Where
from tornado_sessions.record import Cause, Record
from tornado_sessions.server.accounts.errors import AccountError
from tornado_sessions.server.accounts.user import User
from tornado_sessions.server.open_id import CALLBACK, SIGNED_OUT, START
from tornado_sessions.server.operations.action_names import Action
from tornado_sessions.server.operations.audit import SERVER
from tornado_sessions.server.roles import Role
from tornado_sessions.server.web.pages.sign_in import SignInPage
from tornado_sessions.server.web.provider import ProviderHandler

__all__ = ["BackChannelPage", "CallbackPage", "SignedOutPage", "StartPage", "routes"]

logger = logging.getLogger("tornado_sessions.security")


class OpenIDPage(ProviderHandler, SignInPage):
    """Base of the pages around the provider."""

    async def post(self) -> None:
        """Refuse: these pages have no form."""
        raise HTTPError(405)


class StartPage(OpenIDPage):
    """``/login/oidc``: leads to the provider."""

    own_pages_only = True

    async def get(self) -> None:  # type: ignore[override]
        """Redirect to the provider; with ``prove``, ask the signed-in user for a new proof."""
        following = self.following(self.query_value("next")) or ""
        prove = bool(self.query_value("prove")) and self.session.user is not None
        with self.asking_provider():
            url = await self.open_id_url(following, prove=prove)
        # Ours leads to paths of this server only.
        RequestHandler.redirect(self, url, status=303)


class CallbackPage(OpenIDPage):
    """``/login/oidc/callback``: the browser comes back."""

    _identity: Identity

    async def get(self) -> None:  # type: ignore[override]
        """Complete the sign-in or, for a signed-in user, the new proof."""
        try:
            with self.asking_provider():
                self._identity = await self.finish_open_id()
            if self._identity.is_proof:
                await self._prove()
                return
            user = await self._account()
        except OpenIDError as error:
            logger.warning("a sign-in at the OpenID provider from %s failed: %s", self.client_ip, error)
            text = Message("Signing in with %s failed. Please try again.", (self.open_id.name,))
            self._show(error.status, self.say(text))
        except AccountError as error:
            self._show(error.status, self.say_error(error))
        else:
            await self.start(user, self._identity.following, remember=False)

    def _show(self, status: int, text: str) -> None:
        self.set_status(status)
        if self.session.user is None:
            self.render("login.html", faults={"": text}, username="", following="", ended=None)
        else:
            self.notify(text, kind="bad")
            self.redirect("/account", status=303)

    async def _account(self) -> User:
        """Return the account of the identity, with the role of its groups."""
        identity = self._identity
        role = self.open_id.role_of(identity.claims)
        issuer, subject, claims = identity.issuer, identity.subject, identity.claims
        user, is_new = await self.parts.identities.sign_in(issuer, subject, claims, role or Role.USER)
        if is_new:
            await self.record(Action.ACCOUNT_CREATED, user.name)
        elif role is not None and role is not user.role:
            # This ends the sessions of the user, whose limits depend on the role.
            await self.parts.actions.set_role(SERVER, user.name, role)
            user = await self.parts.accounts.get(user.name) or user
        return user

    async def _prove(self) -> None:
        """Accept the proof of the signed-in user; ignore that of any other user."""
        # Before anything is done for the identity: a proof must not make an account.
        found = await self.parts.identities.find(self._identity.issuer, self._identity.subject)
        if found is None or found.id != self.session.user:
            raise OpenIDError("another user signed in at the provider")
        user = await self._account()
        await self.renew_session(with_code=user.has_two_steps)
        await self.keep_proof(user)
        self.lead_to(self._after(self._identity.following))

    @override
    async def keep_proof(self, user: User) -> None:
        identity = self._identity
        self.mark_password_given(identity.proved_at, with_code=False)
        self.keep_identity(identity)
        handle = self.session.handle
        if identity.sid and handle is not None:
            until = self.sessions.clock() + self.sessions.config.seconds("absolute_timeout")
            if not await self.parts.identities.bind(identity.issuer, identity.sid, handle, until):
                # The provider has signed this user out while they signed in here.
                await self.log_out()
                self.redirect("/login", status=303)
                raise Finish


class SignedOutPage(OpenIDPage):
    """``/login/oidc/signed-out``: the browser has signed out at the provider, too."""

    def get(self) -> None:
        """Say so, if it was this browser that we sent there."""
        sent, given = self.kept_value("oidc") or "", self.query_value("state")
        self.drop_value("oidc")
        if not sent or not hmac.compare_digest(sent.encode(), given.encode()):
            self.redirect("/login")
            return
        self.render("logout.html", done=True, is_foreign=False, leave_to="")


class BackChannelPage(BackChannelLogout, ProviderHandler):
    """``/login/oidc/logout``: the provider ends a session, or all sessions of a user, without a browser."""

    wants_json = True

    @override
    def check_form(self) -> None:
        """Accept it without a form token; the signature of the logout token proves where it comes from."""

    @override
    async def end_sessions(self, request: LogoutRequest) -> None:
        identities = self.parts.identities
        user = await identities.find(request.issuer, request.subject) if request.subject else None
        if request.sid:
            handles = await identities.end(request.issuer, request.sid)
            await self._record({user.id} if user else await self._users_of(handles), request)
            await self.sessions.destroy_many(handles, cause=Cause.LOGOUT)
        elif user is not None:
            await self._record({user.id}, request)
            where = Where(user=user.id, created_until=request.began_until)
            await self.sessions.destroy_where(where, cause=Cause.LOGOUT)

    async def _users_of(self, handles: list[str]) -> set[str]:
        found = await asyncio.gather(*map(self.sessions.inspect, handles))
        return {session.user for session in found if isinstance(session, Record) and session.user}

    async def _record(self, users: set[str], request: LogoutRequest) -> None:
        for user in users:
            await self.parts.events.note(self.actor(user), Action.LOG_OUT, request.issuer)


#: The routes of a server with a provider.
routes = [
    (START, StartPage),
    (CALLBACK, CallbackPage),
    (SIGNED_OUT, SignedOutPage),
    (r"/login/oidc/logout", BackChannelPage),
]
