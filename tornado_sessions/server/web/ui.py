"""Building blocks of templates: names available in all templates, and UI modules for fields, tables and rows.

Forms are written ``{% apply form("/login") %} … {% end %}``, which always adds the form token. It must not know any page.
"""

from __future__ import annotations

import math
import re
import time
from collections.abc import Callable, Iterable, Mapping
from enum import Enum
from types import SimpleNamespace
from typing import Any, Protocol, cast

from tornado.escape import to_unicode, xhtml_escape
from tornado.web import RequestHandler, UIModule

from tornado_sessions.record import Cause, SessionSummary, Tombstone
from tornado_sessions.server import display
from tornado_sessions.server.languages import Language
from tornado_sessions.server.operations.action_names import ENDS_SESSIONS, Action
from tornado_sessions.server.operations.tokens import Scope
from tornado_sessions.server.roles import Role
from tornado_sessions.server.web import words

__all__ = ["MODULES", "Form", "entry_detail", "hidden_fields", "names", "when"]

_UNKNOWN = "–"
#: The stored forms of targets in the audit log: a duration, a token with its scopes, and filters (with the value of a time).
_SECONDS = re.compile(r"([0-9.]+) s")
_TOKEN = re.compile(r"(.*) \((.*)\)")
_FILTER = re.compile(rf"\b({'|'.join(words.FILTERS)})=(?:(?<=_since=)([0-9.]+))?")
_NAMES: Mapping[type[Enum], Mapping[Any, str]] = {
    type(next(iter(table))): table
    for table in (words.CAUSES, words.ROLES, words.SORTS, words.JOB_STATES, words.GRADES, words.SCOPES)
}

#: Texts of audit entries in a user's own activity. An action that a later version has added is shown by its stored name.
_EVENTS: Mapping[Action, str] = {**words.ACTIONS, **words.OWN_EVENTS}


class _Site(Protocol):
    """What templates use of ``Site``."""

    dashboard: str

    def url(self, path: str) -> str: ...


def names(handler: RequestHandler, language: Language, token: Callable[[], str]) -> dict[str, Any]:
    """Return the names available in all templates.

    Args:
        handler: the handler that renders the template.
        language: the user's language.
        token: creates a form token; called only for pages with a form.
    """
    translate: Callable[[Any], str] = language.translate
    site: _Site = handler.settings["site"]
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
        "form_token": token,
        "form": Form(token),
        "hidden_fields": hidden_fields,
        "table": table,
        "columns": SimpleNamespace,
        "when": lambda at: when(at, language),
        "device": lambda user_agent: language.device(display.device(user_agent)),
        "device_kind": lambda kind: translate(words.DEVICE_KINDS.get(kind, kind)),
        "damage_of": damage_of,
        "name_of": lambda value: translate(_NAMES[type(value)][value]),
        "action_name": lambda action: translate(words.ACTIONS.get(action, action)),
        "event_name": lambda action: translate(_EVENTS.get(action, action)),
        "entry_detail": lambda entry: entry_detail(entry.act, entry.target, language),
        "reason_text": lambda reason: reason_text(reason, language),
        "ending_text": lambda ended: ending_text(ended, language),
        "path": site.url(handler.request.path),
        "url": site.url,
        "admin_url": lambda path: site.url(site.dashboard + path),
        "Role": Role,
        "Action": Action,
        "ENDS_SESSIONS": ENDS_SESSIONS,
    }


def damage_of(item: object) -> str:
    """Return the description of a record's damage, or an empty string."""
    return str(getattr(item, "why", ""))


def when(at: float | None, language: Language) -> str:
    """Return a time as HTML: relative to now, with the exact time as the title."""
    if not at or not math.isfinite(at):
        # In a damaged record, an unreadable time is 0.0.
        return _UNKNOWN
    moment = display.in_calendar(at)
    distance = xhtml_escape(language.distance(moment.timestamp() - time.time()))
    return f'<time datetime="{moment:%Y-%m-%dT%H:%M:%SZ}" title="{xhtml_escape(language.moment(at))}">{distance}</time>'


