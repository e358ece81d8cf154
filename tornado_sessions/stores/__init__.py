"""Stores of sessions: ``open_store(url)`` makes one from a URL, without I/O.

It must not know what a store does; a back end is imported when its scheme is asked for.
"""

from __future__ import annotations

from tornado_sessions.stores.backends import open_store
from tornado_sessions.stores.base import Store

__all__ = ["Store", "open_store"]
