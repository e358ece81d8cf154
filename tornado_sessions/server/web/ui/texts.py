"""Sentences and times of templates in the reader's language. It must not know HTML, except of a time."""

from __future__ import annotations

import math
import re
import time
from collections.abc import Callable, Mapping
from enum import Enum
from typing import Any

from tornado.escape import xhtml_escape

from tornado_sessions.messages import N_
from tornado_sessions.record import Cause, Tombstone
from tornado_sessions.server import display
from tornado_sessions.server.languages import Language
from tornado_sessions.server.operations.action_names import Action
from tornado_sessions.server.operations.people import NO_END
from tornado_sessions.server.operations.tokens import Scope
from tornado_sessions.server.roles import Role
from tornado_sessions.server.web import words

__all__ = [
    "EVENTS",
    "NAMES",
    "block_text",
    "damage_of",
    "ending_text",
    "entry_detail",
    "filter_text",
    "reason_text",
    "value_text",
    "when",
]

_UNKNOWN = "–"
#: The stored forms of targets in the audit log: a duration, a token with its scopes, and filters (with the value of a time).
_SECONDS = re.compile(r"([0-9.]+) s")
_TOKEN = re.compile(r"(.*) \((.*)\)")
_FILTER = re.compile(rf"(?:^| )({'|'.join(words.FILTERS)})=")
_REFUSED = re.compile(rf"(4[0-9]{{2}}) [A-Za-z ]+, as ({'|'.join(Role)})")
_LEFT_OUT = re.compile(r"([0-9]{1,9}) more requests")
_NUMBER = re.compile(r"[0-9]{1,12}(?:\.[0-9]+)?")
_QUOTED = re.compile(r"'([^']*)'")
#: The texts of values of filters.
_FILTER_VALUES: Mapping[str, Mapping[str, str]] = {
    "signed_in": {"True": N_("Yes"), "False": N_("No")},
    "suspicious": {"1": N_("Yes")},
    "kind": words.KINDS,
    "role": {role.value: text for role, text in words.ROLES.items()},
}
#: The texts of each kind of value.
NAMES: Mapping[type[Enum], Mapping[Any, str]] = {
    type(next(iter(table))): table
    for table in (words.CAUSES, words.ROLES, words.SORTS, words.JOB_STATES, words.GRADES, words.SCOPES)
}
#: Texts of audit entries in a user's own activity. An action that a later version has added is shown by its stored name.
EVENTS: Mapping[Action, str] = {**words.ACTIONS, **words.OWN_EVENTS}


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


def block_text(until: float | None, language: Language) -> str:
    """Return a sentence about a block of sign-ins with its end, in UTC seconds."""
    if until is None or until >= NO_END:
        return language.translate(N_("Sign-ins are blocked until somebody unblocks them."))
    return language.translate(N_("Sign-ins are blocked until %s.")) % language.moment(until)


def entry_detail(action: str, target: str, language: Language, called: Callable[[str], str] = str) -> str:
    """Return the target of an audit entry in the user's language, if it is more than a name. ``called`` names users."""
    if action == Action.LOG_IN:
        return language.device(target)
    if action == Action.END_EVERYBODY and target:
        return language.translate("except their own session")
    if action == Action.REFUSED and (left_out := _LEFT_OUT.fullmatch(target)):
        return language.plural("%s more request", "%s more requests", int(left_out[1]))
    if target in words.ROLES:
        return language.translate(words.ROLES[Role(target)])
    if action == Action.BLOCK and target == "no end":
        return language.translate(N_("without an end"))
    if action == Action.BLOCK and (seconds := _SECONDS.fullmatch(target)):
        return language.duration(float(seconds[1]))
    if action == Action.CREATE_TOKEN and (token := _TOKEN.fullmatch(target)):
        scopes = [language.translate(words.SCOPES[scope]) for scope in Scope if scope in token[2].split()]
        return f"{token[1]} ({language.joined(scopes)})"
    if action == Action.END_MATCHING:
        return " · ".join(_filter_texts(target, language, called))
    return target


def _filter_texts(target: str, language: Language, called: Callable[[str], str]) -> list[str]:
    """Return the filters of a bulk action, which the log stores as ``name=value``, in words."""
    # Names and values alternate, after the text before the first name.
    parts = _FILTER.split(target)
    found = [parts[0]] if parts[0] else []
    for name, value in zip(parts[1::2], parts[2::2], strict=True):
        shown = filter_text(name, value, language, called)
        found.append(language.translate(N_("%s: %s")) % (language.translate(words.FILTERS[name]), shown))
    return found


def filter_text(name: str, value: object, language: Language, called: Callable[[str], str] = str) -> str:
    """Return the value of a filter in words.

    Args:
        name: of a parameter of a list, or of a field of ``Where``.
        value: as in ``Where``, or its text in a URL or in the audit log.
        language: the reader's.
        called: returns the name of a user with an id.
    """
    text = str(value)
    if name == "user":
        return called(text)[:80]
    if name.endswith(("_since", "_until")) and _NUMBER.fullmatch(text):
        return language.moment(float(text))
    if name in ("signed_in_within", "idle_for") and _NUMBER.fullmatch(text):
        return language.duration(float(text))
    if name == "users":
        return language.joined(list(map(called, _QUOTED.findall(text))))[:200]
    if name == "device":
        return language.device(language.translate(words.DEVICE_KINDS.get(text, text)))[:80]
    texts = _FILTER_VALUES.get(name, {})
    return language.translate(texts[text]) if text in texts else text[:80]


def reason_text(reason: str, language: Language) -> str:
    """Return the reason of an audit entry: an operator's, translated if it is a predefined one, or that of a refusal."""
    if refused := _REFUSED.fullmatch(reason):
        status, role = refused.groups()
        title = language.translate(words.STATUSES.get(int(status), words.STATUSES[500]))
        role = language.translate(words.ROLES[Role(role)])
        return language.translate(N_("%s (%s), as %s")) % (title, status, role)
    usual, colon, own = reason.partition(": ")
    translated = language.translate(usual)
    # Keep the punctuation of a reason in the operator's own words.
    return translated + (language.colon + own if colon else "") if translated != usual else reason


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


def value_text(value: object, language: Language) -> str:
    """Return a value, a label or another text of an application's field as pages show it."""
    if isinstance(value, Mapping):
        return str(value.get(language.code) or next(iter(value.values()), ""))
    if value is None or value == "":
        return "–"
    if isinstance(value, bool):
        return language.translate(N_("Yes") if value else N_("No"))
    return str(value)
