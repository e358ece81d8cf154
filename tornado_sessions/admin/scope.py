"""``Scope``: whose sessions an act speaks of, how many those are, and their end.

It must not know requests or pages.
"""

from __future__ import annotations

from typing import NamedTuple

from tornado_sessions.admin.acts import Acts, Outcome
from tornado_sessions.admin.audit import Actor
from tornado_sessions.manager import Sessions
from tornado_sessions.query import Count, Where
from tornado_sessions.record import Damaged, Facts, Record

__all__ = ["SHOWN", "Scope"]

#: Of a scope's sessions, so many are shown before they end.
SHOWN = 20


class Scope(NamedTuple):
    """Whose sessions an act speaks of; exactly one of these is given.

    Attributes:
        handles: some sessions.
        user: all of a user's.
        where: all that filters match, made until a time.
        everybody: all there are.
        but_mine: of everybody's, the operator's own is made anew at once.
    """

    handles: list[str]
    user: str
    where: Where | None
    everybody: bool
    but_mine: bool

    @property
    def is_empty(self) -> bool:
        """Whether it speaks of nobody."""
        return not (self.handles or self.user or self.where or self.everybody)

    @property
    def is_mass(self) -> bool:
        """Whether it speaks of sessions that nobody has named."""
        return bool(self.where is not None or self.everybody or self.user)

    @property
    def one_user(self) -> str:
        """The user whose sessions these are, where it is one."""
        return self.user or (self.where.user or "" if self.where is not None else "")

    async def preview(self, sessions: Sessions, own: str | None) -> tuple[list[Facts], Count]:
        """The first of them, and how many there are: the list's own filters, so that what is shown is what ends."""
        if self.handles:
            found = [await sessions.inspect(handle) for handle in self.handles]
            items: list[Facts] = [item for item in found if isinstance(item, Record | Damaged)]
            return items, Count(len(items), exact=True)
        where = Where(user=self.user) if self.user else self.where
        items, count = (await sessions.find(where, limit=SHOWN)).items, await sessions.count(where)
        if self.but_mine:
            items = [item for item in items if item.handle != own]
            count = Count(max(0, count.total - 1), count.exact)
        return items, count

    async def end(
        self, acts: Acts, actor: Actor, reason: str, own: str | None, *, spares_own: bool, tell: bool
    ) -> Outcome:
        """End them; the operator's own session is spared where it was not meant by name."""
        if self.where is not None:
            return await acts.end_where(actor, self.where, reason, own, tell=tell)
        if self.user:
            return await acts.end_user(actor, self.user, reason, own if spares_own else None, tell=tell)
        return await acts.end(actor, self.handles, reason, tell=tell)
