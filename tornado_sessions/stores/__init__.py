"""Session stores: ``open_store(url)`` creates one from a URL, without I/O.

It must not know what a store does. A backend is imported when a URL has its scheme.
"""

from __future__ import annotations

from tornado_sessions.stores.backends import open_store
from tornado_sessions.stores.base import Store

__all__ = ["Store", "open_store"]
