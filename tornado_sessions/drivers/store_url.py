"""Parse a store's URL and collect its faults, so that one error lists all of them.

It must not know what an option means. Messages never show the login or the query, which may contain passwords.
"""

from __future__ import annotations

import math
from collections.abc import Collection
from urllib.parse import SplitResult, parse_qsl, urlsplit

from tornado_sessions.errors import ConfigError

__all__ = ["StoreUrl", "split_url"]

# Python refuses to convert very long numbers.
_MAX_DIGITS = 12


def split_url(url: str) -> SplitResult:
    """Split the URL of a store.

    Raises:
        ConfigError: it is malformed, or its password contains characters that end the login. The message shows no part of the
            URL, because it is not known which part is the password.
    """
    try:
        parts = urlsplit(url)
    except ValueError:
        parts = None
    if parts is None or "@" in _after_login(parts):
        raise ConfigError(
            "the store URL is malformed: if a password or an option contains one of / ? # @ [ ] % or a space, percent-encode it, "
            "such as %40 for @"
        )
    return parts


def _after_login(parts: SplitResult) -> str:
    """Return the parts of a URL that contain an ``@`` only if the login was cut off too early."""
    if parts.scheme in ("sqlite", "memory") or (parts.scheme == "unix" and not parts.netloc):
        return ""  # a file's name may contain one
    if parts.scheme == "dual":
        return parts.fragment  # its query contains other URLs
    return parts.path + parts.query + parts.fragment


class StoreUrl:
    """A URL and its faults.

    Args:
        url: the URL from the configuration.
        options: the names allowed in its query.
    """

    def __init__(self, url: str, options: Collection[str]) -> None:
        self.parts = split_url(url)
        self.login, _, self.address = self.parts.netloc.rpartition("@")
        self.query = dict(parse_qsl(self.parts.query, keep_blank_values=True))
        self.shown = f"{self.parts.scheme}://{self.address}{self.parts.path}"
        self.faults = [f"unknown option {name!r}" for name in self.query if name not in options]

    def choice(self, name: str, choices: Collection[str], default: str) -> str:
        """Return an option that must be one of ``choices``; record a fault if it is not."""
        value = self.query.get(name, default)
        if value not in choices:
            self.faults.append(f"{name} must be one of {', '.join(choices)}, not {value!r}")
        return value

    def number(self, name: str, low: float, high: float, default: float) -> float:
        """Return an option that must be a number from ``low`` to ``high``; record a fault if it is not."""
        return self.check_number(name, self.query.get(name, str(default)), low, high)

    def check_number(self, name: str, text: str, low: float, high: float) -> float:
        """Return a part of the URL as a number from ``low`` to ``high``; record a fault if it is not."""
        try:
            value = float(text)
        except ValueError:
            value = math.nan
        if not low <= value <= high:
            self.faults.append(f"{name} must be a number from {low:g} to {high:g}, not {text!r}")
            return low
        return value

    def whole(self, name: str, low: int, high: int, default: int) -> int:
        """Return an option that must be a whole number from ``low`` to ``high``; record a fault if it is not."""
        return self.check_whole(name, self.query.get(name, str(default)), low, high)

    def check_whole(self, name: str, text: str, low: int, high: int) -> int:
        """Return a part of the URL as a whole number from ``low`` to ``high``; record a fault if it is not."""
        if text.isascii() and text.isdigit() and len(text) <= _MAX_DIGITS and low <= int(text) <= high:
            return int(text)
        self.faults.append(f"{name} must be a whole number from {low} to {high}, not {text!r}")
        return low

    def raise_faults(self) -> None:
        """Raise ``ConfigError`` with all recorded faults, if there are any."""
        if self.faults:
            raise ConfigError(*(f"{self.shown}: {fault}" for fault in self.faults))
