"""Redis: one client for a single server, a cluster, or the master of Sentinels."""

from __future__ import annotations

from tornado_sessions.drivers.redis.client import (
    BUCKETS,
    Client,
    Script,
    WritesRefused,
    bucket_of,
    error_of,
    translated,
)
from tornado_sessions.drivers.redis.url import ClientOptions, client_options

__all__ = [
    "BUCKETS",
    "Client",
    "ClientOptions",
    "Script",
    "WritesRefused",
    "bucket_of",
    "client_options",
    "error_of",
    "translated",
]
