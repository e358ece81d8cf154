"""Commands: each calls the parts and prints. They speak to the stores directly, for when the web is down.

No rules of its own; it must not know how settings are found.
"""

from __future__ import annotations

import argparse
import getpass
import sys
import time
from collections.abc import Awaitable, Callable, Iterable, Sequence
from contextlib import AsyncExitStack
from datetime import UTC, datetime
from typing import Any

import msgspec
from tabulate import tabulate
from tqdm import tqdm

from tornado_sessions.accounts.errors import AccountError
from tornado_sessions.accounts.stores import open_account_store
from tornado_sessions.admin.acts import Outcome
from tornado_sessions.admin.answers import job_item, session_item, token_item
from tornado_sessions.admin.audit import Actor
from tornado_sessions.admin.checks import Grade, self_check
from tornado_sessions.admin.filters import View, read_view
from tornado_sessions.admin.jobs import Job
from tornado_sessions.admin.stores import AuditQuery
from tornado_sessions.admin.tokens import Scope, scopes_of
from tornado_sessions.app import Parts
from tornado_sessions.errors import StoreUnavailable
from tornado_sessions.migrate import copy_accounts, copy_sessions
from tornado_sessions.pages import Role, device
from tornado_sessions.record import Facts, Query, State, Tombstone
from tornado_sessions.stores import open_store

__all__ = ["COMMANDS", "migrate"]

_PAGE = 500
_DAY = 86400.0
_CLI = Actor("cli")
Given = argparse.Namespace


def _utc(at: float | None) -> str:
    return f"{datetime.fromtimestamp(at, UTC):%Y-%m-%d %H:%M:%S}Z" if at is not None else "-"


def _print(rows: Iterable[Sequence[object]], heads: Sequence[str]) -> None:
    """A table; its head is for people, not for what reads a pipe."""
    shown = tuple(heads) if sys.stdout.isatty() else ()
    table = tabulate(list(rows), headers=shown, tablefmt="simple" if shown else "plain", disable_numparse=True)
    if table:
        print(table)


def _print_json(items: Iterable[object]) -> None:
    for item in items:
        print(msgspec.json.encode(item).decode())


# --- people and tokens -----------------------------------------------------------------------------------------------


async def _create_user(parts: Parts, given: Given) -> int:
    password = getpass.getpass("Password: ") if sys.stdin.isatty() else sys.stdin.readline().rstrip("\r\n")
    email = given.email or f"{given.name}@localhost.localdomain"
    user = await parts.accounts.register(given.name, email, password, role=Role(given.role))
    await parts.audit.note(_CLI, "account made", user=user.name, target=user.role.value)
    print(f"{user.name} can log in ({user.role.value}).")
    return 0


async def _set_role(parts: Parts, given: Given) -> int:
    await parts.acts.set_role(_CLI, given.name, Role(given.role))
    print(f"{given.name} is {given.role} now.")
    return 0


async def _block(parts: Parts, given: Given) -> int:
    await parts.acts.block(_CLI, given.name, given.hours * 3600, given.reason)
    print(
        f"{given.name} cannot log in for {given.hours:g} hours. Sessions are not ended by this: destroy-user does that."
    )
    return 0


async def _allow(parts: Parts, given: Given) -> int:
    await parts.acts.block(_CLI, given.name, None)
    print(f"{given.name} can log in again.")
    return 0


async def _create_token(parts: Parts, given: Given) -> int:
    scopes = [Scope(name) for name in given.scope] if given.scope else sorted(scopes_of(Role(given.role)))
    lifetime = None if given.days is None else given.days * _DAY
    print(await parts.acts.make_token(_CLI, given.name, scopes, lifetime))
    print("It is shown this once. Send it as: Authorization: Bearer TOKEN", file=sys.stderr)
    return 0


async def _tokens(parts: Parts, given: Given) -> int:
    tokens = await parts.tokens.all()
    if given.json:
        _print_json(map(token_item, tokens))
        return 0
    rows = (
        (
            token.handle,
            token.name,
            " ".join(sorted(token.scopes)),
            _utc(token.created_at),
            _utc(token.expires_at) if token.expires_at is not None else "when revoked",
            _utc(token.used_at),
        )
        for token in tokens
    )
    _print(rows, ("handle", "name", "scopes", "made", "ends", "last used"))
    return 0


