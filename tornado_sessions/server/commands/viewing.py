"""Commands that look at sessions.

No rules of its own.
"""

from __future__ import annotations

import sys

import msgspec
from tabulate import tabulate

from tornado_sessions.query import State
from tornado_sessions.record import Damaged, SessionSummary, Tombstone
from tornado_sessions.server.commands.printing import Given, plain, print_json, print_table, read_filters, utc
from tornado_sessions.server.display import device
from tornado_sessions.server.operations.schema import session_item
from tornado_sessions.server.parts import Parts

__all__ = ["COMMANDS"]

_PAGE = 500


async def _list(parts: Parts, given: Given) -> int:
    view, cursor, left = await read_filters(parts, given), None, given.most or sys.maxsize
    while left > 0:
        page = await parts.sessions.find(
            view.where, state=view.state, sort=view.sort, cursor=cursor, limit=min(_PAGE, left)
        )
        if given.json:
            print_json(session_item(item, None) for item in page.items)
        elif page.items or cursor is None:
            print_table(map(_row, page.items), _heads(view.state))
        left -= len(page.items)
        cursor = page.next_cursor
        if cursor is None:
            break
    return 0


def _heads(state: State) -> tuple[str, ...]:
    return ("handle", "user", "address", "device", "last seen", "ended" if state is State.ENDED else "expires")


def _row(item: SessionSummary) -> tuple[str, ...]:
    last = utc(item.expires_at or None)
    if isinstance(item, Damaged):
        last = f"damaged: {item.why}"
    elif isinstance(item, Tombstone):
        last = " ".join(
            filter(None, (utc(item.ending.at), item.ending.cause.value, item.ending.by, item.ending.reason))
        )
    return (
        plain(item.handle),
        plain(item.user or "-"),
        plain(item.ip),
        plain(device(item.user_agent)),
        utc(item.last_seen_at or None),
        plain(last),
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
    facts = msgspec.to_builtins(item)
    rows = [(name, utc(value) if name.endswith("_at") else plain(str(value))) for name, value in facts.items()]
    print(tabulate(rows, tablefmt="plain", disable_numparse=True))
    return 0


async def _stats(parts: Parts, given: Given) -> int:
    snapshot = await parts.activity.snapshot()
    told = {name: sum(value or 0 for value in snapshot.series[name]) for name in ("sign-ins", "failures", "ended")}
    counts = {"active": snapshot.active, "users": snapshot.users, "visitors": snapshot.visitors}
    shown = {**{name: count.total for name, count in counts.items()}, **told}
    if given.json:
        print_json([shown])
    else:
        print(tabulate(shown.items(), tablefmt="plain"))
    return 0


#: By name.
COMMANDS = {
    "list": _list,
    "show": _show,
    "stats": _stats,
}
