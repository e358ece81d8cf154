"""Access control: the user's role, protection against forged requests, and recent passwords for sensitive actions.

It must not know pages, templates or API tokens.
"""

from __future__ import annotations

from contextlib import suppress
from functools import cached_property
from typing import Any, NoReturn

from tornado.web import HTTPError
from typing_extensions import override

from tornado_sessions.codec import JSONValue
from tornado_sessions.cookie import cookie_values
from tornado_sessions.errors import DecodeError, UsageError
from tornado_sessions.manager import Sessions
from tornado_sessions.mixin import SessionMixin
from tornado_sessions.server.dashboard_parts import DashboardParts
from tornado_sessions.server.operations.people import Person
from tornado_sessions.server.roles import Role
from tornado_sessions.server.web.methods import MethodHandler
from tornado_sessions.server.web.origins import Source, origin_of, source_of

__all__ = ["PASSWORD_FRESH_FOR", "SAFE_METHODS", "AccessHandler"]

#: How long after the password was entered sensitive actions are allowed, in seconds.
PASSWORD_FRESH_FOR = 300.0
#: Methods that change nothing (RFC 9110, 9.2.1).
SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})

# Maximum difference between the clocks of two hosts, in seconds. A password time further in the future does not count:
# otherwise a clock that was an hour ahead for a moment would keep the password fresh for an hour.
_CLOCK_SKEW = 60.0
_MAX_FIELDS = 600


