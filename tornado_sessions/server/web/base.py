"""What pages and JSON answers share: security headers, language, notices, error pages.

It must not know any page or resource.
"""

from __future__ import annotations

import math
from functools import cached_property
from http.client import responses
from typing import Any, NamedTuple, NoReturn
from urllib.parse import quote

import msgspec
from tornado.web import Finish, HTTPError

from tornado_sessions.errors import SessionError
from tornado_sessions.messages import N_, Message
from tornado_sessions.mixin import SessionMixin
from tornado_sessions.server.languages import CODES, Language, language, preferred
from tornado_sessions.server.web import ui, words
from tornado_sessions.server.web.access import AccessHandler
from tornado_sessions.server.web.access_log import loggable

__all__ = ["NotFound", "PageHandler", "retry_after"]

_CSP = (
    "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; connect-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)


_UNEXPECTED = N_("Something went wrong. Go back and try again.")
_EXPLANATIONS = {
    403: N_("You don't have permission to view this page."),
    404: N_("We can't find that page."),
    503: N_("Sessions are temporarily unavailable. You have not been signed out."),
}


class Notice(NamedTuple):
    """What a page says at its top: ``good`` or ``bad``, and the text."""

    kind: str
    text: str


class PageHandler(AccessHandler):
    """A page, or a JSON answer where ``wants_json`` is set."""

    wants_json = False

    def set_default_headers(self) -> None:
        """Headers of every answer, error pages included."""
        self.set_header("Server", "tornado_sessions")
        self.set_header("Content-Security-Policy", _CSP)
        self.set_header("X-Content-Type-Options", "nosniff")
        self.set_header("Referrer-Policy", "same-origin")
        self.set_header("Cross-Origin-Opener-Policy", "same-origin")

    def refuse_visitor(self) -> NoReturn:
        """Send a visitor to the sign-in page, and a program away."""
        if self.wants_json:
            raise HTTPError(401)
        self.redirect("/login?next=" + quote(self.request.uri or "/", safe=""))
        raise Finish

    def _request_summary(self) -> str:
        """Override: leave the query and the token of the setup link out of log lines."""
        return f"{self.request.method} {loggable(self.request.path)} ({self.request.remote_ip})"

    # --- language and notices ---------------------------------------------------------------------------------------

    @cached_property
    def language(self) -> Language:
        """The language that was chosen with a link, or else the one that the browser prefers."""
        chosen = self.get_cookie("lang")
        return language(chosen) if chosen in CODES else preferred(self.request.headers.get("Accept-Language", ""))

    def say(self, message: Message | str) -> str:
        """Return a message in this reader's language."""
        return self.language.say(message)

    def say_error(self, error: SessionError) -> str:
        """Return the message of an error in this reader's language."""
        message = getattr(error, "sentence", None)
        return self.say(message if isinstance(message, Message) else str(error))

    def notify(self, message: Message | str, *, kind: str = "good") -> None:
        """Show a message on the next page; its ``kind`` is ``good`` or ``bad``."""
        text, values, many = message if isinstance(message, Message) else Message(message)
        self.session["notice"] = [
            kind,
            text,
            many,
            *(value if isinstance(value, int) else str(value) for value in values),
        ]

    def take_notice(self) -> Notice | None:
        """Return what the request before wanted to say, in this reader's language."""
        notice = self.session.pop("notice", None)
        match notice:
            case [str(kind), str(text), str(many), *values]:
                numbers = [value if isinstance(value, int) else str(value) for value in values]
                return Notice(kind, self.say(Message(text, tuple(numbers), many if numbers else "")))
        return None

    def set_cookie(self, name: str, value: str | bytes, *args: Any, **kwargs: Any) -> None:
        """As in Tornado; over https every cookie of these pages is for https alone."""
        if self.is_secure:
            kwargs["secure"] = True
        super().set_cookie(name, value, *args, **kwargs)

    # --- answers -------------------------------------------------------------------------------------------------

    def get_template_namespace(self) -> dict[str, Any]:
        """Return the names that every template may use."""
        names = super().get_template_namespace()
        shared = {"user": self.session.user, "role": self.role, "place": self.site.place}
        return {**names, **ui.names(self, self.language, self.form_token), **shared}

    def answer(self, body: Any, status: int = 200) -> None:
        """A JSON answer."""
        self.set_status(status)
        self.set_header("Content-Type", "application/json")
        self.write(msgspec.json.encode(body))

    def set_error_status(self, error: SessionError, status: int | None = None) -> None:
        """Take status and ``Retry-After`` from an error.

        Args:
            error: what went wrong.
            status: another status than the error's own.
        """
        self.set_status(error.status if status is None else status)
        self._say_when_to_retry(error)

    def _say_when_to_retry(self, error: object) -> None:
        seconds = retry_after(error)
        if seconds is not None:
            self.set_header("Retry-After", seconds)

    def write_error(self, status_code: int, **kwargs: Any) -> None:
        """An error in the site's own style, or as problem+json (RFC 9457); never a trace."""
        error = (kwargs.get("exc_info") or (None, None))[1]
        self._say_when_to_retry(error)
        is_public = isinstance(error, SessionError) and (status_code < 500 or getattr(error, "is_public", False))
        detail = str(error) if is_public else ""
        if isinstance(error, HTTPError) and error.log_message and self.wants_json:
            detail = error.get_message() or ""
        title = responses.get(status_code, "Error")
        if self.wants_json:
            if status_code == 401:
                self.set_header("WWW-Authenticate", "Bearer")
            self.set_header("Content-Type", "application/problem+json")
            problem = {"type": "about:blank", "title": title, "status": status_code, "detail": detail}
            self.finish(msgspec.json.encode(problem))
            return
        if detail and isinstance(error, SessionError):
            detail = self.say_error(error)
        elif isinstance(error, HTTPError) and error.log_message == "xsrf":
            detail = self.say("This page expired. Reload it and try again.")
        else:
            detail = self._explain(status_code)
        title = self.say(words.STATUSES.get(status_code, words.STATUSES[500]))
        self.render("error.html", status=status_code, title=title, detail=detail)

    def _explain(self, status: int) -> str:
        """Return what a status means for the person who reads the page."""
        if status == 403 and self.session.user:
            return self.say(
                Message("You don't have permission to view this page. Signed in as %s.", (self.session.user,))
            )
        return self.say(_EXPLANATIONS.get(status, _UNEXPECTED))


class NotFound(PageHandler):
    """Any address that there is not."""

    def initialize(self) -> None:
        """Where programs ask, the answer is for them."""
        self.wants_json = f"{self.request.path}/".startswith("/admin/api/")

    async def prepare(self) -> None:
        """Load the session for the page's head, then say that there is nothing here."""
        await SessionMixin.prepare(self)
        raise HTTPError(404)


def retry_after(error: object) -> str | None:
    """What ``Retry-After`` says of an error, in whole seconds; ``None`` where trying again does not help."""
    seconds = getattr(error, "retry_after", None)
    return None if seconds is None else str(max(1, math.ceil(seconds)))
