"""How devices and times are written, the same in every language. Pure; it must not know languages."""

from __future__ import annotations

from datetime import UTC, datetime
from functools import lru_cache

import ua_parser

from tornado_sessions.record import LATEST

__all__ = ["device", "in_calendar"]

_LONGEST_AGENT = 300
#: Families as people know them.
_FAMILIAR = {"Mac OS X": "macOS", "Mobile Safari UI/WKWebView": "Mobile Safari"}
#: The last second of the year 9999, which is the last that can be written.
_LAST = LATEST - 1


def device(user_agent: str) -> str:
    """Return browser and system in words, such as ``Firefox on Linux``; empty when nothing is known.

    The audit log stores this text, so it is English; ``Language.device`` translates it.
    """
    # Cut before it is cached: strangers send headers of any length.
    return _device(user_agent[:_LONGEST_AGENT])


@lru_cache(4096)
def _device(user_agent: str) -> str:
    found = ua_parser.parse(user_agent)
    parts = [_FAMILIAR.get(part.family, part.family) for part in (found.user_agent, found.os) if part is not None]
    return " on ".join(parts) if parts else user_agent[:40]


def in_calendar(at: float) -> datetime:
    """Return UTC seconds as a date; for a number that is no date, the nearest that is."""
    return datetime.fromtimestamp(min(max(at, 0.0), _LAST), UTC)
