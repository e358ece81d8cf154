"""``/admin/api/tokens``: list, create and revoke API tokens.

It must not know how tokens are stored.
"""

from __future__ import annotations

from typing import Any

from tornado_sessions.server.operations import rules
from tornado_sessions.server.operations import schema as answers
from tornado_sessions.server.operations.action_names import Action
from tornado_sessions.server.operations.schema import token_item
from tornado_sessions.server.web.api.base import HANDLE, ApiHandler

__all__ = ["routes"]

_DAY = 86400.0


class TokensResource(ApiHandler):
    """``/admin/api/tokens``."""

    role_to_act = rules.NEEDED[Action.CREATE_TOKEN]
    reads = writes = None

    async def get(self) -> None:
        """Every token, without its secret."""
        self.answer(answers.TokenList([token_item(token) for token in await self.parts.tokens.all()]))

    async def post(self) -> None:
        """Make one; it is shown this once."""
        self.need_proof()
        asked = self.body(answers.TokenRequest)
        made = await self.parts.actions.make_token(self.actor(), asked.name, asked.scopes, asked.days * _DAY)
        self.answer(answers.MadeToken(made), 201)


class TokenResource(ApiHandler):
    """``/admin/api/tokens/HANDLE``."""

    role_to_act = rules.NEEDED[Action.REVOKE_TOKEN]
    reads = writes = None

    async def delete(self, handle: str) -> None:
        """Revoke it; 204 also when there is none."""
        self.need_proof()
        await self.parts.actions.revoke_token(self.actor(), handle)
        self.set_status(204)


def routes() -> list[Any]:
    """Addresses and their handlers."""
    return [
        (r"/admin/api/tokens", TokensResource),
        (rf"/admin/api/tokens/{HANDLE}", TokenResource),
    ]
