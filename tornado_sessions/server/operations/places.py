"""``Places``: where an IP address is, as a text, from a function that the application provides. It must not know pages."""

from __future__ import annotations

from collections.abc import Callable

from tornado_sessions.background import OutageLog

__all__ = ["Place", "Places"]

#: Returns the place of an IP address, such as ``Utrecht, NL``; an empty text if it is not known.
Place = Callable[[str], str]

#: Maximum number of addresses whose places are kept, and the maximum length of a place, in characters.
_MAX_KEPT, _MAX_LENGTH = 20_000, 60


class Places:
    """Asks a function for places, once for each address, and survives its errors: a list never fails for a place.

    Args:
        ask: the application's function. It is called on the event loop, so it must not wait for anything.
    """

    def __init__(self, ask: Place) -> None:
        self._ask = ask
        self._kept: dict[str, str] = {}
        self._outage = OutageLog("places of IP addresses are not shown")

    def __call__(self, ip: str) -> str:
        """Return the place of an address; an empty text if it is not known or the function fails."""
        kept = self._kept.get(ip)
        if kept is not None:
            return kept
        try:
            found = self._ask(ip)
            place = " ".join(found.split())[:_MAX_LENGTH] if found else ""
        except Exception as error:  # noqa: BLE001 - any error of the application
            self._outage.failed(error)
            return ""
        self._outage.over()
        # Clients choose their addresses, so whatever is kept about them has a bound.
        if len(self._kept) >= _MAX_KEPT:
            self._kept.clear()
        self._kept[ip] = place
        return place
