"""Find the class for the scheme of a URL, for both session stores and document stores.

It must not know what the class does. A backend is imported only when a URL names it, since its driver is an optional
dependency.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tornado_sessions.drivers.store_url import split_url
from tornado_sessions.errors import ConfigError
from tornado_sessions.extras import import_extra

__all__ = ["BACKENDS", "find_backend", "scheme_of"]

#: For each scheme: the name of the module in each package of backends, and the first word of its class.
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


def scheme_of(url: str) -> str:
    """Return the scheme of a store's URL; raise ``ConfigError`` if the URL is malformed or not a ``str``."""
    if not isinstance(url, str):
        raise ConfigError(f"a store needs a URL such as sqlite:///sessions.db, not {type(url).__name__}")
    return split_url(url).scheme


def find_backend(scheme: str, package: str, suffix: str) -> Callable[..., Any]:
    """Return the ``from_url`` of the class for a scheme.

    Args:
        scheme: the scheme of the URL.
        package: the package that contains the backends.
        suffix: the last word of their class names, such as ``Store``.

    Raises:
        ConfigError: the scheme is unknown, or its driver is not installed.
    """
    if scheme not in BACKENDS:
        known = ", ".join(f"{name}://" for name in BACKENDS)
        raise ConfigError(f"no store for {scheme + '://' if scheme else 'a URL without a scheme'}; use one of {known}")
    module, prefix = BACKENDS[scheme]
    try:
        # The modules of the drivers have the names of their extras.
        found = import_extra(f"{package}.{module}", module, f"{scheme}://")
    except ModuleNotFoundError:
        raise ConfigError(f"{scheme}:// stores sessions only; set --users to a store for the accounts") from None
    return getattr(found, prefix + suffix).from_url  # type: ignore[no-any-return]
