"""``Selection``: the sessions that an operation ends, given by handles, by their user, or by filters, or all sessions.

A selection can be counted and listed before it ends. It must not know requests, pages or commands, or how sessions are ended.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import msgspec

from tornado_sessions.manager import Sessions
from tornado_sessions.query import Count, Where
from tornado_sessions.record import Damaged, Record, SessionSummary
from tornado_sessions.server.operations import rules
from tornado_sessions.server.operations.action_names import Action
from tornado_sessions.server.operations.errors import InvalidInput

__all__ = [
    "Everybody",
    "Handles",
    "Matching",
    "OfUser",
    "Preview",
    "Selection",
    "check",
    "count_of",
    "preview",
    "select",
]

#: Maximum number of sessions in a preview.
_SHOWN = 20

#: The first sessions of a selection, and their total number, both without the operator's own session if it is kept.
Preview = tuple[list[SessionSummary], Count]


@dataclass(frozen=True)
class Handles:
    """Sessions by handle. An operation that ends them also ends the operator's own session if it is among them."""

    handles: Sequence[str]
    action: ClassVar[Action] = Action.END_SESSION

    def __post_init__(self) -> None:
        rules.check_handles(self.handles)


@dataclass(frozen=True)
class OfUser:
    """All sessions of one user."""

    user: str
    action: ClassVar[Action] = Action.END_USER

    def __post_init__(self) -> None:
        rules.check_user(self.user)

    @property
    def where(self) -> Where:
        """The equivalent filter."""
        return Where(user=self.user)


@dataclass(frozen=True)
class Matching:
    """All sessions that match filters."""

    where: Where
    action: ClassVar[Action] = Action.END_MATCHING

    def __post_init__(self) -> None:
        rules.check_filters(self.where)


@dataclass(frozen=True)
class Everybody:
    """All sessions.

    Args:
        but_mine: the operator stays signed in. The old session ends with the others, and the caller creates a new one at once.
    """

    but_mine: bool = False
    action: ClassVar[Action] = Action.END_EVERYBODY
    where: ClassVar[Where] = Where()


Selection = Handles | OfUser | Matching | Everybody


def select(
    now: float,
    *,
    handles: Sequence[str] | None = None,
    user: str | None = None,
    where: Where | None = None,
    everybody: Everybody | None = None,
) -> Selection:
    """Return the selection described by a form, a request or a command line.

    Args:
        now: UTC seconds; filters match no session that was created later.
        handles, user, where, everybody: give exactly one of them.

    Raises:
        InvalidInput: none or several are given, or the given one is empty or too large.
    """
    if sum(given is not None for given in (handles, user, where, everybody)) > 1:
        raise InvalidInput("Choose one of: sessions, a user, a filter, or everyone.")
    if handles is not None:
        return Handles(rules.check_handles(handles))
    if user is not None:
        return OfUser(user)
    if where is not None:
        return Matching(rules.cut_off(where, now))
    if everybody is not None:
        return everybody
    raise InvalidInput("Select at least one session.")


async def count_of(where: Where, sessions: Sessions, own: str | None) -> Count:
    """Count the matching sessions without the operator's own. The number may be a lower bound."""
    count = await sessions.count(where)
    return Count(max(0, count.total - await keeps(where, sessions, own)), count.exact)


async def keeps(where: Where, sessions: Sessions, own: str | None) -> bool:
    """Return whether the operator's own session matches; it is kept, and neither listed nor counted."""
    if own is None or where.handle not in (None, own):
        return False
    return (await sessions.count(msgspec.structs.replace(where, handle=own))).total > 0


async def preview(selection: Selection, sessions: Sessions, own: str | None = None) -> Preview:
    """Return the first sessions of a selection and their total number, both without the session that is kept.

    Args:
        selection: the sessions that would end.
        sessions: finds them.
        own: the handle of the operator's session. It is kept, unless ``selection`` names it or is ``Everybody()``.
    """
    if isinstance(selection, Handles):
        found = [await sessions.inspect(handle) for handle in selection.handles]
        live: list[SessionSummary] = [item for item in found if isinstance(item, Record | Damaged)]
        return live[:_SHOWN], Count(len(live), exact=True)
    kept = None if isinstance(selection, Everybody) and not selection.but_mine else own
    items = (await sessions.find(selection.where, limit=_SHOWN + 1)).items
    return [item for item in items if item.handle != kept][:_SHOWN], await count_of(selection.where, sessions, kept)


async def check(
    selection: Selection, sessions: Sessions, reason: str, expected: int | None = None, own: str | None = None
) -> None:
    """Check a selection before its sessions end and, on pages, before the operator types a password.

    It refuses early what can be refused. A count may be a lower bound, so only the job keeps the promise; see ``Job.confirmed``.

    Args:
        selection: the sessions to end.
        sessions: counts them.
        reason: the operator's reason, which may be empty for handles and for a user.
        expected: the number that the operator was shown; ``None`` if none was shown.
        own: the handle of the operator's session.

    Raises:
        InvalidInput: the reason is missing.
        HasGrown: over a tenth more sessions match than were shown; never for handles.
    """
    if isinstance(selection, Matching | Everybody):
        rules.check_reason(reason)
    if expected is not None and not isinstance(selection, Handles):
        kept = None if isinstance(selection, Everybody) and not selection.but_mine else own
        rules.check_growth((await count_of(selection.where, sessions, kept)).total, expected)
