"""Which sessions an operation ends: some by handle, a user's, those that filters match, or everybody's.

Each selection can count and list its sessions, and end them. It must not know requests, pages or commands.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Protocol

from tornado_sessions.manager import Sessions
from tornado_sessions.query import Count, Where
from tornado_sessions.record import Damaged, Record, SessionSummary
from tornado_sessions.server.operations import rules
from tornado_sessions.server.operations.actions import Actions, Outcome
from tornado_sessions.server.operations.audit import Actor
from tornado_sessions.server.operations.errors import InvalidInput

__all__ = ["SHOWN", "Everybody", "Handles", "Matching", "OfUser", "Preview", "Selection", "check", "select"]

#: How many sessions of a selection are listed before they end.
SHOWN = 20

#: The first sessions of a selection, and how many there are.
Preview = tuple[list[SessionSummary], Count]


class Selection(Protocol):
    """What the four selections have in common."""

    #: Whether nobody has named these sessions or their user: then ending them needs a reason.
    is_mass: ClassVar[bool]
    #: Whether their number is checked against the number that was shown.
    can_grow: ClassVar[bool]

    @property
    def one_user(self) -> str:
        """The user whose sessions these are; empty where they can be several users'."""

    async def preview(self, sessions: Sessions, own: str | None) -> Preview:
        """List the first sessions and count all of them. ``own`` is the handle of the operator's session."""

    async def end(
        self, acts: Actions, actor: Actor, reason: str, own: str | None = None, *, tell: bool = True
    ) -> Outcome:
        """End them; the session ``own`` is kept unless it was selected by its handle, or everybody was.

        Raises:
            OperationRefused: nothing was done.
        """


@dataclass(frozen=True)
class Handles:
    """Sessions by handle."""

    handles: Sequence[str]
    is_mass: ClassVar[bool] = False
    can_grow: ClassVar[bool] = False
    one_user: ClassVar[str] = ""

    def __post_init__(self) -> None:
        rules.handles_named(self.handles)

    async def preview(self, sessions: Sessions, own: str | None) -> Preview:
        """List those that are still there."""
        del own
        found = [await sessions.inspect(handle) for handle in self.handles]
        items: list[SessionSummary] = [item for item in found if isinstance(item, Record | Damaged)]
        return items, Count(len(items), exact=True)

    async def end(
        self, acts: Actions, actor: Actor, reason: str, own: str | None = None, *, tell: bool = True
    ) -> Outcome:
        """End them, the operator's own as well where it is among them."""
        del own
        return await acts.end(actor, self.handles, reason, tell=tell)


@dataclass(frozen=True)
class OfUser:
    """All sessions of one user."""

    user: str
    is_mass: ClassVar[bool] = False
    can_grow: ClassVar[bool] = True

    def __post_init__(self) -> None:
        rules.user_named(self.user)

    @property
    def one_user(self) -> str:
        """The user."""
        return self.user

    async def preview(self, sessions: Sessions, own: str | None) -> Preview:
        """List the latest, and count all."""
        del own
        return await _found(sessions, Where(user=self.user))

    async def end(
        self, acts: Actions, actor: Actor, reason: str, own: str | None = None, *, tell: bool = True
    ) -> Outcome:
        """End all of them but ``own``."""
        return await acts.end_user(actor, self.user, reason, own, tell=tell)


@dataclass(frozen=True)
class Matching:
    """All sessions that filters match and that were created before the selection was made; see ``rules.cut_off``."""

    where: Where
    is_mass: ClassVar[bool] = True
    can_grow: ClassVar[bool] = True

    def __post_init__(self) -> None:
        rules.filters_named(self.where)

    @property
    def one_user(self) -> str:
        """The user that the filters name, if they do."""
        return self.where.user or ""

    async def preview(self, sessions: Sessions, own: str | None) -> Preview:
        """List them by the filters that will end them."""
        del own
        return await _found(sessions, self.where)

    async def end(
        self, acts: Actions, actor: Actor, reason: str, own: str | None = None, *, tell: bool = True
    ) -> Outcome:
        """End all of them but ``own``."""
        return await acts.end_where(actor, self.where, reason, own, tell=tell)


@dataclass(frozen=True)
class Everybody:
    """All sessions there are.

    Args:
        but_mine: the operator gets a new session at once, which the caller starts.
    """

    but_mine: bool = False
    is_mass: ClassVar[bool] = True
    can_grow: ClassVar[bool] = True
    one_user: ClassVar[str] = ""

    async def preview(self, sessions: Sessions, own: str | None) -> Preview:
        """List the latest, and count all."""
        items, count = await _found(sessions, Where())
        if self.but_mine:
            items = [item for item in items if item.handle != own]
            count = Count(max(0, count.total - 1), count.exact)
        return items, count

    async def end(
        self, acts: Actions, actor: Actor, reason: str, own: str | None = None, *, tell: bool = True
    ) -> Outcome:
        """End every session, the operator's own as well."""
        del own
        return await acts.end_everybody(actor, reason, but_own=self.but_mine, tell=tell)


async def _found(sessions: Sessions, where: Where) -> Preview:
    return (await sessions.find(where, limit=SHOWN)).items, await sessions.count(where)


def select(
    now: float,
    *,
    handles: Sequence[str] | None = None,
    user: str | None = None,
    where: Where | None = None,
    everybody: bool = False,
    but_mine: bool = False,
) -> Selection:
    """The selection that a form, a request or a command line asks for.

    Args:
        now: in UTC seconds; filters match no session that was created later.
        handles, user, where, everybody: exactly one of them is given.
        but_mine: of everybody's, the operator gets a new session.

    Raises:
        InvalidInput: none or several are given, or what is given is empty or too much.
    """
    if sum((handles is not None, user is not None, where is not None, everybody)) > 1:
        raise InvalidInput("one thing at a time: sessions, a user's, a filter's or everybody's")
    if handles is not None:
        return Handles(rules.handles_named(handles))
    if user is not None:
        return OfUser(user)
    if where is not None:
        return Matching(rules.cut_off(where, now))
    if everybody:
        return Everybody(but_mine)
    raise InvalidInput("nothing was selected")


async def check(selection: Selection, sessions: Sessions, reason: str, expected: int | None, own: str | None) -> None:
    """Check what can be checked before an operator confirms.

    Args:
        selection: what would end.
        sessions: where it is counted.
        reason: as given.
        expected: the number that was shown; ``None``: none was.
        own: the handle of the operator's session.

    Raises:
        InvalidInput: a reason is required.
        HasGrown: more sessions match than were shown.
    """
    if selection.is_mass:
        rules.reason_given(reason)
    if selection.can_grow and expected is not None:
        _, count = await selection.preview(sessions, own)
        rules.check_growth(count.total, expected)