async def _revoke_token(parts: Parts, given: Given) -> int:
    revoked = await parts.acts.revoke_token(_CLI, given.handle)
    print("Revoked." if revoked else "There is no such token.")
    return 0 if revoked else 1


# --- looking ---------------------------------------------------------------------------------------------------------


async def _view(parts: Parts, given: Given) -> View:
    return await read_view(lambda name: getattr(given, name, None) or "", parts.accounts, parts.sessions.clock())


async def _list(parts: Parts, given: Given) -> int:
    view, cursor, left = await _view(parts, given), None, given.most or sys.maxsize
    while left > 0:
        page = await parts.sessions.find(
            view.where, state=view.state, sort=view.sort, cursor=cursor, limit=min(_PAGE, left)
        )
        if given.json:
            _print_json(session_item(item, None) for item in page.items)
        elif page.items or cursor is None:
            _print(map(_row, page.items), _heads(view.state))
        left -= len(page.items)
        cursor = page.next_cursor
        if cursor is None:
            break
    return 0


def _heads(state: State) -> tuple[str, ...]:
    return ("handle", "user", "address", "device", "last seen", "ended" if state is State.ENDED else "expires")


def _row(item: Facts) -> tuple[str, ...]:
    last = _utc(item.expires_at)
    if isinstance(item, Tombstone):
        last = " ".join(
            filter(None, (_utc(item.ending.at), item.ending.cause.value, item.ending.by, item.ending.reason))
        )
    return (
        item.handle,
        _plain(item.user or "-"),
        item.ip,
        _plain(device(item.user_agent)),
        _utc(item.last_seen_at),
        _plain(last),
    )


def _plain(text: str) -> str:
    """Text of others without what moves a terminal's cursor or turns its writing round."""
    return "".join(letter if letter.isprintable() else "�" for letter in text)[:80]


async def _show(parts: Parts, given: Given) -> int:
    found = await parts.sessions.inspect(given.handle)
    if found is None:
        print("There is no such session.", file=sys.stderr)
        return 1
    item = session_item(found, None)
    if given.json:
        _print_json([item])
        return 0
    facts = msgspec.to_builtins(item)
    rows = [(name, _utc(value) if name.endswith("_at") else _plain(str(value))) for name, value in facts.items()]
    print(tabulate(rows, tablefmt="plain", disable_numparse=True))
    return 0


async def _stats(parts: Parts, given: Given) -> int:
    snapshot = await parts.activity.snapshot()
    told = {name: sum(value or 0 for value in snapshot.series[name]) for name in ("sign-ins", "failures", "ended")}
    shown = {"active": snapshot.active.total, "visitors": snapshot.visitors.total, **told}
    if given.json:
        _print_json([shown])
    else:
        print(tabulate(shown.items(), tablefmt="plain"))
    return 0


# --- ending ----------------------------------------------------------------------------------------------------------


async def _destroy(parts: Parts, given: Given) -> int:
    outcome = await parts.acts.end(_CLI, given.handle, given.reason)
    print(f"Ended: {outcome.ended}")
    return 0 if outcome.ended else 1


async def _destroy_user(parts: Parts, given: Given) -> int:
    account = await parts.accounts.get(given.name)
    name = account.name if account is not None else given.name
    return await _finish(parts, await parts.acts.end_user(_CLI, name, given.reason))


async def _destroy_where(parts: Parts, given: Given) -> int:
    view = await _view(parts, given)
    if not view.is_filtered:
        print("error: give a filter; destroy-all ends everybody's sessions", file=sys.stderr)
        return 1
    if given.dry_run:
        count = await parts.sessions.count(view.where)
        print(f"Would end: {count.total}{'' if count.exact else ' or more'}")
        return 0
    return await _finish(parts, await parts.acts.end_where(_CLI, view.where, given.reason))


async def _destroy_all(parts: Parts, given: Given) -> int:
    outcome = await parts.acts.end_everybody(_CLI, given.reason)
    print(f"Everybody is logged out: {outcome.ended}. Removing what is left of them:", file=sys.stderr)
    await _finish(parts, outcome, silent=True)
    print(f"Ended: {outcome.ended}")
    return 0


