"""From an action to the sessions that it has ended, and from ended sessions to the action.

A tombstone knows who ended the session and when; the audit log knows when an action began and was done. It must not know pages.
"""

from __future__ import annotations

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
#: How much later than its outcome the sessions of an action may have ended, by the clock of another host, in seconds.
_CLOCKS = 2
#: From this number on, rows of a list that ended together are shown as one group.
_MIN_ROWS = 3
#: The number of an operator's entries among which the action of a group is looked for.
_ENTRIES = 50


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
    if entry.act not in _BULK or entry.ended == 0 or (entry.error and not entry.ended):
        return {}
    until = math.ceil(entry.done_at or now) + _CLOCKS
    found = {"state": "ended", "ended_by": entry.actor, "ended_since": str(int(entry.at)), "ended_until": str(until)}
    return {**found, "user": entry.user} if entry.user else found


async def grouped(items: Sequence[SessionSummary], audit: Audit) -> list[SessionSummary | Group]:
    """Return a page of ended sessions, in which those of one action are one group, at the place of the first.

    Groups of fewer than three stay rows. It costs one short read of the audit log for each operator on the page.
    """
    by_actor: dict[str, list[Tombstone]] = {}
    for item in items:
        if isinstance(item, Tombstone) and item.ending.by and item.ending.by != item.user:
            by_actor.setdefault(item.ending.by, []).append(item)
    groups: dict[str, Group] = {}
    for actor, rows in by_actor.items():
        if len(rows) < _MIN_ROWS:
            continue
        for group in _groups(rows, await _actions(actor, rows, audit)):
            groups.update((row.handle, group) for row in group.rows)
    shown: list[SessionSummary | Group] = []
    for item in items:
        part = groups.get(item.handle, item)
        if part is item or item.handle == part.rows[0].handle:  # type: ignore[union-attr]
            shown.append(part)
    return shown


async def action_of(session: Tombstone, audit: Audit) -> Entry | None:
    """Return the operator's action that has ended a session, if the audit log knows it."""
    ending = session.ending
    query = AuditQuery(who=ending.by or "", until=ending.at + _CLOCKS, limit=_ENTRIES)
    for entry in await audit.entries(query):
        is_own = entry.act == Action.END_SESSION and entry.target == session.handle
        if entry.actor == ending.by and (is_own or (entry.act in _BULK and _is_of(session, entry))):
            return entry
    return None


async def _actions(actor: str, rows: Sequence[Tombstone], audit: Audit) -> list[Entry]:
    """Return the bulk actions of an operator that may have ended these sessions, newest first."""
    latest = max(row.ending.at for row in rows)
    found = await audit.entries(AuditQuery(who=actor, until=latest + _CLOCKS, limit=_ENTRIES))
    return [entry for entry in found if entry.actor == actor and entry.act in _BULK]


def _groups(rows: Sequence[Tombstone], entries: Sequence[Entry]) -> list[Group]:
    groups = [Group(entry, []) for entry in entries]
    for row in rows:
        fitting = (group for group in groups if _is_of(row, group.entry))
        if (group := next(fitting, None)) is not None:
            group.rows.append(row)
    return [group for group in groups if len(group.rows) >= _MIN_ROWS]


def _is_of(row: Tombstone, entry: Entry) -> bool:
    is_in_time = entry.at - _CLOCKS <= row.ending.at <= (entry.done_at or math.inf) + _CLOCKS
    return is_in_time and entry.user in ("", row.user)
