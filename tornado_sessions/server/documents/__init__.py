"""``open_documents(url)``: small records in memory, SQLite, Redis or MongoDB, and a log and counters built on them.

It must not know what documents mean, or session stores; both use the connections of ``drivers``.
"""

from __future__ import annotations

from tornado_sessions.drivers.backends import find_backend, scheme_of
from tornado_sessions.server.documents.base import MAX_PAGE, Count, Document, DocumentStore, Links, NameTaken, Total
from tornado_sessions.server.documents.counters import Counters, Tallies
from tornado_sessions.server.documents.log import Log, LogQuery

__all__ = [
    "MAX_PAGE",
    "Count",
    "Counters",
    "Document",
    "DocumentStore",
    "Links",
    "Log",
    "LogQuery",
    "NameTaken",
    "Tallies",
    "Total",
    "open_documents",
]


def open_documents(url: str, beside: object = None) -> DocumentStore:
    """Return the document store for a URL, without opening it.

    Args:
        url: a URL, with the same schemes as for session stores.
        beside: an existing connection of ``drivers``; shared if it is to the same SQLite file.

    Raises:
        ConfigError: the scheme is unknown, the URL is malformed, or the backend's driver is not installed.
    """
    return find_backend(scheme_of(url), __name__, "Documents")(url, beside)  # type: ignore[no-any-return]
