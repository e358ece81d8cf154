"""``open_store(url)``: create a session store from a URL, from this package or from an entry point of another.

It must not know what a store does.
"""

from __future__ import annotations

from importlib.metadata import EntryPoint, entry_points

from tornado_sessions.drivers.backends import BACKENDS, find_backend, scheme_of
from tornado_sessions.errors import ConfigError
from tornado_sessions.stores.base import Store

__all__ = ["open_store"]

#: Entry-point group for stores of other packages; the names are URL schemes.
ENTRY_POINTS = "tornado_sessions.stores"


def _offered(entry: EntryPoint) -> type[Store]:
    """Load the store class of an entry point."""
    try:
        found = entry.load()
    except (ImportError, AttributeError) as error:
        raise ConfigError(f"{entry.name}:// is offered by {entry.value}, which cannot be loaded: {error}") from error
    if not (isinstance(found, type) and issubclass(found, Store)):
        raise ConfigError(f"{entry.name}:// is offered by {entry.value}, which is not a subclass of Store")
    return found


def open_store(url: str) -> Store:
    """Create the store for a URL, without opening it.

    Args:
        url: ``memory://``, ``sqlite:///relative/path``, ``sqlite:////absolute/path``, ``redis://``, ``rediss://``, ``unix://``,
            ``redis+sentinel://``, ``redis+cluster://``, ``mongodb://``, ``mongodb+srv://``, ``dual://``, or a scheme that another
            package registers in the entry-point group ``tornado_sessions.stores``.

    Raises:
        ConfigError: the scheme is unknown, the URL is malformed, or the backend's driver is not installed.
    """
    scheme = scheme_of(url)
    if scheme not in BACKENDS:
        for entry in entry_points(group=ENTRY_POINTS, name=scheme):
            return _offered(entry).from_url(url)
    return find_backend(scheme, __package__ or "", "Store")(url)  # type: ignore[no-any-return]
