"""``open_documents(url)``: small records on memory, SQLite, Redis or MongoDB; a log and counts are built on them.

It must not know what they mean, nor session stores; both only share connections (``drivers``).
"""

from __future__ import annotations

from tornado_sessions.drivers.backends import find_backend, scheme_of
from tornado_sessions.server.documents.base import MAX_PAGE, Document, DocumentStore, NameTaken
from tornado_sessions.server.documents.counters import Counters, Tallies
from tornado_sessions.server.documents.log import Log, LogQuery

__all__ = [
    "MAX_PAGE",
    "Counters",
    "Document",
    "DocumentStore",
    "Log",
    "LogQuery",
    "NameTaken",
    "Tallies",
    "open_documents",
]


def open_documents(url: str, beside: object = None) -> DocumentStore:
    """Make the document store that a URL names; nothing is opened yet.

    Args:
        url: as for a session store.
        beside: a connection of ``drivers`` that is in use already. It is shared when it is to the same place.

    Raises:
        ConfigError: the scheme is unknown, the URL is malformed, or the backend's driver is not installed.
    """
    return find_backend(scheme_of(url), __name__, "Documents")(url, beside)  # type: ignore[no-any-return]
