"""``open_admin_store(url)``: the audit log and the API tokens, kept where the accounts are.

It must not know who may do what.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from urllib.parse import urlsplit

from tornado_sessions.admin.stores.base import AdminStore, ApiToken, Entry
from tornado_sessions.errors import ConfigError

__all__ = ["AdminStore", "ApiToken", "Entry", "open_admin_store"]

_BACKENDS = {
    "memory": "tornado_sessions.admin.stores.memory:MemoryAdminStore",
    "sqlite": "tornado_sessions.admin.stores.sqlite:SQLiteAdminStore",
}


def open_admin_store(url: str) -> AdminStore:
    """Make the store that ``url`` names; nothing is opened yet. Raises ``ConfigError``."""
    scheme = urlsplit(url).scheme
    if scheme not in _BACKENDS:
        raise ConfigError(f"the audit log cannot be kept in {scheme or url!r}; known are {', '.join(_BACKENDS)}")
    module, _, name = _BACKENDS[scheme].partition(":")
    make: Callable[[str], AdminStore] = getattr(import_module(module), name).from_url
    return make(url)
