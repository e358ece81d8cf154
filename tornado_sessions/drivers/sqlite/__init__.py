"""SQLite: a database file, used from an event loop through threads."""

from __future__ import annotations

from tornado_sessions.drivers.sqlite.database import (
    Database,
    DatabaseOptions,
    Migration,
    database_path,
    read_migrations,
)
from tornado_sessions.drivers.sqlite.glance import Glance

__all__ = ["Database", "DatabaseOptions", "Glance", "Migration", "database_path", "read_migrations"]
