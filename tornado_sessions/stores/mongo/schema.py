"""The indexes of the collection of sessions, and the version of its layout.

It must not know connections or queries. Every index but the last is partial: a live session is in those of the lists
only, a tombstone only in those by end. Otherwise, the list of ended sessions would walk all live ones, and ending a
session would move its entries instead of removing them.
"""

from __future__ import annotations

from typing import Any

from pymongo import ASCENDING, DESCENDING, IndexModel

from tornado_sessions.stores.mongo import documents

__all__ = ["FORMER", "INDEXES", "VERSION", "index_name"]

#: Version 2 made the indexes partial and gave each end of all sessions an era.
VERSION = 2
_LIVE: dict[str, Any] = {"live": {"$exists": True}}


def index_name(name: str) -> str:
    """Return the name of an index in the database. It has the version, so that a changed index has another name."""
    return f"{name}_{VERSION}"


def _index(name: str, only: dict[str, Any], *keys: str) -> IndexModel:
    """Return an index of the documents that match ``only``; a key that starts with a minus is descending."""
    directions = [(key.lstrip("-"), DESCENDING if key.startswith("-") else ASCENDING) for key in keys]
    return IndexModel(directions, name=index_name(name), partialFilterExpression=only)


def _has(field: str) -> dict[str, Any]:
    return {field: {"$exists": True}}


# The order of keys: equality first, then the sort of the list, then the handle as a tie-breaker. Lists by user and by
# address are sorted by last use, so each touch moves their entries: in any other order, the first page of an address
# with thousands of sessions would have to read all of them.
INDEXES = [
    _index("by_last_seen", _LIVE, "live", "-last_seen_at", "_id"),
    _index("by_user", _LIVE, "live", "user", "-last_seen_at", "_id"),
    _index("by_ip", _LIVE, "live", "ip", "-last_seen_at", "_id"),
    _index("by_expiry", _LIVE, "live", "expires_at", "_id"),
    # Without visitors, who have no sign-in time: a search for damaged times would otherwise read all of them.
    _index("by_sign_in", {**_LIVE, **documents.HAS_USER}, "live", "-signed_in_at", "_id"),
    _index("by_creation", _LIVE, "live", "created_at"),
    _index("by_end", _has("ended_at"), "-ended_at", "_id"),
    _index("by_keep_until", _has("keep_until"), "keep_until"),
    _index("by_told_at", _has("told_at"), "told_at"),
    # A TTL index: the server removes these documents even if no process ever calls expire.
    IndexModel([("purge_at", ASCENDING)], name="by_purge_at", expireAfterSeconds=0),
]
#: The indexes of version 1.
FORMER = [
    *("by_last_seen", "by_user", "by_ip", "by_expiry", "by_sign_in", "by_creation", "by_end"),
    *("by_keep_until", "by_told_at"),
]
