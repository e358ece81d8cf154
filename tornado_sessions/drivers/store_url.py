"""The parts of a store's URL, read with every fault collected, so that one message lists them all.

It must not know what an option means. A message never shows the login or the query, where passwords are.
"""

from __future__ import annotations

import math
from collections.abc import Collection
from urllib.parse import parse_qsl, urlsplit

from tornado_sessions.errors import ConfigError

__all__ = ["StoreUrl"]


class StoreUrl:
    """A URL and what is wrong with it.

    Args:
        url: as configured.
        options: the names that its query may hold.
    """

    def __init__(self, url: str, options: Collection[str]) -> None:
        self.parts = urlsplit(url)
        self.login, _, self.address = self.parts.netloc.rpartition("@")
        self.query = dict(parse_qsl(self.parts.query, keep_blank_values=True))
        self.shown = f"{self.parts.scheme}://{self.address}{self.parts.path}"
        self.faults = [f"there is no option {name!r}" for name in self.query if name not in options]

    def choice(self, name: str, choices: Collection[str], default: str) -> str:
        """Return an option that is one of a few words."""
        value = self.query.get(name, default)
        if value not in choices:
            self.faults.append(f"{name} is one of {', '.join(choices)}, not {value!r}")
        return value

    def number(self, name: str, low: float, high: float, default: float) -> float:
        """Return an option that is a number within bounds."""
        return self.check_number(name, self.query.get(name, str(default)), low, high)

    def check_number(self, name: str, text: str, low: float, high: float) -> float:
        """Return the number that a part of the URL spells."""
        try:
            value = float(text)
        except ValueError:
            value = math.nan
        if not low <= value <= high:
            self.faults.append(f"{name} is a number from {low:g} to {high:g}, not {text!r}")
            return low
        return value

    def raise_faults(self) -> None:
        """Raise ``ConfigError`` if anything is wrong."""
        if self.faults:
            raise ConfigError(*(f"{self.shown}: {fault}" for fault in self.faults))
