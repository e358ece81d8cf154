"""``open_account_store(url)``: from the URL of a session store to the accounts kept beside it.

It must not know what an account may do.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from urllib.parse import urlsplit

from tornado_sessions.accounts.stores.base import AccountStore
from tornado_sessions.errors import ConfigError

__all__ = ["AccountStore", "open_account_store"]

_BACKENDS = {
    "memory": "tornado_sessions.accounts.stores.memory:MemoryAccountStore",
    "sqlite": "tornado_sessions.accounts.stores.sqlite:SQLiteAccountStore",
}


def open_account_store(url: str) -> AccountStore:
    """Make the account store that ``url`` names; nothing is opened yet.

    Raises:
        ConfigError: accounts cannot be kept there.
    """
    scheme = urlsplit(url).scheme
    if scheme not in _BACKENDS:
        raise ConfigError(f"accounts cannot be kept in {scheme or url!r}; known are {', '.join(_BACKENDS)}")
    module, _, name = _BACKENDS[scheme].partition(":")
    make: Callable[[str], AccountStore] = getattr(import_module(module), name).from_url
    return make(url)
