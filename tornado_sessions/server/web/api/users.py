"""``/admin/api/users``: view a user, block their sign-ins, change their role. It must not know HTML."""

from __future__ import annotations

from tornado.web import HTTPError

from tornado_sessions.server.operations import rules, schema
from tornado_sessions.server.operations.action_names import Action
from tornado_sessions.server.operations.people import id_of
from tornado_sessions.server.web.api.base import ApiHandler, endpoint

__all__ = ["BlockResource", "RoleResource", "UserResource"]


class UserResource(ApiHandler):
    """One user."""

    @endpoint()
    async def get(self, name: str) -> schema.UserItem:
        """View a user."""
        people = self.parts.people
        person, user_id = await people.get(name), await id_of(people, name)
        count = await self.ask_store(lambda: self.sessions.count(user=user_id))
        if person is None and not count.total:
            raise HTTPError(404, "there is no such user")
        return schema.user_item(name, person, count.total)


class BlockResource(ApiHandler):
    """The block of one user."""

    @endpoint()
    async def post(self, name: str, body: schema.BlockRequest) -> None:
        """Block a user's sign-ins for some time and end their sessions, or unblock them."""
        seconds, keep = body.seconds or None, body.keep_sessions
        await self.parts.actions.block(self.actor(), name, seconds, body.reason, keep_sessions=keep)


class RoleResource(ApiHandler):
    """The role of one user."""

    role_to_view = role_to_act = rules.REQUIRED_ROLE[Action.CHANGE_ROLE]
    read_scope = write_scope = None

    @endpoint()
    async def put(self, name: str, body: schema.RoleRequest) -> None:
        """Change a user's role (admins)."""
        await self.parts.actions.set_role(self.actor(), name, rules.check_role(body.role), body.reason)
