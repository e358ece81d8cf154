"""``Letter``: what the outbox stores of a mail, and the words of each kind, as text and HTML.

It must not know accounts, stores or how a mail is sent.
"""

from __future__ import annotations

from enum import StrEnum
from html import escape
from typing import Any, NamedTuple

import msgspec

from tornado_sessions.messages import N_, Message
from tornado_sessions.server.languages import Language

__all__ = ["Kind", "Letter", "Words", "written"]


class Kind(StrEnum):
    """The kinds of mails. The values are stored."""

    RECOVER = "recover"
    REGISTER = "register"
    HAS_ACCOUNT = "has account"
    CONFIRM = "confirm"
    NEW_DEVICE = "new device"
    PASSWORD_CHANGED = "password changed"
    PASSWORD_RESET = "password reset"
    EMAIL_CHANGED = "email changed"
    TWO_STEPS_ON = "two steps on"
    TWO_STEPS_OFF = "two steps off"
    TWO_STEPS_RESET = "two steps reset"
    RECOVERY_CODE = "recovery code"


class Letter(msgspec.Struct, frozen=True, kw_only=True):
    """A mail before it is sent. It contains no link: links are made when it is sent. A field added later needs a default.

    Attributes:
        id: identifies the mail, so that programs recognise a copy of it.
        kind: see ``Kind``.
        language: the code of the language of its reader.
        expires_at: when it becomes useless, in UTC seconds.
        user: the username, or what was typed instead of one.
        email: the address; empty if it is that of the account.
        password_hash: of a registration.
        extra: values of the application's fields of a registration.
        values: fill the words of the kind.
        attempts: how often it was tried.
        claimed_until: the end of the claim of the process that is sending it, in UTC seconds.
        deaths: how often such a process died before it knew the outcome.
        fault: why the last attempt failed; it names no address.
        replaces: the key of the record of the last attempt.
    """

    id: str
    kind: Kind
    language: str
    expires_at: float
    user: str = ""
    email: str = ""
    password_hash: str = ""
    extra: dict[str, Any] = {}
    values: tuple[str, ...] = ()
    attempts: int = 0
    claimed_until: float = 0.0
    deaths: int = 0
    fault: str = ""
    replaces: str = ""


class Words(NamedTuple):
    """The words of a mail in English. ``label`` is the text of its link; the first ``%s`` of all is the username."""

    subject: str
    paragraphs: tuple[str, ...]
    label: str = ""


_IGNORE = N_("If this wasn't you, ignore this email. Nothing changes without the link.")
_ALARM = N_("If this wasn't you, reset your password and contact an administrator.")
#: The words of each kind. A paragraph with placeholders gets as many of the values as it has, from the first one on.
WORDS = {
    Kind.RECOVER: Words(
        N_("Choose a new password"),
        (
            N_("Somebody, hopefully you, asked to reset the password of %s. The link works once, for 30 minutes."),
            _IGNORE,
        ),
        N_("Choose a new password"),
    ),
    Kind.REGISTER: Words(
        N_("Confirm your email to create your account"),
        (N_("Confirm this address to create the account %s. The link works once, for 24 hours."), _IGNORE),
        N_("Create account"),
    ),
    Kind.HAS_ACCOUNT: Words(
        N_("You already have an account"),
        (
            N_(
                "Somebody, hopefully you, wants to use this address for the account %s. Another account has it already."
            ),
            N_(
                "If you have forgotten its password, choose a new one. Otherwise ignore this email. Nothing has changed."
            ),
        ),
        N_("Choose a new password"),
    ),
    Kind.CONFIRM: Words(
        N_("Confirm your email"),
        (N_("Confirm that this address is that of %s. The link works once, for 24 hours."), _IGNORE),
        N_("Confirm email"),
    ),
    Kind.NEW_DEVICE: Words(
        N_("Sign-in from a new device"), (N_("%s has signed in with a new device: %s, from %s, on %s."), _ALARM)
    ),
    Kind.PASSWORD_CHANGED: Words(
        N_("Your password has been changed"),
        (N_("The password of %s has been changed, and the other devices have been signed out."), _ALARM),
    ),
    Kind.PASSWORD_RESET: Words(
        N_("Your password has been reset"),
        (N_("An administrator has reset the password of %s. Ask them for the link to choose a new one."),),
    ),
    Kind.EMAIL_CHANGED: Words(
        N_("Your email has been changed"),
        (
            N_("The email address of %s has been changed. This address gets no further emails about the account."),
            _ALARM,
        ),
    ),
    Kind.TWO_STEPS_ON: Words(
        N_("Two-step verification is on"), (N_("Two-step verification of %s has been turned on."), _ALARM)
    ),
    Kind.TWO_STEPS_OFF: Words(
        N_("Two-step verification is off"), (N_("Two-step verification of %s has been turned off."), _ALARM)
    ),
    Kind.TWO_STEPS_RESET: Words(
        N_("Two-step verification can be turned off"),
        (N_("An administrator has made a link that turns two-step verification of %s off."), _ALARM),
    ),
    Kind.RECOVERY_CODE: Words(
        N_("A recovery code has been used"), (N_("A recovery code of %s has been used."), _ALARM)
    ),
}

_HTML = """<!DOCTYPE html>
<html lang="{tag}"><head><meta charset="utf-8"><meta name="referrer" content="no-referrer"><title>{subject}</title></head>
<body style="margin:0 auto;padding:24px;max-width:560px;font:16px/1.5 system-ui,sans-serif;color:#1c1f24">
<h1 style="font-size:20px">{subject}</h1>
{body}
<p style="color:#5b6270;font-size:14px">{sender}</p>
</body></html>
"""
_BUTTON = (
    '<p><a href="{link}" style="display:inline-block;padding:10px 16px;border-radius:8px;background:#2556c4;'
    'color:#fff;text-decoration:none">{label}</a></p>\n<p style="word-break:break-all">{link}</p>'
)


def written(letter: Letter, language: Language, link: str, sender: str) -> tuple[str, str, str]:
    """Return the subject of a mail, and its body as text and as HTML.

    Args:
        letter: what it says.
        language: of its reader.
        link: the URL that it offers; empty for none.
        sender: the address of the server, which its reader knows.
    """
    words, values = WORDS[letter.kind], (letter.user, *letter.values)
    subject = language.translate(words.subject)
    said = [language.say(Message(text, values[: text.count("%s")])) for text in words.paragraphs]
    shown = [f"<p>{escape(text)}</p>" for text in said]
    if link:
        said.insert(1, link)
        shown.insert(1, _BUTTON.format(link=escape(link), label=escape(language.translate(words.label))))
    text = "\n\n".join([*said, "-- \n" + sender]) + "\n"
    html = _HTML.format(tag=language.tag, subject=escape(subject), body="\n".join(shown), sender=escape(sender))
    return subject, text, html
