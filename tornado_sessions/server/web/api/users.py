"""``/admin/api/users``: view a user, block their sign-ins, change their role.

It must not know HTML.
"""

from __future__ import annotations

from typing import Any

from tornado.web import HTTPError

from tornado_sessions.server.accounts.user import DamagedUser, User
from tornado_sessions.server.operations import rules
from tornado_sessions.server.operations import schema as answers
from tornado_sessions.server.operations.action_names import Action
from tornado_sessions.server.roles import Role
from tornado_sessions.server.web.api.base import ApiHandler

__all__ = ["routes"]

_NAME = "([^/]{1,200})"


class UserResource(ApiHandler):
    """``/admin/api/users/NAME``."""

    async def get(self, name: str) -> None:
        """State and number of sessions."""
        found = await self.parts.accounts.look_up(name)
        account = found if isinstance(found, User) else None
        count = await self.ask_store(lambda: self.sessions.count(user=account.name if account is not None else name))
        if found is None and not count.total:
            raise HTTPError(404, "there is no such user")
        self.answer(
            answers.UserItem(
                name=account.name if account is not None else name,
                has_account=found is not None,
                role=(account.role if account is not None else Role.USER).value,
                blocked_until=account.blocked_until if account is not None else None,
                two_steps=account is not None and account.has_two_steps,
                sessions=count.total,
                damaged=isinstance(found, DamagedUser),
            )
        )


class BlockResource(ApiHandler):
    """``/admin/api/users/NAME/block``."""

    async def post(self, name: str) -> None:
        """Refuse log-ins for a while, or allow them again."""
        self.need_proof()
        asked = self.body(answers.BlockRequest)
        await self.parts.actions.block(self.actor(), name, asked.seconds or None, asked.reason)
        self.set_status(204)


class RoleResource(ApiHandler):
    """``/admin/api/users/NAME/role``."""

    role_to_view = role_to_act = rules.NEEDED[Action.CHANGE_ROLE]
    reads = writes = None

    async def put(self, name: str) -> None:
        """Give a role."""
        self.need_proof()
        asked = self.body(answers.RoleRequest)
        await self.parts.actions.set_role(self.actor(), name, rules.role_named(asked.role), asked.reason)
        self.set_status(204)


def routes() -> list[Any]:
    """Addresses and their handlers."""
    return [
        (rf"/admin/api/users/{_NAME}", UserResource),
        (rf"/admin/api/users/{_NAME}/block", BlockResource),
        (rf"/admin/api/users/{_NAME}/role", RoleResource),
    ]
