"""``open_store(url)``: from a URL to a store, without I/O.

It must not know what a store does; a back end is imported when its scheme is asked for.
"""

from __future__ import annotations

from importlib.metadata import entry_points

from tornado_sessions.stores.backends import BACKENDS, find_backend, scheme_of
from tornado_sessions.stores.base import Store

__all__ = ["Store", "open_store"]

#: Entry-point group in which other packages offer stores, by scheme.
ENTRY_POINTS = "tornado_sessions.stores"


def open_store(url: str) -> Store:
    """Make the store that ``url`` names; nothing is opened yet.

    Args:
        url: ``memory://``, ``sqlite:///relative/path``, ``sqlite:////absolute/path``, ``redis://``, ``rediss://``, ``unix://``,
            ``redis+sentinel://``, ``redis+cluster://``, ``mongodb://``, ``mongodb+srv://``, or a scheme that another
            package offers through the entry-point group ``tornado_sessions.stores``.

    Raises:
        ConfigError: the scheme is unknown, the URL is malformed, or the back end's driver is not installed.
    """
    scheme = scheme_of(url)
    if scheme not in BACKENDS:
        for entry in entry_points(group=ENTRY_POINTS, name=scheme):
            return entry.load().from_url(url)  # type: ignore[no-any-return]
    return find_backend(scheme, __name__, "Store")(url)  # type: ignore[no-any-return]
