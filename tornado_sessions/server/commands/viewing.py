"""Commands that view sessions. Viewing a session never extends it. They must not know how sessions are stored."""

from __future__ import annotations

import sys
from typing import Any

import msgspec

from tornado_sessions.query import Page, State
from tornado_sessions.record import Damaged, SessionSummary, Tombstone
from tornado_sessions.server.commands.parsing import Commands, Given, add_filters, add_json, read_filters, row_count
from tornado_sessions.server.commands.printing import plain, print_json, print_pairs, print_table, utc
from tornado_sessions.server.display import device
from tornado_sessions.server.operations.export import session_lines
from tornado_sessions.server.operations.schema import session_item
from tornado_sessions.server.parts import Parts

__all__ = ["add_to"]

_PAGE = 500
_COUNTED = ("sign-ins", "failures", "ended")


def add_to(commands: Commands) -> None:
    """Add these commands."""
    sessions = commands.add("list", _list, "list sessions")
    add_filters(sessions)
    sessions.add_argument("--ended", action="store_const", const="ended", dest="state", help="sessions that have ended")
    sessions.add_argument("--sort", choices=["last_seen", "signed_in", "expires", "user"])
    sessions.add_argument("--direction", choices=["asc", "desc"], help="default: asc for expires and user, else desc")
    sessions.add_argument("--most", type=row_count, default=0, help="maximum number; default: all")
    sessions.add_argument("--csv", action="store_true", help="print a table for spreadsheets")
    add_json(sessions)
    add_json(commands.add("show", _show, "show one session", "handle"))
    add_json(commands.add("stats", _stats, "count sessions and the events of the last hour"))


async def _list(parts: Parts, given: Given) -> int:
    view, cursor, left = await read_filters(parts, given), None, given.most or sys.maxsize

    async def find(cursor: str | None, limit: int = _PAGE) -> Page:
        order: dict[str, Any] = {"state": view.state, "sort": view.sort, "direction": view.direction}
        return await parts.sessions.find(view.where, **order, cursor=cursor, limit=limit)

    if given.csv:
        async for lines in session_lines(find, "csv", None, left):
            print(lines, end="")
        return 0
    expires = "ended" if view.state is State.ENDED else "expires"
    heads = ("session ID", "user", "IP address", "device", "last active", expires)
    while left > 0:
        page = await find(cursor, min(_PAGE, left))
        if given.json:
            print_json(session_item(item, None) for item in page.items)
        else:
            print_table(map(_row, page.items), heads, "There are no such sessions.", is_continued=cursor is not None)
        left -= len(page.items)
        cursor = page.next_cursor
        if cursor is None:
            break
    return 0


def _row(item: SessionSummary) -> tuple[str, ...]:
    ends = utc(item.expires_at or None)
    if isinstance(item, Damaged):
        ends = f"damaged: {item.why}"
    elif isinstance(item, Tombstone):
        ending = item.ending
        ends = " ".join(filter(None, (utc(ending.at), ending.cause.value, ending.by, ending.reason)))
    seen = utc(item.last_seen_at or None)
    return (
        plain(item.handle),
        plain(item.user or "-"),
        plain(item.ip),
        plain(device(item.user_agent)),
        seen,
        plain(ends),
    )


async def _show(parts: Parts, given: Given) -> int:
    found = await parts.sessions.inspect(given.handle)
    if found is None:
        print("There is no such session.", file=sys.stderr)
        return 1
    item = session_item(found, None)
    if given.json:
        print_json([item])
        return 0
    fields = msgspec.to_builtins(item)
    print_pairs((name, utc(value) if name.endswith("_at") else plain(str(value))) for name, value in fields.items())
    return 0


async def _stats(parts: Parts, given: Given) -> int:
    snapshot = await parts.activity.snapshot()
    counts = {
        "active": snapshot.active.total,
        "users": snapshot.users.total,
        "visitors": snapshot.visitors.total,
        **{name: sum(value or 0 for value in snapshot.series[name]) for name in _COUNTED},
    }
    if given.json:
        print_json([counts])
    else:
        print_pairs(counts.items())
    return 0
