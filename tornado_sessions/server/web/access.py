"""Who is let in: the user and the role, the token against forged forms, and whether the password was given recently.

It must not know pages, templates or API tokens.
"""

from __future__ import annotations

import hmac
from hashlib import sha256
from typing import NoReturn

from tornado.web import HTTPError, RequestHandler

from tornado_sessions.mixin import SessionMixin
from tornado_sessions.server.parts import Parts
from tornado_sessions.server.roles import Role
from tornado_sessions.server.web.site import Site

__all__ = ["PASSWORD_FRESH_FOR", "SAFE_METHODS", "AccessHandler"]

#: Seconds for which a password that was given allows actions with consequences.
PASSWORD_FRESH_FOR = 300.0
#: Methods that change nothing (RFC 9110, 9.2.1).
SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})

# Seconds by which the clocks of two hosts may differ. A password given further ahead than this does not count: a clock
# that ran fast for a moment would otherwise make it fresh for as long as it was ahead.
_CLOCK_SKEW = 60.0
_MAX_FIELDS = 600


class AccessHandler(SessionMixin, RequestHandler):
    """Base of every handler that has a user."""

    #: The role that a request needs: with a safe method, and with any other. ``None``: everybody is let in.
    role_to_view: Role | None = None
    role_to_act: Role | None = None
    #: The role of the user; visitors have the lowest.
    role = Role.USER

    @property
    def site(self) -> Site:
        """What the handlers of this application share."""
        site: Site = self.settings["site"]
        return site

    @property
    def parts(self) -> Parts:
        """What the server works with."""
        return self.site.parts

    async def prepare(self) -> None:
        """Load the session, then refuse a request that is forged, oversized or not permitted."""
        await super().prepare()
        if sum(map(len, self.request.body_arguments.values())) > _MAX_FIELDS:
            raise HTTPError(400, "too many fields")
        if self.request.method not in SAFE_METHODS:
            self.check_form()
        user = await self.authenticate()
        required = self.role_to_view if self.request.method in SAFE_METHODS else self.role_to_act
        if required is None:
            return
        if user is None:
            self.refuse_visitor()
        if not self.role.at_least(required):
            raise HTTPError(403)

    async def authenticate(self) -> str | None:
        """Return who makes the request, ``None`` for a visitor, and set ``role``.

        The role is read from the account each time: a session does not keep a role that was taken away.
        """
        user: str | None = self.session.user
        if user is not None:
            self.role = await self.parts.accounts.role_of(user)
        return user

    def refuse_visitor(self) -> NoReturn:
        """Answer a request that needs a user and has none."""
        raise HTTPError(401)

    # --- forms ---------------------------------------------------------------------------------------------------

    def form_value(self, name: str, *, strip: bool = True) -> str:
        """Return a field of the posted form, from the body only; empty when it is missing."""
        return _last_value(self.request.body_arguments, name, strip=strip)

    def query_value(self, name: str, *, strip: bool = True) -> str:
        """Return a value of the URL's query; empty when it is missing."""
        return _last_value(self.request.query_arguments, name, strip=strip)

    def form_token(self) -> str:
        """Return the value of a form's ``_xsrf`` field."""
        return self._session_token() or self.xsrf_token.decode("ascii")

    def check_form(self) -> None:
        """Refuse a request without the right form token: another site may have sent it."""
        given = self.request.headers.get("X-XSRFToken") or self.form_value("_xsrf")
        if not given:
            raise HTTPError(403, "xsrf")
        expected = self._session_token()
        if expected is None:
            # A visitor has no session: Tornado compares the token with a cookie. It also accepts a token in the URL,
            # where it would end up in logs and Referer headers, so that one is removed first.
            self.request.arguments.pop("_xsrf", None)
            self.request.headers["X-XSRFToken"] = given
            try:
                self.check_xsrf_cookie()
            except HTTPError:
                raise HTTPError(403, "xsrf") from None
        elif not hmac.compare_digest(given.encode("utf-8", "replace"), expected.encode()):
            raise HTTPError(403, "xsrf")

    def _session_token(self) -> str | None:
        """Bound to session and user, so that a token from before a sign-in, or of another session, is worthless."""
        handle = self.session.handle
        if handle is None:
            return None
        text = f"{handle}\0{self.session.user or ''}"
        return hmac.new(self.site.form_key, text.encode(), sha256).hexdigest()

    # --- password ------------------------------------------------------------------------------------------------

    def mark_password_given(self, at: float | None = None) -> None:
        """Record in the session that the password was given at this time, in UTC seconds; ``None``: now."""
        self.session["proved_at"] = self.sessions.clock() if at is None else at

    @property
    def password_given_at(self) -> float:
        """When the password was last given in this session, in UTC seconds; 0.0: never.

        It may be later or earlier than ``signed_in_at``: a session can get its user without a password.
        """
        at = self.session.get("proved_at")
        return float(at) if isinstance(at, int | float) and not isinstance(at, bool) else 0.0

    def has_fresh_password(self) -> bool:
        """Return whether the password was given in the last five minutes."""
        return -_CLOCK_SKEW < self.sessions.clock() - self.password_given_at < PASSWORD_FRESH_FOR

    def require_fresh_password(self) -> None:
        """Refuse an action with consequences when the password was given long ago."""
        if not self.has_fresh_password():
            raise HTTPError(403, "sign in again: this needs a password given in the last 5 minutes")


def _last_value(arguments: dict[str, list[bytes]], name: str, *, strip: bool) -> str:
    # Not ``get_argument``: it replaces control characters, and a user ID that contains one would never be found.
    values = arguments.get(name)
    if not values:
        return ""
    try:
        text = values[-1].decode()
    except UnicodeDecodeError:
        raise HTTPError(400, "a field is not UTF-8") from None
    return text.strip() if strip else text
