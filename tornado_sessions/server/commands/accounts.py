"""Commands about people and API tokens.

No rules of its own.
"""

from __future__ import annotations

import getpass
import sys

from tornado_sessions.server.commands.printing import CLI, DAY, Given, plain, print_json, print_table, utc
from tornado_sessions.server.operations.action_names import Action
from tornado_sessions.server.operations.schema import token_item
from tornado_sessions.server.operations.tokens import ApiToken, DamagedToken, Scope, scopes_of
from tornado_sessions.server.parts import Parts
from tornado_sessions.server.roles import Role

__all__ = ["COMMANDS"]


async def _create_user(parts: Parts, given: Given) -> int:
    password = getpass.getpass("Password: ") if sys.stdin.isatty() else sys.stdin.readline().rstrip("\r\n")
    email = given.email or f"{given.name}@localhost.localdomain"
    user = await parts.accounts.register(given.name, email, password, role=Role(given.role))
    await parts.audit.note(CLI, Action.ACCOUNT_CREATED, user=user.name, target=user.role.value)
    print(f"{user.name} can log in ({user.role.value}).")
    return 0


async def _set_role(parts: Parts, given: Given) -> int:
    await parts.actions.set_role(CLI, given.name, Role(given.role))
    print(f"{given.name} is {given.role} now.")
    return 0


async def _block(parts: Parts, given: Given) -> int:
    await parts.actions.block(CLI, given.name, given.hours * 3600, given.reason)
    print(
        f"{given.name} cannot log in for {given.hours:g} hours. Sessions are not ended by this: destroy-user does that."
    )
    return 0


async def _allow(parts: Parts, given: Given) -> int:
    await parts.actions.block(CLI, given.name, None)
    print(f"{given.name} can log in again.")
    return 0


async def _create_token(parts: Parts, given: Given) -> int:
    scopes = [Scope(name) for name in given.scope] if given.scope else sorted(scopes_of(Role(given.role)))
    lifetime = None if given.days is None else given.days * DAY
    print(await parts.actions.make_token(CLI, given.name, scopes, lifetime))
    print("It is shown this once. Send it as: Authorization: Bearer TOKEN", file=sys.stderr)
    return 0


async def _tokens(parts: Parts, given: Given) -> int:
    tokens = await parts.tokens.all()
    if given.json:
        print_json(map(token_item, tokens))
        return 0
    print_table(map(_row, tokens), ("handle", "name", "scopes", "made", "ends", "last used"))
    return 0


def _row(token: ApiToken | DamagedToken) -> tuple[str, ...]:
    if isinstance(token, DamagedToken):
        return (plain(token.handle), plain(f"damaged: {token.why}"), "-", "-", "-", "-")
    return (
        token.handle,
        plain(token.name),
        " ".join(sorted(token.scopes)),
        utc(token.created_at),
        utc(token.expires_at) if token.expires_at is not None else "when revoked",
        utc(token.used_at),
    )


async def _revoke_token(parts: Parts, given: Given) -> int:
    revoked = await parts.actions.revoke_token(CLI, given.handle)
    print("Revoked." if revoked else "There is no such token.")
    return 0 if revoked else 1


#: By name.
COMMANDS = {
    "create-user": _create_user,
    "set-role": _set_role,
    "block": _block,
    "allow": _allow,
    "create-token": _create_token,
    "tokens": _tokens,
    "revoke-token": _revoke_token,
}
