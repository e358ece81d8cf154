"""SQLite stores on a file of their own."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from tornado_sessions.stores import Store, open_store

__all__ = ["opened"]


@asynccontextmanager
async def opened(path: Path) -> AsyncIterator[Store]:
    """Open the store of a file, and close it afterwards."""
    store = open_store(f"sqlite:///{path}")
    await store.open()
    try:
        yield store
    finally:
        await store.close()
