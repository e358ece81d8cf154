"""Shorten User-Agent headers: in a record, each fragment that most of them share is one control character.

It must not know records. Headers contain no control characters; a text with any is stored as it is, behind ``_PLAIN``.
"""

from __future__ import annotations

import re

__all__ = ["expand", "shorten"]

_PLAIN = "\0"
#: In the order in which they are looked for. Never change or reorder one, because it is stored as its position: append.
_FRAGMENTS = (
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64",
    "Mozilla/5.0 (Macintosh; Intel Mac OS X 10",
    "Mozilla/5.0 (X11; Linux x86_64",
    "Mozilla/5.0 (X11; Ubuntu; Linux x86_64",
    "Mozilla/5.0 (Linux; Android 1",
    "Mozilla/5.0 (iPhone; CPU iPhone OS 1",
    "Mozilla/5.0 (iPad; CPU OS 1",
    "Mozilla/5.0 (",
    " like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) ",
    ") AppleWebKit/605.1.15 (KHTML, like Gecko) ",
    ") AppleWebKit/537.36 (KHTML, like Gecko) ",
    ".0) Gecko/20100101 Firefox/",
    ".0.0.0 Mobile Safari/537.36",
    ".0.0.0 Safari/537.36",
    "Mobile/15E148 Safari/604.1",
    "Safari/605.1.15",
    "SamsungBrowser/",
    "Version/1",
    "Chrome/1",
    " Edg/1",
    " OPR/1",
    "; rv:1",
)
_CODES = [(fragment, chr(code)) for code, fragment in enumerate(_FRAGMENTS, 1)]
_EXPANDED = str.maketrans({code: fragment for fragment, code in _CODES})
_ANY_CODE = re.compile("[\1-\x1f]")


def shorten(agent: str) -> str:
    """Return the text to store for a User-Agent."""
    if agent.startswith(_PLAIN) or _ANY_CODE.search(agent):
        return _PLAIN + agent
    for fragment, code in _CODES:
        agent = agent.replace(fragment, code)
    return agent


def expand(stored: str) -> str:
    """Return the User-Agent that ``shorten`` was given. A code without a fragment stays as it is."""
    if stored.startswith(_PLAIN):
        return stored[1:]
    return stored.translate(_EXPANDED)
