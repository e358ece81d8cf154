"""``open_account_store(url)``: from the URL of a session store to the accounts kept beside it.

It must not know what an account may do.
"""

from __future__ import annotations

from tornado_sessions.drivers.backends import find_backend, scheme_of
from tornado_sessions.server.accounts.stores.base import AccountStore

__all__ = ["AccountStore", "open_account_store"]


def open_account_store(url: str) -> AccountStore:
    """Make the account store that ``url`` names; nothing is opened yet. Raises ``ConfigError``."""
    return find_backend(scheme_of(url), __name__, "AccountStore")(url)  # type: ignore[no-any-return]
