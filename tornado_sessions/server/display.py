"""Format devices and times independently of the language. Pure; it must not know languages."""

from __future__ import annotations

from datetime import UTC, datetime
from functools import lru_cache
from typing import NamedTuple

import ua_parser

from tornado_sessions.record import LATEST

__all__ = ["DeviceParts", "device", "in_calendar", "parts_of", "picture"]

_LONGEST_AGENT = 300
#: Familiar names of browsers and systems.
_FAMILIAR = {"Mac OS X": "macOS", "Mobile Safari UI/WKWebView": "Mobile Safari"}
#: The icons of devices by a text of their user agents; the first that is found counts.
_PICTURES = (
    ("iPad", "tablet"),
    ("Tablet", "tablet"),
    ("iPhone", "phone"),
    ("iOS", "phone"),
    ("Android", "phone"),
    ("Macintosh", "laptop"),
    ("CrOS", "laptop"),
    ("Mozilla/", "desktop"),
    (" on ", "desktop"),
)
#: The last second of the year 9999, the latest time that ``datetime`` can express.
_LAST = LATEST - 1


def device(user_agent: str) -> str:
    """Return the browser and system of a user agent, such as ``Firefox on Linux``; an empty string if unknown.

    The text is English because the audit log stores it; ``Language.device`` translates it.
    """
    found = parts_of(user_agent)
    return " on ".join(filter(None, (found.browser, found.system)))


class DeviceParts(NamedTuple):
    """A device in words: its browser or program, the version of it, and the system. Unknown parts are empty."""

    browser: str
    version: str
    system: str


def parts_of(user_agent: str) -> DeviceParts:
    """Return the parts of a device. A program that nobody knows has the beginning of its user agent as its name."""
    # Truncate before caching: clients can send headers of any length.
    return _parts_of(user_agent[:_LONGEST_AGENT])


@lru_cache(4096)
def _parts_of(user_agent: str) -> DeviceParts:
    found = ua_parser.parse(user_agent)
    browser, system = (
        _FAMILIAR.get(part.family, part.family) if part is not None else "" for part in (found.user_agent, found.os)
    )
    version = _version(found.user_agent) if found.user_agent is not None else ""
    return DeviceParts(browser or ("" if system else user_agent[:40]), version, system)


def _version(browser: ua_parser.UserAgent) -> str:
    """Return the numbers by which people know a version: Firefox 151, Safari 26.2."""
    is_long = browser.minor not in (None, "0")
    return ".".join(filter(None, (browser.major, browser.minor if is_long else None)))[:12]


def picture(user_agent: str) -> str:
    """Return the name of the icon of a device: ``desktop``, ``laptop``, ``phone``, ``tablet``, or ``terminal`` for no browser."""
    text = f"{user_agent[:_LONGEST_AGENT]} {device(user_agent)}"
    return next((icon for sign, icon in _PICTURES if sign in text), "terminal")


def in_calendar(at: float) -> datetime:
    """Return a time in UTC seconds as a ``datetime``, clamped to the years 1970 to 9999."""
    return datetime.fromtimestamp(min(max(at, 0.0), _LAST), UTC)
