"""Redis: one client for a single server, a cluster, or the master of Sentinels."""

from __future__ import annotations

from tornado_sessions.drivers.redis.client import Client, Script
from tornado_sessions.drivers.redis.errors import WritesRefused, error_of, translated
from tornado_sessions.drivers.redis.url import DEFAULT_BUCKETS, ClientOptions, client_options

__all__ = [
    "DEFAULT_BUCKETS",
    "Client",
    "ClientOptions",
    "Script",
    "WritesRefused",
    "client_options",
    "error_of",
    "translated",
]
