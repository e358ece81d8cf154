"""``/admin/api/users``: list users, view one, block their sign-ins, change their role. It must not know HTML."""

from __future__ import annotations

from tornado.web import HTTPError

from tornado_sessions.server.operations import rules, schema
from tornado_sessions.server.operations.action_names import Action
from tornado_sessions.server.operations.actions import BlockDuration
from tornado_sessions.server.operations.filters import PEOPLE_PARAMETERS, read_people_query
from tornado_sessions.server.operations.people import Person
from tornado_sessions.server.web.api.base import ApiHandler, endpoint

__all__ = ["BlockResource", "RoleResource", "UserResource", "UsersResource"]


class UsersResource(ApiHandler):
    """All users."""

    @endpoint(query=PEOPLE_PARAMETERS)
    async def get(self) -> schema.UserPage:
        """List users by name."""
        query = read_people_query(self.query_value)
        page = await self.ask_store(lambda: self.parts.directory.page(query))
        items = list(map(schema.user_item, page.members))
        return schema.UserPage(items, page.next_cursor, page.previous_cursor)


class UserResource(ApiHandler):
    """One user."""

    @endpoint()
    async def get(self, name: str) -> schema.UserItem:
        """View a user."""
        person = await self.parts.people.get(name)
        # Sessions need no account: a host application may have removed it.
        shown = person if person is not None else Person(name, name)
        member = await self.ask_store(lambda: self.parts.directory.member(shown))
        if person is None and not member.sessions.total:
            raise HTTPError(404, "there is no such user")
        return schema.user_item(member, has_account=person is not None)


class BlockResource(ApiHandler):
    """The block of one user."""

    @endpoint()
    async def post(self, name: str, body: schema.BlockRequest) -> None:
        """Block a user's sign-ins for some time and end their sessions, or unblock them."""
        duration: BlockDuration | None = "no end" if body.seconds is None else body.seconds or None
        await self.parts.actions.block(self.actor(), name, duration, body.reason, keep_sessions=body.keep_sessions)


class RoleResource(ApiHandler):
    """The role of one user."""

    role_to_view = role_to_act = rules.REQUIRED_ROLE[Action.CHANGE_ROLE]
    read_scope = write_scope = None

    @endpoint()
    async def put(self, name: str, body: schema.RoleRequest) -> None:
        """Change a user's role (admins)."""
        await self.parts.actions.set_role(self.actor(), name, rules.check_role(body.role), body.reason)
