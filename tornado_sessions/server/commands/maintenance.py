"""Commands that keep things well: the audit log, pruning, the self-check, moving to another store.

No rules of its own.
"""

from __future__ import annotations

import sys
import time
from contextlib import AsyncExitStack
from typing import Any

from tqdm import tqdm

from tornado_sessions.errors import StoreUnavailable
from tornado_sessions.query import Query
from tornado_sessions.server.accounts.stores import open_account_store
from tornado_sessions.server.commands.printing import DAY, Given, plain, print_json, print_table, utc
from tornado_sessions.server.operations.filters import action_named
from tornado_sessions.server.operations.migrate import copy_accounts, copy_sessions
from tornado_sessions.server.operations.schema import entry_item
from tornado_sessions.server.operations.self_check import Grade, self_check
from tornado_sessions.server.operations.stores import AuditQuery, DamagedEntry
from tornado_sessions.server.parts import Parts
from tornado_sessions.stores import open_store

__all__ = ["COMMANDS", "migrate"]


async def _audit(parts: Parts, given: Given) -> int:
    if given.what == "verify":
        return await _verify(parts, given.head)
    since = parts.sessions.clock() - given.days * DAY if given.days is not None else None
    entries = await parts.audit.entries(
        AuditQuery(who=given.who, act=action_named(given.act), since=since, limit=given.most)
    )
    if given.json:
        print_json(map(entry_item, entries))
        return 0
    rows = (
        (
            entry.id,
            utc(entry.at or None),
            plain(entry.actor),
            plain(entry.ip),
            plain(f"damaged: {entry.why}" if isinstance(entry, DamagedEntry) else entry.act),
            plain(f"{entry.user} {entry.target}"),
            entry.ended,
            plain(entry.reason),
        )
        for entry in entries
    )
    print_table(rows, ("id", "when", "who", "from", "what", "whom", "ended", "why"))
    return 0


async def _verify(parts: Parts, head: str) -> int:
    with tqdm(unit=" entries", file=sys.stderr) as bar:
        found = await parts.audit.verify(head, advanced=bar.update)
    for fault in found.faults:
        print(fault)
    if not found.knows_head:
        print("the hash that was noted is not in the chain: entries were cut off, or all were written anew")
    is_whole = not found.faults and bool(found.knows_head)
    print(f"{'whole' if is_whole else 'BROKEN'}: {found.entries} entries, head {found.head or '-'}")
    return 0 if is_whole else 1


async def _prune(parts: Parts, _given: Given) -> int:
    removed = 0
    with tqdm(unit=" sessions", file=sys.stderr) as bar:
        while step := await parts.sessions.prune_some():
            removed += step
            bar.update(step)
    print(f"Removed: {removed}")
    return 0


async def _check(parts: Parts, _given: Given) -> int:
    await parts.sessions.ping()
    checks = await self_check(parts.sessions, parts.accounts)
    faults = [str(check.sentence) for check in checks if check.grade is Grade.BAD]
    if faults:
        raise StoreUnavailable(parts.sessions.store.backend, "; ".join(faults))
    operator = "an operator exists" if await parts.accounts.has_operator() else "no operator yet"
    notes = [f"note: {check.sentence}" for check in checks if check.grade is Grade.NOTE]
    print("; ".join([f"ok: {parts.sessions.store.backend}, {operator}", *notes]))
    return 0


async def migrate(source: str, target: str) -> int:
    """Copy live sessions and accounts from one URL to another, with a bar for each."""
    async with AsyncExitStack() as stack:
        opened: list[Any] = []
        for make in (open_store, open_account_store):
            for url in (source, target):
                opened.append(make(url))
                stack.push_async_callback(opened[-1].close)
                await opened[-1].open()
        old, new, old_accounts, new_accounts = opened
        total = (await old.count(Query(now=time.time()))).total
        with tqdm(total=total, unit=" sessions", file=sys.stderr) as bar:
            unreadable: list[str] = []
            sessions = await copy_sessions(old, new, bar.update, damaged=unreadable.extend)
        with tqdm(unit=" accounts", file=sys.stderr) as bar:
            accounts = await copy_accounts(old_accounts, new_accounts, bar.update)
    print(f"Copied: {sessions} sessions, {accounts} accounts. What was there already is left as it is.")
    if unreadable:
        print(f"Skipped: {len(unreadable)} damaged sessions; whoever had one has to sign in again.")
    return 0


#: By name.
COMMANDS = {
    "audit": _audit,
    "prune": _prune,
    "check": _check,
}
