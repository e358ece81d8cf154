"""How devices and times are written for people. Pure, but for the language that it is given."""

from __future__ import annotations

from datetime import UTC, datetime
from functools import lru_cache

import ua_parser
from tornado import locale

from tornado_sessions.record import LATEST

__all__ = ["device", "distance", "exactly", "in_calendar"]

_LONGEST_AGENT = 300
#: Families as people know them.
_FAMILIAR = {"Mac OS X": "macOS", "Mobile Safari UI/WKWebView": "Mobile Safari"}
#: The last second of the year 9999, which is the last that can be written.
_LAST = LATEST - 1


def device(user_agent: str) -> str:
    """A browser and a system in words, such as ``Firefox on Linux``; empty when nothing is known."""
    # Cut before it is remembered: headers of strangers are as long as they like.
    return _device(user_agent[:_LONGEST_AGENT])


@lru_cache(4096)
def _device(user_agent: str) -> str:
    found = ua_parser.parse(user_agent)
    parts = [_FAMILIAR.get(part.family, part.family) for part in (found.user_agent, found.os) if part is not None]
    return " on ".join(parts) if parts else user_agent[:40]


def in_calendar(at: float) -> datetime:
    """UTC seconds as a date; of a number that is no date, the nearest that is."""
    return datetime.fromtimestamp(min(max(at, 0.0), _LAST), UTC)


def exactly(at: float) -> str:
    """A time to the second, in UTC."""
    return f"{in_calendar(at):%Y-%m-%d %H:%M:%S} UTC"


_STEPS = ((60, 1, "second"), (3600, 60, "minute"), (86400, 3600, "hour"), (float("inf"), 86400, "day"))


def distance(seconds: float, language: locale.Locale) -> str:
    """How far off a time is, in a reader's words: ``3 minutes ago``, ``in 2 hours``."""
    if abs(seconds) < 10:
        return language.translate("just now")
    for below, unit, name in _STEPS:
        many = int(abs(seconds) / unit + 0.5)
        if many * unit < below:
            text = language.translate(f"%d {name}" if many == 1 else f"%d {name}s") % many
            return language.translate("in %s" if seconds > 0 else "%s ago") % text
    raise AssertionError