def entry_detail(action: str, target: str, language: Language) -> str:
    """Return the target of an audit entry in the user's language, if it is more than a name."""
    if action == Action.LOG_IN:
        return language.device(target)
    if action == Action.END_EVERYBODY and target:
        return language.translate("except their own session")
    if target in words.ROLES:
        return language.translate(words.ROLES[Role(target)])
    if action == Action.BLOCK and (seconds := _SECONDS.fullmatch(target)):
        return language.duration(float(seconds[1]))
    if action == Action.CREATE_TOKEN and (token := _TOKEN.fullmatch(target)):
        scopes = [language.translate(words.SCOPES[scope]) for scope in Scope if scope in token[2].split()]
        return f"{token[1]} ({language.joined(scopes)})"
    if action == Action.END_MATCHING:
        return _FILTER.sub(lambda found: _filter_text(found[1], found[2], language), target)
    return target


def _filter_text(name: str, time: str | None, language: Language) -> str:
    value = language.moment(float(time)) if time else ""
    return f"{language.translate(words.FILTERS[name])}={value}"


def reason_text(reason: str, language: Language) -> str:
    """Return an operator's reason. A predefined reason at its start is translated."""
    usual, colon, own = reason.partition(": ")
    return f"{language.translate(usual)}{colon}{own}"


def ending_text(ended: Tombstone, language: Language) -> str:
    """Return a message for the user about why their session ended."""
    minutes = round((ended.expires_at - ended.last_seen_at) / 60)
    if ended.ending.cause is Cause.IDLE and minutes > 0:
        return language.plural(
            "You were signed out after %s minute of inactivity.",
            "You were signed out after %s minutes of inactivity.",
            minutes,
        )
    return language.translate(words.ENDINGS[ended.ending.cause])


class Form:
    """Wraps the content of an ``apply`` block in a form."""

    def __init__(self, token: Callable[[], str]) -> None:
        self._token = token

    def __call__(
        self, action: str = "", hidden: Mapping[str, str | int | Iterable[str]] | None = None, **attributes: object
    ) -> Callable[[bytes], str]:
        """Return a function that wraps HTML in a form with the method POST and its token.

        Args:
            action: the URL of the form; empty for the current page.
            hidden: the hidden fields, each with one text or several; empty texts are omitted.
            attributes: further attributes of the form.
        """
        start = f"<form{_attributes({'method': 'post', 'action': action or None, **attributes})}>"
        fields = hidden_fields({"_xsrf": self._token(), **(hidden or {})})
        return lambda body: f"{start}{fields}{to_unicode(body)}</form>"


def hidden_fields(values: Mapping[str, str | int | Iterable[str]]) -> str:
    """Return a hidden input for each text; empty texts are omitted."""
    found = []
    for name, value in values.items():
        texts = [str(value)] if isinstance(value, str | int) else list(value)
        found += [f'<input type="hidden" name="{name}" value="{xhtml_escape(text)}">' for text in texts if text]
    return "".join(found)


def table(caption: str, columns: SimpleNamespace, select: str = "") -> Callable[[bytes], str]:
    """Return a function that wraps rows of HTML in a table.

    Args:
        caption: the caption for screen readers.
        columns: the headings; empty for a column that needs none, such as one with buttons.
        select: the heading, for screen readers, of a first column of checkboxes; empty for none.
    """
    heads = [f'<td><span class="visually-hidden">{xhtml_escape(select)}</span></td>'] if select else []
    heads += [f'<th scope="col">{xhtml_escape(text)}</th>' if text else "<td></td>" for text in vars(columns).values()]
    start = (
        f'<table class="data-table"><caption class="visually-hidden">{xhtml_escape(caption)}</caption>'
        f"<thead><tr>{''.join(heads)}</tr></thead><tbody>"
    )
    return lambda body: f"{start}{to_unicode(body)}</tbody></table>"


