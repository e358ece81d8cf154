"""``SecretFilter``: removes secrets from log records, whichever library wrote them. It must not know requests or stores.

This package logs no secrets, but others do: Tornado logs a malformed ``Cookie`` header with its value, and drivers log URLs.
"""

from __future__ import annotations

import logging
import re
import traceback
from collections.abc import Callable, Iterable
from urllib.parse import quote

from typing_extensions import override

__all__ = ["HIDDEN", "SecretFilter", "make_redactor"]

#: Stands where a secret was.
HIDDEN = "[hidden]"

# Characters of one text that are searched, and that remain. Headers of 64 KiB would otherwise fill the log, and cost time.
_MAX_SEARCHED = 16_000
_MAX_KEPT = 8_000
# A shorter secret, such as the password "redis", would also hide parts of ordinary words. The rules below find it in URLs.
_MIN_LITERAL = 6

_BAR, _COLON = r"(?:\||%(?:25)*7c)", r"(?::|%(?:25)*3a)"
# "setup" as a client may write it: in any case, each letter percent-encoded, also twice.
_SETUP = "".join(f"(?:{letter}|%(?:25)*(?:{ord(letter):x}|{ord(letter.upper()):x}))" for letter in "setup")

# Each rule: texts of which one must occur (a cheap test, in lower case), the pattern, and the replacement. No pattern
# backtracks over more than 500 characters, because clients choose the text.
_RULES = [
    # Header content, up to the end of the line: as sent, in a dict, in a list of pairs, and in Tornado's warnings.
    (
        ("cookie", "authorization", "xsrf"),
        r"((?:cookie2?|authorization|xsrf-?(?:token)?)(?:['\"]?\s*:|['\"]\s*,|=(?=\S)))[^\n]*",
        rf"\1 {HIDDEN}",
    ),
    (("invalid header", "cookie"), r"((?:invalid header|cookie|tampering)[a-z ]{0,60} b?['\"])[^\n]*", rf"\1{HIDDEN}"),
    (("bearer", "basic"), r"\b(bearer|basic)(?:\s|%20|\+)+[^\s'\"]{8,}", rf"\1 {HIDDEN}"),
    # Passwords in URLs, also unescaped ones: up to the last @.
    (("@",), r"(:/{1,3})[^\s'\"<>]{1,500}@", rf"\1{HIDDEN}@"),
    (
        ("password", "passwd", "secret", "token", "ticket", "code"),
        r"((?:password|passwd|secret|token|ticket|(?<![a-z_])code)(?:['\"]\s*:\s*|=)b?['\"]?)[^\s&'\",;)}]+",
        rf"\1{HIDDEN}",
    ),
    (("setup", "%"), rf"({_SETUP})[^a-z0-9\s'\"]{{1,20}}[^\s'\"<>]{{8,}}", rf"\1/{HIDDEN}"),
    # Cookies signed by Tornado, plain or percent-encoded; API tokens and session tokens, of which the handle is public.
    (("|", "%7c", "%257c"), rf"[0-9]{_BAR}[0-9]+{_COLON}[0-9]+{_BAR}[^\s'\",;]*", HIDDEN),
    (("ts_",), r"(?<![a-z0-9])(ts_(?:[a-z0-9]{18})?)[^\s'\"]{10,}", rf"\1{HIDDEN}"),
    (("",), r"(?<![a-z0-9])([a-z][a-z0-9]{17}\.)[a-z0-9]{20,}", rf"\1{HIDDEN}"),
    # The signatures of this package's other cookies and of tickets.
    ((".",), r"(?<=\.)[0-9a-f]{64}(?![0-9a-f])", HIDDEN),
    (("$argon2",), r"\$argon2[^\s'\"]+", HIDDEN),
]
_COMPILED = [(needles, re.compile(pattern, re.IGNORECASE), by) for needles, pattern, by in _RULES]
# Any other long random word. The lookbehind makes the search linear: a word is tried once, from its first letter.
_WORD = re.compile(r"(?<![A-Za-z0-9_-])[A-Za-z0-9_-]{32,}")
_KINDS = (re.compile("[a-z]"), re.compile("[A-Z]"), re.compile("[0-9]"))

# The attributes of every record. All others were added with ``extra=``.
_OWN = frozenset(logging.makeLogRecord({}).__dict__) | {"message", "asctime"}


def make_redactor(secrets: Iterable[str] = ()) -> Callable[[str], str]:
    """Return a function that removes secrets from a text, and shortens it to 8,000 characters.

    Args:
        secrets: texts to remove wherever they occur, such as signing keys and passwords. Those with fewer than six characters are
            ignored. Session cookies, tokens, the values of ``Cookie`` and ``Authorization`` headers, passwords in URLs and long
            random words are removed in any case.
    """
    known = {form for secret in secrets for form in _forms(secret) if len(form) >= _MIN_LITERAL}
    literal = re.compile("|".join(map(re.escape, sorted(known, key=len, reverse=True)))) if known else None

    def redact(text: str) -> str:
        text = text[:_MAX_SEARCHED]
        if literal is not None:
            text = literal.sub(HIDDEN, text)
        low = text.lower()
        for needles, pattern, replacement in _COMPILED:
            if any(needle in low for needle in needles):
                text = pattern.sub(replacement, text)
        text = _WORD.sub(_hide_random, text)
        return text if len(text) <= _MAX_KEPT else f"{text[:_MAX_KEPT]} [shortened]"

    return redact


def _forms(secret: str) -> set[str]:
    # As written; percent-encoded in a URL; and as repr shows it.
    return {secret, quote(secret, safe=""), repr(secret)[1:-1]}


def _hide_random(found: re.Match[str]) -> str:
    word = found[0]
    # Request IDs, hashes and function names have letters of one case only.
    return HIDDEN if all(kind.search(word) for kind in _KINDS) else word


class SecretFilter(logging.Filter):
    """Removes secrets from the message, the arguments, the traceback and the extra fields of log records.

    Add it to each *handler*: ``handler.addFilter(SecretFilter())``. A filter of a logger does not see the records of other
    loggers. The record itself is changed, and its ``exc_info`` becomes text, so that no formatter can print the original.

    Args:
        secrets: further texts to remove; see ``make_redactor``.
    """

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        super().__init__()
        self.redact = make_redactor(secrets)

    @override
    def filter(self, record: logging.LogRecord) -> bool:
        """Change the record; always returns ``True``."""
        record.msg, record.args = self.redact(_message(record)), None
        if record.exc_info and not record.exc_text:
            record.exc_text = "".join(traceback.format_exception(*record.exc_info)).rstrip("\n")
        record.exc_info = None
        if record.exc_text:
            record.exc_text = self.redact(record.exc_text)
        if record.stack_info:
            record.stack_info = self.redact(record.stack_info)
        extra = [(name, value) for name, value in record.__dict__.items() if name not in _OWN and value]
        record.__dict__.update(
            (name, self.redact(str(value))) for name, value in extra if not isinstance(value, int | float)
        )
        return True


def _message(record: logging.LogRecord) -> str:
    try:
        return record.getMessage()
    except Exception:  # noqa: BLE001 - arguments that do not fit, or whose __repr__ raises; a log line must not fail a request
        return f"{record.msg} (its arguments cannot be shown)"
