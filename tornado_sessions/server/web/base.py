"""What pages and JSON answers share: security headers, language, notices, error pages.

It must not know any page or resource.
"""

from __future__ import annotations

import math
import time
from http.client import responses
from typing import Any, NamedTuple, NoReturn
from urllib.parse import quote

import msgspec
from tornado import locale
from tornado.escape import xhtml_escape
from tornado.web import Finish, HTTPError

from tornado_sessions.errors import SessionError
from tornado_sessions.messages import Message
from tornado_sessions.mixin import SessionMixin
from tornado_sessions.server.display import device, distance, exactly, in_calendar
from tornado_sessions.server.operations.action_names import ENDS_SESSIONS, Action
from tornado_sessions.server.roles import Role
from tornado_sessions.server.web.access import AccessHandler
from tornado_sessions.server.web.access_log import loggable

__all__ = ["NotFound", "PageHandler", "retry_after"]

_CSP = (
    "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; connect-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)


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

    def say(self, sentence: Message) -> str:
        """A sentence in this reader's language."""
        translated = self.locale.translate(sentence.text)
        return translated % sentence.values if sentence.values else translated

    def say_error(self, error: SessionError) -> str:
        """The message of an error in this reader's language."""
        sentence = getattr(error, "sentence", None)
        return self.say(sentence) if isinstance(sentence, Message) else self.locale.translate(str(error))

    def reason_of(self, reason: str) -> str:
        """A reason in this reader's language, where it begins with one of the usual words."""
        usual, colon, own = reason.partition(": ")
        return self.locale.translate(usual) + colon + own if usual else reason

    def notify(self, text: str, *values: str, kind: str = "good") -> None:
        """Say something on the next page; ``values`` fill the places of the translated text, ``bad`` is a kind as well."""
        self.session["notice"] = [kind, text, *values]

    def take_notice(self) -> Notice | None:
        """What the request before wanted to say, in this reader's language."""
        notice = self.session.pop("notice", None)
        if not isinstance(notice, list) or len(notice) < 2:
            return None
        kind, text, *values = map(str, notice)
        return Notice(kind, self.say(Message(text, tuple(values))))

    def set_cookie(self, name: str, value: str | bytes, *args: Any, **kwargs: Any) -> None:
        """As in Tornado; over https every cookie of these pages is for https alone."""
        if self.is_secure:
            kwargs["secure"] = True
        super().set_cookie(name, value, *args, **kwargs)

    # --- answers -------------------------------------------------------------------------------------------------

    def get_user_locale(self) -> locale.Locale | None:
        """The language that was chosen with a link, if any."""
        chosen = self.get_cookie("lang")
        return locale.get(chosen) if chosen in ("en_US", "zh") else None

    def get_template_namespace(self) -> dict[str, Any]:
        """Names that every template may use."""
        names = super().get_template_namespace()
        user = self.session.user
        names.update(
            user=user,
            role=self.role,
            form_token=self.form_token,
            say=self.say,
            reason_of=self.reason_of,
            when=self.when,
            when_exactly=exactly,
            device=device,
            place=self.site.place,
            damage_of=_damage_of,
            Role=Role,
            Action=Action,
            ENDS_SESSIONS=ENDS_SESSIONS,
            path=self.request.path,
        )
        return names

    def when(self, at: float | None) -> str:
        """A time as HTML: how long ago or from now, with the exact one for those who ask."""
        if not at or not math.isfinite(at):
            # Nothing is known: 0.0 stands for a time of a damaged record that cannot be read.
            return "–"
        moment = in_calendar(at)
        text = distance(at - time.time(), self.locale)
        return f'<time datetime="{moment.isoformat()}" title="{exactly(at)}">{xhtml_escape(text)}</time>'

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
        expired = isinstance(error, HTTPError) and error.log_message == "xsrf"
        if detail and isinstance(error, SessionError):
            detail = self.say_error(error)
        self.render("error.html", status=status_code, title=title, expired=expired, detail=detail)


class NotFound(PageHandler):
    """Any address that there is not."""

    def initialize(self) -> None:
        """Where programs ask, the answer is for them."""
        self.wants_json = f"{self.request.path}/".startswith("/admin/api/")

    async def prepare(self) -> None:
        """Load the session for the page's head, then say that there is nothing here."""
        await SessionMixin.prepare(self)
        raise HTTPError(404)


def _damage_of(item: object) -> str:
    """What is wrong with a damaged record; empty for a sound one."""
    return str(getattr(item, "why", ""))


def retry_after(error: object) -> str | None:
    """What ``Retry-After`` says of an error, in whole seconds; ``None`` where trying again does not help."""
    seconds = getattr(error, "retry_after", None)
    return None if seconds is None else str(max(1, math.ceil(seconds)))