async def _finish(parts: Parts, outcome: Outcome, *, silent: bool = False) -> int:
    """Wait for a job with a bar, then say how many ended."""
    ended = outcome.ended
    if outcome.job is not None and outcome.goes_on:
        job: Job = outcome.job
        with tqdm(total=job.expected, initial=job.ended, unit=" sessions", file=sys.stderr) as bar:
            while job.finished_at is None:
                job = await parts.jobs.wait(job, 0.5)
                bar.update(job.ended - bar.n)
        ended = job.ended
    if not silent:
        print(f"Ended: {ended}")
    return 0


async def _jobs(parts: Parts, given: Given) -> int:
    items = [job_item(job) for job in await parts.jobs.all()]
    if given.json:
        _print_json(items)
        return 0
    rows = (
        (item.id, item.state, f"{item.ended}/{item.expected}", _utc(item.started_at), item.actor, _plain(item.what))
        for item in items
    )
    _print(rows, ("id", "state", "ended", "began", "by", "what"))
    return 0


async def _cancel_job(parts: Parts, given: Given) -> int:
    job = await parts.acts.cancel(_CLI, given.id)
    print(f"{job.state.value}: {job.ended} of {job.expected} ended" if job is not None else "There is no such job.")
    return 0 if job is not None else 1


# --- audit, upkeep ---------------------------------------------------------------------------------------------------


async def _audit(parts: Parts, given: Given) -> int:
    if given.what == "verify":
        return await _verify(parts, given.head)
    since = parts.sessions.clock() - given.days * _DAY if given.days is not None else None
    entries = await parts.audit.entries(AuditQuery(who=given.who, act=given.act, since=since, limit=given.most))
    if given.json:
        _print_json(entries)
        return 0
    rows = (
        (
            entry.id,
            _utc(entry.at),
            _plain(entry.actor),
            entry.ip,
            entry.act,
            _plain(f"{entry.user} {entry.target}"),
            entry.ended,
            _plain(entry.reason),
        )
        for entry in entries
    )
    _print(rows, ("id", "when", "who", "from", "what", "whom", "ended", "why"))
    return 0


async def _verify(parts: Parts, head: str) -> int:
    with tqdm(unit=" entries", file=sys.stderr) as bar:
        found = await parts.audit.verify(head, bar.update)
    for fault in found.faults:
        print(fault)
    if not found.knows_head:
        print("the hash that was noted is not in the chain: entries were cut off, or all were written anew")
    is_whole = not found.faults and found.knows_head
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
    faults = [str(check) for check in checks if check.grade is Grade.BAD]
    if faults:
        raise StoreUnavailable(parts.sessions.store.backend, "; ".join(faults))
    operator = "an operator exists" if await parts.accounts.has_operator() else "no operator yet"
    notes = [f"note: {check}" for check in checks if check.grade is Grade.NOTE]
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
            sessions = await copy_sessions(old, new, bar.update)
        with tqdm(unit=" accounts", file=sys.stderr) as bar:
            accounts = await copy_accounts(old_accounts, new_accounts, bar.update)
    print(f"Copied: {sessions} sessions, {accounts} accounts. What was there already is left as it is.")
    return 0


def _told(run: Callable[[Parts, Given], Awaitable[int]]) -> Callable[[Parts, Given], Awaitable[int]]:
    """An account's error as one line, and exit code 1."""

    async def told(parts: Parts, given: Given) -> int:
        """The command, with its error printed."""
        try:
            return await run(parts, given)
        except AccountError as error:
            print(f"error: {error}", file=sys.stderr)
            return 1

    return told


COMMANDS: dict[str, Callable[[Parts, Given], Awaitable[int]]] = {
    name: _told(run)
    for name, run in {
        "create-user": _create_user,
        "set-role": _set_role,
        "block": _block,
        "allow": _allow,
        "create-token": _create_token,
        "tokens": _tokens,
        "revoke-token": _revoke_token,
        "list": _list,
        "show": _show,
        "stats": _stats,
        "destroy": _destroy,
        "destroy-user": _destroy_user,
        "destroy-where": _destroy_where,
        "destroy-all": _destroy_all,
        "jobs": _jobs,
        "cancel-job": _cancel_job,
        "audit": _audit,
        "prune": _prune,
        "check": _check,
    }.items()
}
