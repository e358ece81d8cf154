"""``open_admin_store(url)``: the dashboard's own data, kept where the accounts are.

It must not know who may do what.
"""

from __future__ import annotations

from tornado_sessions.drivers.backends import find_backend, scheme_of
from tornado_sessions.server.operations.stores.base import (
    AdminStore,
    AuditQuery,
    DamagedEntry,
    Document,
    Entry,
    Tallies,
)

__all__ = ["AdminStore", "AuditQuery", "DamagedEntry", "Document", "Entry", "Tallies", "open_admin_store"]


def open_admin_store(url: str) -> AdminStore:
    """Make the store that ``url`` names; nothing is opened yet. Raises ``ConfigError``."""
    return find_backend(scheme_of(url), __name__, "AdminStore")(url)  # type: ignore[no-any-return]
