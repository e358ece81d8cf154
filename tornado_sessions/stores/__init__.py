"""``open_store(url)``: from a URL to a store, without I/O.

It must not know what a store does; a back end is imported when its scheme is asked for.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from importlib.metadata import entry_points
from urllib.parse import urlsplit

from tornado_sessions.errors import ConfigError
from tornado_sessions.stores.base import Store

__all__ = ["Store", "open_store"]

#: Entry-point group in which other packages offer stores, by scheme.
ENTRY_POINTS = "tornado_sessions.stores"

_BACKENDS = {
    "memory": "tornado_sessions.stores.memory:MemoryStore",
    "sqlite": "tornado_sessions.stores.sqlite:SQLiteStore",
    "redis": "tornado_sessions.stores.redis:RedisStore",
    "rediss": "tornado_sessions.stores.redis:RedisStore",
    "unix": "tornado_sessions.stores.redis:RedisStore",
    "redis+sentinel": "tornado_sessions.stores.redis:RedisStore",
    "redis+cluster": "tornado_sessions.stores.redis:RedisStore",
}


def open_store(url: str) -> Store:
    """Make the store that ``url`` names; nothing is opened yet.

    Args:
        url: ``memory://``, ``sqlite:///relative/path``, ``sqlite:////absolute/path``, or a scheme that another
            package offers through the entry-point group ``tornado_sessions.stores``.

    Raises:
        ConfigError: the scheme is unknown, the URL is malformed, or the back end's package is not installed.
    """
    try:
        scheme = urlsplit(url).scheme
    except ValueError as error:
        raise ConfigError(f"the store URL is malformed: {error}") from None
    make = _find_backend(scheme)
    return make(url)


def _find_backend(scheme: str) -> Callable[[str], Store]:
    """The class behind a scheme, from our table first, then from entry points."""
    path = _BACKENDS.get(scheme)
    if path is not None:
        module, _, name = path.partition(":")
        try:
            return getattr(import_module(module), name).from_url  # type: ignore[no-any-return]
        except ImportError as error:
            raise ConfigError(f"{scheme}:// needs the package {error.name}: pip install {error.name}") from error
    for entry in entry_points(group=ENTRY_POINTS, name=scheme):
        return entry.load().from_url  # type: ignore[no-any-return]
    known = ", ".join(f"{name}://" for name in _BACKENDS)
    raise ConfigError(f"no store for {scheme + '://' if scheme else 'a URL without a scheme'}; known are {known}")
