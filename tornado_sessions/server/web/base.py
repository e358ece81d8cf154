"""The base handler of pages and API: language, notices and error pages.

It must not know any page or resource. It has more than 300 lines because every response, also one to an error, needs all of it.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from functools import cached_property
from http.client import responses
from typing import Any, NamedTuple, NoReturn
from urllib.parse import quote

import msgspec
from tornado.httputil import HTTPServerRequest
from tornado.template import Loader
from tornado.util import ObjectDict
from tornado.web import Application, Finish, HTTPError, _UIModuleNamespace
from typing_extensions import override

from tornado_sessions.errors import SessionError, UsageError
from tornado_sessions.messages import N_, Message
from tornado_sessions.mixin import SessionMixin
from tornado_sessions.server.languages import CODES, Language, language, preferred
from tornado_sessions.server.operations.audit import Actor
from tornado_sessions.server.web import ui, words
from tornado_sessions.server.web.access import SAFE_METHODS, AccessHandler
from tornado_sessions.server.web.access_log import loggable
from tornado_sessions.server.web.local_paths import local_path, normalised
from tornado_sessions.server.web.outage import outage_of
from tornado_sessions.server.web.preferences import Preferences
from tornado_sessions.server.web.static_files import folder, static_url, templates

__all__ = ["NotFound", "PageHandler", "retry_after"]

_UNEXPECTED = N_("Go back and try again.")
_EXPLANATIONS = {
    403: N_("You don't have permission to view this page."),
    404: N_("We can't find that page."),
    503: N_("The server can't answer this at the moment. Please try again."),
}


class Notice(NamedTuple):
    """A message at the top of a page; its kind is ``good`` or ``bad``, its links are paths with their texts."""

    kind: str
    text: str
    links: tuple[tuple[str, str], ...] = ()


class PageHandler(AccessHandler):
    """Base of handlers that answer with HTML or, if ``wants_json`` is set, with JSON."""

    wants_json = False
    #: Whether people open this page while they are signed in. It is false for pages on which they sign in.
    is_for_signed_in = True

    @override
    async def destroy_session(self) -> None:
        had_session = self.session.handle is not None
        await super().destroy_session()
        if had_session:
            # Not "cookies": browsers would also clear those of other hosts of the same domain.
            # Below a prefix, the storage belongs to other applications as well.
            self.set_header("Clear-Site-Data", '"cache"' if self.site.prefix else '"cache", "storage"')

    @override
    def refuse_visitor(self) -> NoReturn:
        if self.wants_json:
            raise HTTPError(401)
        if self.request.headers.get("HX-Request"):
            # The request is for a part of a page. Reload the whole page, which redirects to the sign-in page.
            self.set_status(401)
            self.set_header("HX-Refresh", "true")
            self.finish()
            raise Finish
        self.to_sign_in(self.here)
        raise Finish

    @property
    def path(self) -> str:
        """The path of this request below the prefix."""
        return self.site.path_of(self.request)

    @property
    def here(self) -> str:
        """The URL of this page."""
        return self.site.url(self.path) + (f"?{self.request.query}" if self.request.query else "")

    def sign_in_url(self, following: str = "", *, again: bool = False) -> str:
        """Return the URL of the page on which people sign in, or sign in again; empty if the application names none.

        Args:
            following: where it leads afterwards; empty for the choice of that page.
            again: whether it is to prove who they are.
        """
        url = self.site.sign_in_url or str(self.application.settings.get("login_url") or "")
        url = (again and self.site.proof_url) or url
        if not url or not following:
            return url
        return f"{url}{'&' if '?' in url else '?'}next={quote(following, safe='')}"

    def to_sign_in(self, following: str, status: int = 302) -> None:
        """Redirect to the page on which people sign in; 401 if the application names none."""
        url = self.sign_in_url(following)
        if not url:
            raise HTTPError(401)
        super().redirect(url, status=status)

    @override
    def _request_summary(self) -> str:
        # For log lines: omit the query string and the token of a one-time link, which may be secret.
        return f"{self.request.method} {loggable(self.request.path)} ({self.request.remote_ip})"

    # --- audit log -------------------------------------------------------------------------------------------------

    def actor(self, name: str | None = None) -> Actor:
        """Return the author of this request's audit entries. ``name`` is the user, unless it is the one of the session."""
        try:
            user, handle = self.user_id, self.session.handle
        except UsageError:
            # The request was refused before its session was loaded.
            user = handle = None
        agent = self.request.headers.get("User-Agent", "")
        shown = name if name is not None else user or ""
        return Actor(shown, self.request_context.ip, self.role, agent, self.request_id, handle or "")

    @override
    def on_finish(self) -> None:
        super().on_finish()
        status = self.get_status()
        if status == 403 or (status == 401 and "Authorization" in self.request.headers):
            target = f"{self.request.method} {loggable(self.request.path)}"
            self.parts.events.refused(self.actor(), target, f"{status} {responses[status]}, as {self.role.value}")

    # --- language, preferences and notices ---------------------------------------------------------------------------------------

    @cached_property
    def language(self) -> Language:
        """The language that the user has chosen, or else the one that the browser prefers."""
        chosen = self.kept_value("lang")
        return language(chosen) if chosen in CODES else preferred(self.request.headers.get("Accept-Language", ""))

    @cached_property
    def preferences(self) -> Preferences:
        """How the user likes the pages."""
        return Preferences.read(self.kept_value("preferences"))

    def say(self, message: Message | str) -> str:
        """Return a message in the user's language."""
        return self.language.say(message)

    def say_error(self, error: SessionError) -> str:
        """Return the message of an error in the user's language."""
        message = getattr(error, "sentence", None)
        return self.say(message if isinstance(message, Message) else str(error))

    def notify(
        self, message: Message | str, *, kind: str = "good", links: Iterable[tuple[str, Message | str]] = ()
    ) -> None:
        """Show a message on the next page.

        Args:
            message: in English; it is translated when it is shown.
            kind: ``good`` or ``bad``.
            links: paths without the prefix, with their texts, that lead on from the message.
        """
        self.session[self.own_key("notice")] = [kind, _kept(message), [[path, _kept(text)] for path, text in links]]

    def take_notice(self) -> Notice | None:
        """Remove the notice of an earlier request from the session and return it in the user's language."""
        # HEAD must not use up the notice: its response does not show it.
        notice = self.own_value("notice")
        if notice is not None and self.request.method != "HEAD":
            del self.session[self.own_key("notice")]
        match notice:
            case [str(kind), [*message], [*links]]:
                shown = tuple((str(path), self.say(_message(text))) for path, text in links)
                return Notice(kind, self.say(_message(message)), shown)
        return None

    @override
    def redirect(self, url: str, permanent: bool = False, status: int | None = None) -> None:
        """Redirect to a path of this server, without the prefix. Anything else leads to the home page."""
        super().redirect(self.site.url(normalised(url) or self.site.home), permanent, status)

    def following(self, url: str) -> str | None:
        """Return the path of a URL that the client gave, for a redirect; ``None`` if it leads elsewhere or does something."""
        return local_path(url, self.origins, self.site.prefix)

    @override
    def static_url(self, path: str, include_host: bool | None = None, **kwargs: Any) -> str:
        return static_url(path, self.site.url("/static/"))

    @override
    def check_xsrf_cookie(self) -> None:
        """Do nothing: ``check_form`` checks our tokens, and the application's setting ``xsrf_cookies`` is about its own."""

    @override
    def get_template_path(self) -> str:
        return folder("templates")

    @override
    def create_template_loader(self, template_path: str) -> Loader:
        return templates()

    # --- answers -------------------------------------------------------------------------------------------------

    def __init__(self, application: Application, request: HTTPServerRequest, **kwargs: Any) -> None:
        super().__init__(application, request, **kwargs)
        # Templates see our components and nothing of the application's ``ui_modules`` and ``ui_methods``.
        modules = _UIModuleNamespace(self, ui.MODULES)
        self.ui = ObjectDict(_tt_modules=modules, modules=modules)
        #: What templates know while a page is drawn: all its components share it.
        self._shared_names: dict[str, Any] | None = None

    @override
    def render_string(self, template_name: str, **kwargs: Any) -> bytes:
        outer = self._shared_names
        self._shared_names = outer or self._make_names()
        try:
            return super().render_string(template_name, **kwargs)
        finally:
            self._shared_names = outer

    @override
    def get_template_namespace(self) -> dict[str, Any]:
        return dict(self._shared_names or self._make_names())

    def _make_names(self) -> dict[str, Any]:
        names = super().get_template_namespace()
        site = self.site
        shared: dict[str, Any] = {"user": self.user_id, "role": self.role, "two_steps": self.two_steps}
        shared |= {"preferences": self.preferences, "person_name": self.person.name if self.person else self.user_id}
        shared |= {
            "asks_password": self.asks_password,
            "proof_url": self.sign_in_url(self._page_to_return_to, again=True),
        }
        return {**names, **self._template_names, **site.names(), **shared}

    @property
    def asks_password(self) -> bool:
        """Whether the user proves who they are with a password, rather than with a new sign-in."""
        return self.site.visitors.can_verify and self.has_password

    @property
    def _page_to_return_to(self) -> str:
        """The page to return to after a new sign-in: this one, or the one with the submitted form. The form is not resubmitted."""
        if self.request.method in SAFE_METHODS:
            return self.here
        return self.site.url(self.following(self.request.headers.get("Referer", "")) or self.site.home)

    @cached_property
    def _template_names(self) -> dict[str, Any]:
        # Once per page, not once for each of its components.
        return ui.names(self, self.site, self.language, self.form_token)

    def answer(self, body: object, status: int = 200) -> None:
        """Send a JSON response."""
        self.set_status(status)
        self.set_header("Content-Type", "application/json")
        self.write(msgspec.json.encode(body))

    def set_error_status(self, error: SessionError, status: int | None = None) -> None:
        """Set ``Retry-After`` and the status, by default the error's own."""
        self.set_status(error.status if status is None else status)
        self._set_retry_after(error)

    def _set_retry_after(self, error: object) -> None:
        seconds = retry_after(error)
        if seconds is not None:
            self.set_header("Retry-After", seconds)

    @override
    def write_error(self, status_code: int, **kwargs: Any) -> None:
        """Send an error page or problem+json (RFC 9457), without a traceback.

        Messages of unexpected errors and of server errors are only logged, because they may contain host names.
        """
        error = (kwargs.get("exc_info") or (None, None))[1]
        self._set_retry_after(error)
        is_public = isinstance(error, SessionError) and (status_code < 500 or getattr(error, "is_public", False))
        shown = error if is_public and isinstance(error, SessionError) else None
        outage = outage_of(error) if shown is None else None
        if self.wants_json:
            detail = error.get_message() if isinstance(error, HTTPError) else str(shown or "")
            if outage is not None:
                detail = f"the store ({outage.backend}) does not answer ({outage.kind}); run the command check"
            self._answer_problem(status_code, detail or "", getattr(error, "members", {}))
            return
        title = self.say(words.STATUSES.get(status_code, words.STATUSES[500]))
        if outage is not None:
            title, detail = self.say("Sessions are temporarily unavailable"), self._explain_outage()
        elif shown is not None and str(shown):
            title, detail = self.say(getattr(shown, "title", title)), self.say_error(shown)
        elif isinstance(error, HTTPError) and error.log_message == "xsrf":
            title, detail = self.say("This page expired"), self.say("Reload it and try again.")
        else:
            detail = self._explain(status_code)
        retry = self._page_to_return_to if status_code == 503 else ""
        advice, leads = self.say(getattr(shown, "advice", "")), getattr(shown, "leads", ())
        names = {"title": title, "detail": detail, "advice": advice, "leads": leads}
        self.render("error.html", status=status_code, outage=outage, retry=retry, **names)

    def _explain_outage(self) -> str:
        # Without the store the user is unknown, but the cookie shows that there is a session. Leave the cookie alone.
        keeps = self.is_for_signed_in and self.sessions.cookies.read(
            self.request.headers.get("Cookie"), secure=self.is_secure
        )
        return self.say(
            N_("You have not been signed out, and nothing that was saved is lost.")
            if keeps
            else N_("Signing in is not possible at the moment. Please try again soon.")
        )

    def _answer_problem(self, status: int, detail: str, members: Mapping[str, object]) -> None:
        if status == 401:
            self.set_header("WWW-Authenticate", "Bearer")
        self.set_header("Content-Type", "application/problem+json")
        title = responses.get(status, "Error")
        problem = {"type": "about:blank", "title": title, "status": status, "detail": detail, **members}
        self.finish(msgspec.json.encode(problem))

    def _explain(self, status: int) -> str:
        if status == 403 and self.user_id:
            text = N_("You don't have permission to view this page. Signed in as %s.")
            return self.say(Message(text, (self.user_id,)))
        return self.say(_EXPLANATIONS.get(status, _UNEXPECTED))