class AccessHandler(SessionMixin, MethodHandler):
    """Base of all handlers that check who the user is."""

    #: The roles that requests with a safe method and with other methods require. ``None``: none, not even a user.
    role_to_view: Role | None = None
    role_to_act: Role | None = None
    #: Whether other sites may not even link here: the GET costs something, or is not a page.
    own_pages_only = False
    #: The role of the user; ``Role.USER`` for anonymous requests.
    role = Role.USER
    #: Who is signed in; ``None`` for anonymous requests, and until ``authenticate``.
    person: Person | None = None
    #: Whether the user's sign-in requires a code.
    two_steps = False
    #: Whether the user has a password. Others prove who they are by a new sign-in.
    has_password = True

    @property
    @override
    def sessions(self) -> Sessions:
        return self.site.sessions

    @property
    def parts(self) -> DashboardParts:
        """The objects with which operators work."""
        return self.site.parts

    @cached_property
    def source(self) -> Source:
        """Whether our own page, the user or another site caused this request."""
        return source_of(self.request.headers, self.origins)

    @cached_property
    def origins(self) -> frozenset[str]:
        """The origins of this server: as the request names it, and the public one."""
        # Not ``is_secure``, which needs the session: a foreign request is refused before its session is loaded.
        scheme = "https" if self.sessions.proxies.of(self.request).secure else "http"
        return frozenset({origin_of(f"{scheme}://{self.request.host}"), self.site.origin} - {""})

    async def prepare(self) -> None:
        """Load the session, then refuse a forged, oversized or unauthorized request."""
        if self.request.method != "OPTIONS":
            self._check_source()
        await super().prepare()
        if self.site.ready is not None:
            await self.site.ready()
        if self.request.method == "OPTIONS":
            # The methods of a route are no secret.
            return
        if sum(map(len, self.request.body_arguments.values())) > _MAX_FIELDS:
            raise HTTPError(400, "too many fields")
        # A method that this route does not have does nothing, and is answered with 405.
        if self.request.method not in SAFE_METHODS and self.request.method in self.allowed():
            self.check_form()
        await self.authorize()

    async def authorize(self) -> None:
        """Refuse the request unless its user has the required role.

        A long-lived response calls it repeatedly: the role, or the API token, may be withdrawn in the meantime.
        """
        user = await self.authenticate()
        self._describe_user(user)
        if user is not None:
            self.site.people_seen.add(self.request.headers, user, is_operator=self.role.is_staff)
        required = self.role_to_view if self.request.method in SAFE_METHODS else self.role_to_act
        if required is None:
            return
        if user is None:
            self.refuse_visitor()
        if not self.role.at_least(required):
            raise HTTPError(403)

    def _check_source(self) -> None:
        """Refuse requests that another site caused, except that it may link to a page (a resource isolation policy)."""
        if self.source is not Source.FOREIGN:
            return
        is_link = (
            self.request.method in SAFE_METHODS and self.request.headers.get("Sec-Fetch-Mode", "navigate") == "navigate"
        )
        if self.own_pages_only or not is_link:
            raise HTTPError(403, "another site caused this request")

    def _describe_user(self, user: str | None) -> None:
        # For the log records of this request. Its session may still begin or end.
        context, handle = self.request_context, self.session.handle
        context.user, context.handle = user or context.user, handle or context.handle

    @override
    def _log(self) -> None:
        with suppress(UsageError):  # refused before its session was loaded
            self._describe_user(self.user_id)
        super()._log()

    async def authenticate(self) -> str | None:
        """Return the user of the request, or ``None`` if anonymous, and set ``role`` and ``two_steps``.

        Both are asked for at each request, so that a withdrawn role stops working at once.
        """
        self.person = person = await self.site.visitors.current(self)
        self.role = (person and person.role) or Role.USER
        self.two_steps = bool(person and person.two_steps)
        self.has_password = person is None or person.has_password
        return person.id if person is not None else None

    @property
    def user_id(self) -> str | None:
        """The id of the user, as far as this request knows it."""
        user: str | None = self.person.id if self.person is not None else self.session.user
        return user

    def refuse_visitor(self) -> NoReturn:
        """Refuse an anonymous request to a handler that requires a user."""
        raise HTTPError(401)

    # --- cookies -------------------------------------------------------------------------------------------------

    def kept_value(self, kind: str) -> str | None:
        """Return the value of a cookie of ours other than the session's; see ``Site.cookie``."""
        return self.get_cookie(self.site.cookie(kind, secure=self.is_secure))

    def keep_value(self, kind: str, value: str, **attributes: Any) -> None:
        """Set a cookie of ours other than the session's. ``attributes`` are further arguments of Tornado's ``set_cookie``."""
        self.set_cookie(self.site.cookie(kind, secure=self.is_secure), value, **self._cookie_attributes, **attributes)

    def drop_value(self, kind: str) -> None:
        """Remove a cookie that ``keep_value`` has set. Browsers ignore a removal that lacks its attributes."""
        self.clear_cookie(self.site.cookie(kind, secure=self.is_secure), **self._cookie_attributes)

    @property
    def _cookie_attributes(self) -> dict[str, Any]:
        path = self.site.url("") or "/"
        return {"path": path, "secure": self.is_secure, "httponly": True, "samesite": "Lax"}

    # --- forms ---------------------------------------------------------------------------------------------------

    def form_value(self, name: str, *, strip: bool = True) -> str:
        """Return a field of the posted form, or an empty string. Only the body is read."""
        return _last_value(self.request.body_arguments, name, strip=strip)

    def query_value(self, name: str, *, strip: bool = True) -> str:
        """Return a value of the URL's query string, or an empty string."""
        return _last_value(self.request.query_arguments, name, strip=strip)

    def form_token(self) -> str:
        """Return the value of a form's ``_xsrf`` field, the same in all forms of a response."""
        return self._form_token

    @cached_property
    def _form_token(self) -> str:
        bound_to = self._bound_to()
        if bound_to is None:
            value = self.site.form_tokens.new_visitor(self._visitor_cookie)
            self.keep_value("_xsrf", value)
            bound_to = (value,)
        return self.site.form_tokens.make(*bound_to)

    def check_form(self) -> None:
        """Refuse a request without the right form token, which another site may have sent (CSRF).

        The token counts in the body and in a header only: in a URL it would get into logs and ``Referer`` headers.
        """
        given = self.request.headers.get("X-XSRFToken") or self.form_value("_xsrf")
        bound_to = self._bound_to()
        if not given or bound_to is None or not self.site.form_tokens.accepts(given, *bound_to):
            raise HTTPError(403, "xsrf")

    def _bound_to(self) -> tuple[str, ...] | None:
        """Return what the form token of this request is bound to; ``None`` if there is nothing yet.

        That of a session becomes invalid when somebody signs in or out.
        """
        if self.session.handle is not None:
            return self.session.handle, self.session.user or ""
        return self._bound_to_visitor()

    def was_visitors_form(self) -> bool:
        """Return whether the form of this request was made for this browser before its user signed in."""
        given, header = self.form_value("_xsrf"), self.request.headers.get("Cookie")
        # The session of the cookie may have been replaced by the first copy of the form; the cookie still has its handle.
        handles = [token.handle for token in self.sessions.cookies.read(header, secure=self.is_secure)]
        bound_to = [self._bound_to_visitor(), *((handle, "") for handle in handles)]
        return any(values is not None and self.site.form_tokens.accepts(given, *values) for values in bound_to)

    def _bound_to_visitor(self) -> tuple[str, ...] | None:
        given = set(cookie_values(self.request.headers.get("Cookie", ""), self._visitor_cookie))
        genuine = [value for value in given if self.site.form_tokens.is_visitor(self._visitor_cookie, value)]
        # Of two, one was planted by another host or for another path, and there is no telling which.
        return (genuine[0],) if len(genuine) == 1 else None

    @property
    def _visitor_cookie(self) -> str:
        return self.site.cookie("_xsrf", secure=self.is_secure)

    # --- password ------------------------------------------------------------------------------------------------

    def own_key(self, key: str) -> str:
        """Return the name of a value that our pages keep in the session."""
        return self.site.session_prefix + key

    def own_value(self, key: str) -> JSONValue:
        """Return a value that our pages keep in the session; ``None`` without it.

        A value that cannot be decrypted, because its key is gone, counts as missing: the user only has to enter the password again.
        """
        try:
            value: JSONValue = self.session.get(self.own_key(key))
        except DecodeError:
            return None
        return value

    def mark_password_given(self, at: float | None = None, *, with_code: bool) -> None:
        """Record in the session when the password was entered, in UTC seconds; ``None``: now; and whether a code was."""
        self.session[self.own_key("proved_at")] = self.sessions.clock() if at is None else at
        self.session[self.own_key("proved_with_code")] = with_code

    @property
    def password_given_at(self) -> float:
        """The time at which the password was last entered in this session, in UTC seconds; 0.0 if never.

        It may differ from ``signed_in_at`` in both directions, because a session can be started without a password.
        """
        at = self.own_value("proved_at")
        return float(at) if isinstance(at, int | float) and not isinstance(at, bool) else 0.0

    def has_fresh_password(self) -> bool:
        """Return whether the password was entered in the last five minutes, and with two-step verification a code as well."""
        given_at = self.password_given_at
        if self.two_steps and self.own_value("proved_with_code") is not True:
            # Two-step verification was turned on after this session was started.
            given_at = 0.0
        return any(
            -_CLOCK_SKEW < self.sessions.clock() - at < PASSWORD_FRESH_FOR for at in (given_at, self._signed_in_at())
        )

    def _signed_in_at(self) -> float:
        """Return when the user last signed in, where that proves who they are, in UTC seconds; 0.0 if unknown."""
        if self.person is None:
            return 0.0
        at = self.person.proved_at
        if at is None and self.session.user == self.person.id:
            at = self.session.signed_in_at
        return at or 0.0

    def require_fresh_password(self) -> None:
        """Refuse a sensitive action unless the password was entered recently."""
        if not self.has_fresh_password():
            raise HTTPError(403, "sign in again: this requires a password entered in the last 5 minutes")


def _last_value(arguments: dict[str, list[bytes]], name: str, *, strip: bool) -> str:
    # ``get_argument`` would replace control characters, so that a user ID that contains one could not be found.
    values = arguments.get(name)
    if not values:
        return ""
    try:
        text = values[-1].decode()
    except UnicodeDecodeError:
        raise HTTPError(400, "a field is not UTF-8") from None
    return text.strip() if strip else text
