"""``/admin/api/tokens``: list, create and revoke API tokens, which requires a session. It must not know how tokens are stored."""

from __future__ import annotations

from tornado_sessions.server.operations import rules, schema
from tornado_sessions.server.operations.action_names import Action
from tornado_sessions.server.web.api.base import ApiHandler, endpoint

__all__ = ["TokenResource", "TokensResource"]


class TokensResource(ApiHandler):
    """All API tokens."""

    role_to_act = rules.REQUIRED_ROLE[Action.CREATE_TOKEN]
    read_scope = write_scope = None

    @endpoint()
    async def get(self) -> schema.TokenList:
        """List API tokens (with a session only)."""
        return schema.TokenList(list(map(schema.token_item, await self.parts.tokens.all())))

    @endpoint(201)
    async def post(self, body: schema.TokenRequest) -> schema.MadeToken:
        """Create an API token (admins)."""
        lifetime = body.days * rules.DAY
        return schema.MadeToken(await self.parts.actions.create_token(self.actor(), body.name, body.scopes, lifetime))


class TokenResource(ApiHandler):
    """One API token."""

    role_to_act = rules.REQUIRED_ROLE[Action.REVOKE_TOKEN]
    read_scope = write_scope = None

    @endpoint()
    async def delete(self, handle: str) -> None:
        """Revoke an API token, if it exists (admins)."""
        await self.parts.actions.revoke_token(self.actor(), handle)