class NotFound(PageHandler):
    """Answers 404 for every path without a handler."""

    @override
    def initialize(self) -> None:
        self.wants_json = f"{self.path}/".startswith(f"{self.site.dashboard}/api/")

    @override
    async def prepare(self) -> None:
        # The head of the page needs the session. The other checks are skipped because there is nothing to protect.
        await SessionMixin.prepare(self)
        raise HTTPError(404)

    @override
    def send_error(self, status_code: int = 500, **kwargs: Any) -> None:
        # Also for unknown methods, because there is no route here. TRACE and CONNECT are refused everywhere.
        is_missing = status_code == 405 and self.request.method not in ("TRACE", "CONNECT")
        super().send_error(404 if is_missing else status_code, **kwargs)


def _kept(message: Message | str) -> list[str | int]:
    """Return a message in the form in which a session keeps it."""
    text, values, many = message if isinstance(message, Message) else Message(message)
    return [text, many, *(value if isinstance(value, int) else str(value) for value in values)]


def _message(kept: list[str | int]) -> Message:
    text, many, *values = kept
    return Message(str(text), tuple(values), str(many) if values else "")


def retry_after(error: object) -> str | None:
    """Return the ``Retry-After`` value of an error in whole seconds; ``None`` if a retry does not help."""
    seconds = getattr(error, "retry_after", None)
    return None if seconds is None else str(max(1, math.ceil(seconds)))
