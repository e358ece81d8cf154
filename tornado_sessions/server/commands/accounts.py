"""Commands for accounts and API tokens. They must not know how accounts and tokens are stored."""

from __future__ import annotations

import getpass
import sys
from functools import partial

from tornado_sessions.server.accounts.registration import MadeBy
from tornado_sessions.server.accounts.user import clean
from tornado_sessions.server.commands.ending import finish
from tornado_sessions.server.commands.parsing import CLI, Commands, Given, add_json
from tornado_sessions.server.commands.printing import counted, plain, print_json, print_table, utc
from tornado_sessions.server.operations.action_names import Action
from tornado_sessions.server.operations.actions import BlockDuration
from tornado_sessions.server.operations.schema import token_item
from tornado_sessions.server.operations.tokens import ApiToken, DamagedToken, Scope, scopes_of
from tornado_sessions.server.parts import Parts
from tornado_sessions.server.roles import Role

__all__ = ["add_to"]

_HOUR, _DAY = 3600.0, 86400.0


def add_to(commands: Commands) -> None:
    """Add these commands."""
    roles = [role.value for role in Role]
    create = commands.add(
        "create-user", _create_user, "create an account; reads the password from standard input", "name"
    )
    create.add_argument("--role", choices=roles, default=Role.USER.value)
    create.add_argument("--email", help="default: NAME@localhost.localdomain")
    commands.add(
        "reset-password",
        _reset_password,
        "end a user's password and sessions; reads a new password from standard input or, if it is empty, prints a one-time "
        "link by which the user sets one",
        "name",
    )
    commands.add(
        "reset-two-steps", _reset_two_steps, "print a one-time link that turns two-step verification off", "name"
    )
    commands.add("set-role", _set_role, "change a user's role", "name").add_argument("role", choices=roles)
    block = commands.add("block", _block, "block a user's sign-ins for some time and end their sessions", "name")
    block.add_argument("--hours", type=float, default=24.0, help="more than 0, at most 8784 (a year); default: 24")
    block.add_argument("--no-end", action="store_true", help="instead of --hours: until `allow`")
    block.add_argument("--reason", default="", help="for the audit log")
    block.add_argument("--keep-sessions", action="store_true", help="do not end the user's sessions")
    commands.add("allow", _allow, "unblock a user's sign-ins", "name")
    token = commands.add("create-token", _create_token, "create an API token and print it once", "name")
    token.add_argument("--role", choices=["viewer", "operator"], default="operator", help="all scopes of this role")
    scopes = [scope.value for scope in Scope]
    token.add_argument("--scope", action="append", choices=scopes, help="instead of a role; may be repeated")
    token.add_argument("--days", type=float, help="lifetime, at most 3650; default: until it is revoked")
    add_json(commands.add("tokens", _tokens, "list API tokens, without their secrets"))
    commands.add("revoke-token", _revoke_token, "revoke an API token, by the handle that `tokens` lists", "handle")


async def _create_user(parts: Parts, given: Given) -> int:
    password = _read_password("Password: ")
    email = given.email or f"{given.name}@localhost.localdomain"

    async def note() -> None:
        await parts.audit.note(CLI, Action.ACCOUNT_CREATED, user=clean(given.name), target=given.role)

    register = partial(parts.accounts.register, made_by=MadeBy.COMMAND, email_confirmed=bool(given.email))
    user = await register(given.name, email, password, role=Role(given.role), note=note)
    print(f"{user.name} can sign in ({user.role.value}).")
    return 0


def _read_password(prompt: str) -> str:
    return getpass.getpass(prompt) if sys.stdin.isatty() else sys.stdin.readline().rstrip("\r\n")


async def _reset_password(parts: Parts, given: Given) -> int:
    typed = _read_password("New password (leave empty for a one-time link): ")
    reset = await parts.credentials.reset_password(CLI, given.name, new=typed or None)
    name = reset.person.name
    if reset.link:
        _print_link(parts, reset.link)
        print(
            f"By this link, {name} sets a new password: once, within 30 minutes. Ended: {reset.ended}", file=sys.stderr
        )
    else:
        print(f"The password of {name} is new. Ended: {reset.ended}", file=sys.stderr)
    return 0


def _print_link(parts: Parts, path: str) -> None:
    # The only place where it appears: neither a log nor the audit log contains it.
    options = parts.options
    print(options.base_url(f"http://{options.host}:{options.port}") + path)


async def _reset_two_steps(parts: Parts, given: Given) -> int:
    reset = await parts.credentials.reset_two_steps(CLI, given.name)
    _print_link(parts, reset.link)
    name = reset.person.name
    print(
        f"By this link and the password, {name} turns two-step verification off: once, within 30 minutes.",
        file=sys.stderr,
    )
    return 0


async def _set_role(parts: Parts, given: Given) -> int:
    await parts.actions.set_role(CLI, given.name, Role(given.role))
    print(f"{given.name} is now {given.role}.")
    return 0


async def _block(parts: Parts, given: Given) -> int:
    keep = given.keep_sessions
    seconds: BlockDuration = "no end" if given.no_end else given.hours * _HOUR
    outcome = await parts.actions.block(CLI, given.name, seconds, given.reason, keep_sessions=keep)
    until = "until `allow`" if given.no_end else f"for {counted(given.hours, 'hour')}"
    print(f"{given.name} cannot sign in {until}.")
    if not keep:
        return await finish(parts, outcome)
    print("Open sessions continue; destroy-user ends them.")
    return 0


async def _allow(parts: Parts, given: Given) -> int:
    await parts.actions.block(CLI, given.name, None)
    print(f"{given.name} can sign in again.")
    return 0


async def _create_token(parts: Parts, given: Given) -> int:
    scopes = [Scope(name) for name in given.scope] if given.scope else sorted(scopes_of(Role(given.role)))
    lifetime = None if given.days is None else given.days * _DAY
    print(await parts.actions.create_token(CLI, given.name, scopes, lifetime))
    print("Copy it now: it is not shown again. Send it as: Authorization: Bearer TOKEN", file=sys.stderr)
    return 0


async def _tokens(parts: Parts, given: Given) -> int:
    tokens = await parts.tokens.all()
    heads = ("handle", "name", "scopes", "created", "by", "expires", "last used")
    if given.json:
        print_json(map(token_item, tokens))
    else:
        print_table(map(_row, tokens), heads, "There are no API tokens.")
    return 0


def _row(token: ApiToken | DamagedToken) -> tuple[str, ...]:
    if isinstance(token, DamagedToken):
        return (plain(token.handle), plain(f"damaged: {token.why}"), "-", "-", "-", "-", "-")
    expires = utc(token.expires_at) if token.expires_at is not None else "when revoked"
    scopes = " ".join(sorted(token.scopes))
    made = (utc(token.created_at), plain(token.created_by or "-"))
    return (token.handle, plain(token.name), scopes, *made, expires, utc(token.used_at))


async def _revoke_token(parts: Parts, given: Given) -> int:
    revoked = await parts.actions.revoke_token(CLI, given.handle)
    print("Revoked." if revoked else "There is no such token.")
    return 0 if revoked else 1
