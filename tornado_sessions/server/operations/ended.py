"""From an action to the sessions that it has ended, and from ended sessions to the action.

A tombstone has the ``ref`` of the action that ended it, which the audit log finds. It must not know pages.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Sequence
from typing import NamedTuple

from tornado_sessions.record import SessionSummary, Tombstone
from tornado_sessions.server.operations.action_names import ENDS_SESSIONS, Action
from tornado_sessions.server.operations.audit import Audit
from tornado_sessions.server.operations.entries import AuditQuery, Entry

__all__ = ["Group", "action_of", "grouped", "parameters_of"]

#: Actions that may end many sessions.
_BULK = (ENDS_SESSIONS - {Action.END_SESSION}) | {Action.CHANGE_ROLE, Action.RESET_PASSWORD}
#: How long after its outcome an action's sessions may seem to have ended, because clocks of hosts differ, in seconds.
_CLOCKS = 2
#: The largest number of sessions that one request ends by their handles; each has an entry.
_ENTRIES = 500
#: From this number on, rows of a list that ended together are shown as one group.
_MIN_ROWS = 3


class Group(NamedTuple):
    """Ended sessions of one action in a list.

    Attributes:
        entry: the action; its ``ended`` is the number of all its sessions.
        rows: its sessions on this page.
    """

    entry: Entry
    rows: list[Tombstone]


def parameters_of(entry: Entry, now: float) -> dict[str, str]:
    """Return the parameters of the list of sessions that an action has ended; empty if it ended none or one.

    Args:
        entry: the action with its outcome.
        now: UTC seconds, for an action that still runs.
    """
    if not entry.ref or entry.act not in _BULK or entry.ended == 0 or (entry.error and not entry.ended):
        return {}
    # The times let an index find the sessions.
    found = {"state": "ended", "ended_action": entry.ref, "ended_since": str(math.floor(entry.at) - _CLOCKS)}
    if entry.act != Action.END_EVERYBODY:
        # Ending everybody takes the latest time in the store, which may be ahead.
        found["ended_until"] = str(math.ceil(entry.done_at or now) + _CLOCKS)
    return {**found, "user": entry.user} if entry.user else found


async def grouped(items: Sequence[SessionSummary], audit: Audit) -> list[SessionSummary | Group]:
    """Return a page of ended sessions, in which those of one action are one group, at the place of the first.

    Groups of fewer than three stay rows. It costs one read of the audit log for each action on the page.
    """
    by_ref: dict[str, list[Tombstone]] = {}
    for item in items:
        if isinstance(item, Tombstone) and item.ending.action:
            by_ref.setdefault(item.ending.action, []).append(item)
    many = {ref: rows for ref, rows in by_ref.items() if len(rows) >= _MIN_ROWS}
    found = await asyncio.gather(*(audit.entries(AuditQuery(ref=ref, limit=1)) for ref in many))
    groups: dict[str, Group] = {}
    for entries, rows in zip(found, many.values(), strict=True):
        if entries and entries[0].act in _BULK:
            groups |= dict.fromkeys((row.handle for row in rows), Group(entries[0], rows))
    shown: list[SessionSummary | Group] = []
    for item in items:
        group = groups.get(item.handle)
        if group is None:
            shown.append(item)
        elif item is group.rows[0]:
            shown.append(group)
    return shown


async def action_of(session: Tombstone, audit: Audit) -> Entry | None:
    """Return the operator's action that has ended a session, if the audit log still has it."""
    if not session.ending.action:
        return None
    # Selected rows end together: each has an entry of its own with the same ref.
    found = await audit.entries(AuditQuery(ref=session.ending.action, limit=_ENTRIES))
    return next((entry for entry in found if entry.act != Action.END_SESSION or entry.target == session.handle), None)
