"""The names that all templates know. It must not know any page."""

from __future__ import annotations

import time
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any, Protocol
from urllib.parse import urlencode

from tornado.httputil import HTTPServerRequest
from tornado.web import RequestHandler

from tornado_sessions.server import display
from tornado_sessions.server.languages import Language
from tornado_sessions.server.operations.action_names import ENDS_SESSIONS, ON_ONE_SESSION, Action
from tornado_sessions.server.operations.ended import parameters_of
from tornado_sessions.server.operations.entries import Entry
from tornado_sessions.server.roles import Role
from tornado_sessions.server.web import words
from tornado_sessions.server.web.ui.markup import Form, Head, Icons, hidden_fields, table
from tornado_sessions.server.web.ui.texts import (
    EVENTS,
    NAMES,
    block_text,
    damage_of,
    ending_text,
    entry_detail,
    reason_text,
    value_text,
    when,
)
from tornado_sessions.server.web.ui.wrappers import Wrappers

__all__ = ["names"]


class _Site(Protocol):
    """What templates use of ``Site``."""

    dashboard: str
    home: str

    def url(self, path: str) -> str: ...

    def path_of(self, request: HTTPServerRequest) -> str: ...

    def called(self, user: str) -> str: ...


def names(handler: RequestHandler, site: _Site, language: Language, token: Callable[[], str]) -> dict[str, Any]:
    """Return the names available in all templates.

    Args:
        handler, site: the handler that renders the template, and its site.
        language: the user's language.
        token: creates a form token; called only for pages with a form.
    """
    icon = Icons(handler.static_url("icons.svg"))
    return {
        "form_token": token,
        "form": Form(token),
        "hidden_fields": hidden_fields,
        "icon": icon,
        "device_icon": display.picture,
        "table": table(icon),
        "columns": SimpleNamespace,
        "head": Head,
        "damage_of": damage_of,
        "called": site.called,
        "path": site.url(site.path_of(handler.request)),
        "url": site.url,
        "home": site.url(site.home),
        "admin_url": lambda path: site.url(site.dashboard + path),
        "Role": Role,
        "Action": Action,
        "ENDS_SESSIONS": ENDS_SESSIONS,
        "ON_ONE_SESSION": ON_ONE_SESSION,
        "ended_url": lambda entry: _ended_url(site, entry),
        **Wrappers(icon, language.translate).names(),
        **_texts(language, site.called),
    }


def _ended_url(site: _Site, entry: Entry) -> str:
    """Return the URL of the list of sessions that an action has ended; empty if there are none."""
    found = parameters_of(entry, time.time())
    return site.url(site.dashboard + "/?" + urlencode(found)) if found else ""


def _texts(language: Language, called: Callable[[str], str]) -> dict[str, Any]:
    translate: Callable[[Any], str] = language.translate
    return {
        "_": translate,
        "plural": language.plural,
        "say": language.say,
        "number": language.number,
        "duration": language.duration,
        "moment": language.moment,
        "clock": language.clock,
        "joined": language.joined,
        "sentences": language.sentences,
        "language": language,
        "comma": language.comma,
        "colon": language.colon,
        "when": lambda at: when(at, language),
        "device": lambda user_agent: language.device(display.device(user_agent)),
        "device_kind": lambda kind: translate(words.DEVICE_KINDS.get(kind, kind)),
        "value_text": lambda value: value_text(value, language),
        "block_text": lambda until: block_text(until, language),
        "role_text": lambda role: translate(words.ROLE_TEXTS[role]),
        "name_of": lambda value: translate(NAMES[type(value)][value]),
        "action_name": lambda action: translate(words.ACTIONS.get(action, action)),
        "job_name": lambda job: translate(words.JOBS.get(job.entry.act, job.entry.act)),
        "event_name": lambda action: translate(EVENTS.get(action, action)),
        "entry_detail": lambda entry: entry_detail(entry.act, entry.target, language, called),
        "reason_text": lambda reason: reason_text(reason, language),
        "ending_text": lambda ended: ending_text(ended, language),
    }
