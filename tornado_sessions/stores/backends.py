"""From the scheme of a URL to the class behind it; sessions, accounts and the audit log use the same back ends.

It must not know what a store does. A back end is imported when its scheme is asked for, since its driver may not be installed.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points
from typing import Any
from urllib.parse import urlsplit

from tornado_sessions.errors import ConfigError
from tornado_sessions.stores.base import Store

__all__ = ["BACKENDS", "EXTRAS", "find_backend", "open_store", "scheme_of"]

#: Entry-point group in which other packages offer stores, by scheme.
ENTRY_POINTS = "tornado_sessions.stores"

#: By scheme: the module in each package of stores, and what its class begins with.
BACKENDS = {
    "memory": ("memory", "Memory"),
    "sqlite": ("sqlite", "SQLite"),
    "redis": ("redis", "Redis"),
    "rediss": ("redis", "Redis"),
    "unix": ("redis", "Redis"),
    "redis+sentinel": ("redis", "Redis"),
    "redis+cluster": ("redis", "Redis"),
    "rediss+sentinel": ("redis", "Redis"),
    "rediss+cluster": ("redis", "Redis"),
    "mongodb": ("mongo", "Mongo"),
    "mongodb+srv": ("mongo", "Mongo"),
    "dual": ("dual", "Dual"),
}
#: What to install for a module whose driver is missing.
EXTRAS = {"redis": "tornado-sessions[redis]", "mongo": "tornado-sessions[mongo]"}


def scheme_of(url: str) -> str:
    """The scheme of a store's URL. Raises ``ConfigError`` when it is malformed, or no ``str``."""
    if not isinstance(url, str):
        raise ConfigError(f"a store is named by a URL such as sqlite:///sessions.db, not by a {type(url).__name__}")
    try:
        return urlsplit(url).scheme
    except ValueError as error:
        raise ConfigError(f"the store URL is malformed: {error}") from None


def find_backend(scheme: str, package: str, suffix: str) -> Callable[[str], Any]:
    """What makes a store of one kind from a URL.

    Args:
        scheme: one of ``BACKENDS``.
        package: where the back ends of this kind are.
        suffix: what their classes end with.

    Raises:
        ConfigError: the scheme is unknown, or its driver is not installed.
    """
    if scheme not in BACKENDS:
        known = ", ".join(f"{name}://" for name in BACKENDS)
        raise ConfigError(f"no store for {scheme + '://' if scheme else 'a URL without a scheme'}; known are {known}")
    module, prefix = BACKENDS[scheme]
    try:
        found = import_module(f"{package}.{module}")
    except ModuleNotFoundError as error:
        if error.name == f"{package}.{module}":
            raise ConfigError(f"{scheme}:// keeps sessions only; say with --users where the accounts are") from None
        raise ConfigError(f"{scheme}:// needs {error.name}: pip install '{EXTRAS.get(module, module)}'") from error
    return getattr(found, prefix + suffix).from_url  # type: ignore[no-any-return]


def _offered(entry: EntryPoint) -> type[Store]:
    """The class that another package offers."""
    try:
        found = entry.load()
    except (ImportError, AttributeError) as error:
        raise ConfigError(f"{entry.name}:// is offered by {entry.value}, which cannot be loaded: {error}") from error
    if not (isinstance(found, type) and issubclass(found, Store)):
        raise ConfigError(f"{entry.name}:// is offered by {entry.value}, which is not a subclass of Store")
    return found


def open_store(url: str) -> Store:
    """Make the store that ``url`` names; nothing is opened yet.

    Args:
        url: ``memory://``, ``sqlite:///relative/path``, ``sqlite:////absolute/path``, ``redis://``, ``rediss://``, ``unix://``,
            ``redis+sentinel://``, ``redis+cluster://``, ``mongodb://``, ``mongodb+srv://``, ``dual://``, or a scheme that another
            package offers through the entry-point group ``tornado_sessions.stores``.

    Raises:
        ConfigError: the scheme is unknown, the URL is malformed, or the back end's driver is not installed.
    """
    scheme = scheme_of(url)
    if scheme not in BACKENDS:
        for entry in entry_points(group=ENTRY_POINTS, name=scheme):
            return _offered(entry).from_url(url)
    return find_backend(scheme, __package__ or "", "Store")(url)  # type: ignore[no-any-return]
