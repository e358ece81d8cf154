"""Copy everything that lasts from one store to another. A run can be interrupted and repeated.

It must not know the command line.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import AbstractContextManager, AsyncExitStack
from typing import NamedTuple

from tornado_sessions.query import Query
from tornado_sessions.server.accounts.document_users import DocumentUsers
from tornado_sessions.server.accounts.migrate import copy_accounts
from tornado_sessions.server.accounts.repository import AccountRepository
from tornado_sessions.server.documents import open_documents
from tornado_sessions.server.operations.migrate import copy_sessions
from tornado_sessions.server.operations.migrate_documents import copy_documents
from tornado_sessions.stores import open_store

__all__ = ["Copied", "Progress", "migrate"]

#: Shows progress. Takes the unit and the total number, if known; yields a function that is called with the size of each step.
Progress = Callable[[str, int | None], AbstractContextManager[Callable[[int], object]]]


class Copied(NamedTuple):
    """The numbers of copied and left records, by their names; damaged sessions and accounts are left."""

    copied: dict[str, int]
    left: dict[str, int]


async def migrate(source: str, target: str, progress: Progress) -> Copied:
    """Copy from one store URL to another. What the target has is not changed, except that endings and blocks are repeated there.

    Raises:
        ConfigError: a URL is invalid.
        StoreError: one of the stores failed. Run the copy again.
    """
    async with AsyncExitStack() as stack:
        old, new = open_store(source), open_store(target)
        old_documents, new_documents = open_documents(source), open_documents(target)
        for store in (old, new, old_documents, new_documents):
            stack.push_async_callback(store.close)
            await store.open()
        damaged: list[str] = []
        tombstones: list[int] = []
        with progress("sessions", (await old.count(Query(now=time.time()))).total) as advance:
            sessions = await copy_sessions(
                old, new, advance, damaged=damaged.extend, ended=lambda *numbers: tombstones.extend(numbers)
            )
        with progress("accounts", None) as advance:
            accounts = await copy_accounts(
                AccountRepository(DocumentUsers(old_documents)),
                AccountRepository(DocumentUsers(new_documents)),
                advance,
            )
        documents = await copy_documents(old_documents, new_documents)
    copied = {"session": sessions, "account": accounts, "ended session": tombstones[0], **documents.copied}
    left = {"damaged session": len(damaged), "ended session": tombstones[1], **documents.left}
    return Copied(copied, {name: number for name, number in left.items() if number})