def _attributes(values: Mapping[str, object]) -> str:
    """Return HTML attributes. ``True`` means without a value, ``None`` and ``False`` omit it; ``_`` is written as a hyphen."""
    parts = []
    for name, value in values.items():
        if value is True:
            parts.append(f" {_written(name)}")
        elif value is not None and value is not False:
            parts.append(f' {_written(name)}="{xhtml_escape(str(value))}"')
    return "".join(parts)


def _written(name: str) -> str:
    return name.removesuffix("_").replace("_", "-")


class Field(UIModule):
    """A labelled input with a hint and an error message."""

    def render(
        self, name: str, label: str, *, field_id: str = "", error: str = "", hint: str = "", **attributes: object
    ) -> bytes:
        """Render the field. ``field_id`` defaults to ``name``; ``attributes`` are further attributes of the input."""
        field_id = field_id or name
        described = [f"{field_id}-{part}" for part, text in (("hint", hint), ("error", error)) if text]
        more = {
            "aria_invalid": "true" if error else None,
            "aria_describedby": " ".join(described) or None,
        }
        written = _attributes({"id": field_id, "name": name, **attributes, **more})
        return self.render_string(
            "modules/field.html", field_id=field_id, label=label, attributes=written, error=error, hint=hint
        )


class Select(UIModule):
    """A labelled drop-down list."""

    def render(
        self, name: str, label: str, options: Iterable[tuple[object, str]], *, chosen: object = "", **attributes: object
    ) -> bytes:
        """Render the list. ``options`` are values with their texts, ``chosen`` is the selected value."""
        written = _attributes({"id": name, "name": name, **attributes})
        items = [(str(value), text, str(value) == str(chosen)) for value, text in options]
        return self.render_string("modules/select.html", field_id=name, label=label, attributes=written, options=items)


class _Handler(Protocol):
    """The attributes that these modules use of their handler."""

    language: Language


# The modules that every row uses do without templates, which would take longer to render than the rest of the page.


class SessionBadges(UIModule):
    """Badges that mark damaged sessions and the user's own session."""

    def render(self, item: SessionSummary, own: str | None, label: str) -> str:
        """Render the badges. ``own`` is the handle of the user's session, ``label`` the text of its badge."""
        badges = []
        if why := damage_of(item):
            text = cast("_Handler", self.handler).language.translate("damaged")
            badges.append(
                f'<span class="badge badge-bad" title="{xhtml_escape(why[:200])}">{xhtml_escape(text)}</span>'
            )
        if item.handle == own:
            badges.append(f'<span class="badge">{xhtml_escape(label)}</span>')
        return " ".join(badges)


class IpAddress(UIModule):
    """An IP address with its location, if the application provides one."""

    def render(self, ip: str) -> str:
        """Render the address."""
        place = self.handler.settings["site"].place(ip)
        address = xhtml_escape(ip[:64])
        return f'<span>{address} <span class="muted">{xhtml_escape(place)}</span></span>' if place else address


class _Piece(UIModule):
    """A template that several pages use."""

    template = ""

    def render(self, **values: object) -> bytes:
        """Render the template with these values."""
        return self.render_string(f"modules/{self.template}.html", **values)


def _piece(template: str) -> type[UIModule]:
    return type(template.title().replace("_", ""), (_Piece,), {"template": template})


#: The UI modules by their names in templates.
MODULES: dict[str, type[UIModule]] = {
    "Field": Field,
    "Select": Select,
    "Checkbox": _piece("checkbox"),
    "PasswordField": _piece("password_field"),
    "CodeField": _piece("code_field"),
    "ConfirmPassword": _piece("confirm_password"),
    "Reason": _piece("reason"),
    "Notice": _piece("notice"),
    "FormFaults": _piece("form_faults"),
    "SessionBadges": SessionBadges,
    "SessionEnding": _piece("session_ending"),
    "SessionTable": _piece("session_table"),
    "SessionLine": _piece("session_line"),
    "AuditTable": _piece("audit_table"),
    "IpAddress": IpAddress,
    "Checks": _piece("checks"),
}
