"""``Directory``: the users that operators look at, with what sessions and the audit log know of each.

It works with whatever a host application's people can do. It must not know pages or accounts.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Collection, Sequence
from typing import NamedTuple

from tornado_sessions.manager import Sessions
from tornado_sessions.query import Count
from tornado_sessions.server.operations.action_names import Action
from tornado_sessions.server.operations.audit import Audit
from tornado_sessions.server.operations.entries import AuditQuery
from tornado_sessions.server.operations.people import (
    ListedPeople,
    People,
    PeoplePage,
    PeopleQuery,
    Person,
    SearchedPeople,
)

__all__ = ["Directory", "Member", "Members"]

#: How many of a user's latest sessions are searched for the last sign-in.
_RECENT = 5
#: Seconds for which a person of a list of sessions is known, and the maximum number of them.
_KNOWN_FOR, _MAX_KNOWN = 30.0, 5_000


class Member(NamedTuple):
    """A user in a list.

    Attributes:
        person: see ``Person``.
        sessions: the number of their active sessions.
        signed_in_at: their last sign-in that the audit log knows, in UTC seconds; ``None`` if it knows none.
    """

    person: Person
    sessions: Count
    signed_in_at: float | None


class Members(NamedTuple):
    """One page of users, and the cursors of the pages beside it."""

    members: list[Member]
    next_cursor: str | None
    previous_cursor: str | None


class Directory:
    """Lists users. Each method may raise ``StoreUnavailable``.

    Args:
        people: see ``People``; the optional protocols decide what a list can do.
        sessions: counts their sessions.
        audit: knows their last sign-in.
    """

    def __init__(self, people: People, sessions: Sessions, audit: Audit) -> None:
        self._people = people
        self._sessions = sessions
        self._audit = audit
        self._known: dict[str, tuple[float, Person | None]] = {}

    @property
    def can_list(self) -> bool:
        """Whether users can be listed and filtered. Otherwise a list shows only what a text finds."""
        return isinstance(self._people, ListedPeople)

    async def page(self, query: PeopleQuery) -> Members:
        """Return one page of users. Raises ``QueryError`` if the cursor is invalid."""
        found = await self._find(query)
        members = await asyncio.gather(*map(self.member, found.people))
        return Members(list(members), found.next_cursor, found.previous_cursor)

    async def _find(self, query: PeopleQuery) -> PeoplePage:
        people = self._people
        if isinstance(people, ListedPeople):
            return await people.page(query)
        if not query.text:
            return PeoplePage([])
        found: Sequence[Person | None] = [await people.get(query.text)]
        if isinstance(people, SearchedPeople):
            found = await people.search(query.text, query.limit)
        return PeoplePage([person for person in found if person is not None][: query.limit])

    async def known(self, users: Collection[str]) -> list[Person]:
        """Return the people of a page who exist. Each answer is reused for half a minute.

        Args:
            users: ids, about as many as a page has rows.
        """
        now = time.monotonic()
        if len(self._known) > _MAX_KNOWN:
            self._known.clear()
        unknown = [user for user in users if user not in self._known or now - self._known[user][0] > _KNOWN_FOR]
        for user, person in zip(unknown, await asyncio.gather(*map(self._people.get, unknown)), strict=True):
            self._known[user] = (now, person)
        return [person for user in users if (person := self._known[user][1]) is not None]

    async def named(self, text: str, limit: int) -> list[Person]:
        """Return people whom the application finds by a text; none if ids are names, which lists of sessions find themselves."""
        if not isinstance(self._people, SearchedPeople):
            return []
        found = list(await self._people.search(text, limit))[:limit]
        self._known |= {person.id: (time.monotonic(), person) for person in found}
        return found

    def name_of(self, user: str) -> str:
        """Return the name of a user whom ``known`` has read; otherwise the id."""
        person = self._known[user][1] if user in self._known else None
        return person.name if person is not None and person.name else user

    async def member(self, person: Person) -> Member:
        """Return what lists show of a person: three short reads of an index, however many sessions there are."""
        count, page, entries = await asyncio.gather(
            self._sessions.count(user=person.id),
            self._sessions.find(user=person.id, limit=_RECENT),
            self._audit.entries(AuditQuery(who=person.id, act=Action.LOG_IN, limit=1)),
        )
        # The audit log knows sessions that have ended, too; but a host application may record its sign-ins elsewhere.
        times = [*(entry.at for entry in entries), *(item.signed_in_at or 0.0 for item in page.items)]
        return Member(person, count, max(times, default=0.0) or None)
