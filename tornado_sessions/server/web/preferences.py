"""``Preferences``: how the pages look in one browser, kept in a cookie. It must not know handlers or pages."""

from __future__ import annotations

import re
from typing import Literal, get_args

import msgspec

__all__ = ["Density", "Preferences", "Theme"]

Theme = Literal["system", "light", "dark"]
Density = Literal["compact", "roomy"]

_MAX_COLUMNS = 20
_is_column = re.compile(r"[a-z_]{1,20}").fullmatch


class Preferences(msgspec.Struct, frozen=True, kw_only=True):
    """How the pages look to one user.

    Args:
        theme: the colours; ``system`` follows the browser.
        density: the height of the rows of lists.
        columns: the columns of the list of sessions that are shown, by their names; empty for the usual ones.
    """

    theme: Theme = "system"
    density: Density = "compact"
    columns: tuple[str, ...] = ()

    @classmethod
    def read(cls, cookie: str | None) -> Preferences:
        """Return the preferences of a cookie's value. Invalid parts are ignored: anybody may have written them."""
        parts = dict(part.split(":", 1) for part in (cookie or "").split("&") if ":" in part)
        return cls().changed({name: value.split("+") for name, value in parts.items()})

    def changed(self, values: dict[str, list[str]]) -> Preferences:
        """Return these preferences with others in their place.

        Args:
            values: the texts of each preference to change. Invalid ones change nothing.
        """
        theme, density = (values.get(name, [""])[-1] for name in ("theme", "density"))
        columns = self.columns
        if "columns" in values:
            columns = tuple(dict.fromkeys(column for column in values["columns"] if _is_column(column)))[:_MAX_COLUMNS]
        return Preferences(
            theme=theme if theme in get_args(Theme) else self.theme,  # type: ignore[arg-type]
            density=density if density in get_args(Density) else self.density,  # type: ignore[arg-type]
            columns=columns,
        )

    def write(self) -> str:
        """Return the value of their cookie, of characters that need no quotes in it (RFC 6265)."""
        return f"theme:{self.theme}&density:{self.density}&columns:{'+'.join(self.columns)}"
