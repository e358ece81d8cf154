"""The rules of operations: bounds, what is required, and who may do what. Each is decided here, and nowhere else.

Pure functions that return the value to use, or raise ``OperationRefused``. It must not know stores, pages or commands.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import msgspec

from tornado_sessions.query import Where
from tornado_sessions.server.accounts.user import User
from tornado_sessions.server.operations.action_names import ENDS_SESSIONS, Action
from tornado_sessions.server.operations.errors import HasGrown, InvalidInput, NotPermitted
from tornado_sessions.server.operations.tokens import Scope
from tornado_sessions.server.roles import Role

__all__ = [
    "MAX_BLOCK",
    "MAX_HANDLES",
    "MAX_NAME",
    "MAX_TOKEN_LIFETIME",
    "NEEDED",
    "block_seconds",
    "check_growth",
    "cut_off",
    "days",
    "filters_named",
    "handles_named",
    "may_block",
    "permit",
    "reason_given",
    "role_named",
    "scopes_named",
    "seconds",
    "token_lifetime",
    "token_name",
    "user_named",
]

_DAY = 86400.0
#: The longest life of an API token that expires, in seconds: ten years.
MAX_TOKEN_LIFETIME = 3650 * _DAY
#: The longest time for which log-ins of a user can be blocked, in seconds: a year.
MAX_BLOCK = 366 * _DAY
#: Shorter times are over before they have any effect, in seconds.
_SHORTEST = 1.0
#: The longest name of an API token, in characters.
MAX_NAME = 64
#: The part by which a number of sessions may grow after it was shown.
_GROWTH = 0.1
#: The most sessions that can be ended by name in one operation.
MAX_HANDLES = 500
#: The role that each action of an operator needs.
NEEDED = {
    **dict.fromkeys((*ENDS_SESSIONS, Action.CANCEL_JOB, Action.BLOCK, Action.ALLOW), Role.OPERATOR),
    **dict.fromkeys((Action.CHANGE_ROLE, Action.CREATE_TOKEN, Action.REVOKE_TOKEN, Action.REVEAL), Role.ADMIN),
    Action.EXPORT_AUDIT: Role.VIEWER,
}


def token_lifetime(lifetime: float | None) -> float | None:
    """How long an API token lives, in seconds; ``None``: until it is revoked."""
    # A comparison with NaN is false, so NaN is refused as well.
    if lifetime is not None and not _SHORTEST <= lifetime <= MAX_TOKEN_LIFETIME:
        raise InvalidInput(
            "a token lives for at least one second and at most %s days", f"{MAX_TOKEN_LIFETIME / _DAY:g}"
        )
    return lifetime


def block_seconds(duration: float) -> float:
    """For how long log-ins are blocked, in seconds."""
    if not _SHORTEST <= duration <= MAX_BLOCK:
        raise InvalidInput(
            "log-ins can be blocked for at least one second and at most %s days", f"{MAX_BLOCK / _DAY:g}"
        )
    return duration


def days(text: str) -> float:
    """A number of days as it was typed, in seconds; whether it is in bounds is asked elsewhere."""
    return _number(text, "days") * _DAY


def seconds(text: str) -> float:
    """A number of seconds as it was typed."""
    return _number(text, "seconds")


def _number(text: str, name: str) -> float:
    try:
        return float(text if text.isascii() and "_" not in text else "")
    except ValueError:
        raise InvalidInput("%s must be a number", name) from None


def token_name(name: str) -> str:
    """The name of an API token, without spaces around it."""
    name = name.strip()
    if not name:
        raise InvalidInput("a token needs a name")
    if len(name) > MAX_NAME or not name.isprintable():
        raise InvalidInput("the name of a token has at most %s characters, all of them printable", str(MAX_NAME))
    return name


def scopes_named(names: Iterable[str]) -> list[Scope]:
    """The scopes of an API token, at least one."""
    chosen = list(dict.fromkeys(names))
    if not chosen:
        raise InvalidInput("a token needs at least one scope")
    if not set(chosen) <= set(Scope):
        raise InvalidInput("%s is one of %s", "scope", ", ".join(Scope))
    return list(map(Scope, chosen))


def role_named(name: str) -> Role:
    """The role of this name."""
    if name not in list(Role):
        raise InvalidInput("%s is one of %s", "role", ", ".join(Role))
    return Role(name)


def user_named(user: str) -> str:
    """The user whose sessions are meant; what no session can have as its user is refused by the store's own checks."""
    if not user:
        raise InvalidInput("nothing was selected")
    return user


def filters_named(where: Where) -> Where:
    """Filters that say something: without one, they would match everybody."""
    if not where.given.keys() - {"created_until"}:
        raise InvalidInput("a filter is needed")
    return where


def cut_off(where: Where, now: float) -> Where:
    """Filters that spare whoever logs in from now on.

    A time that was given, such as that of the list that was shown, is kept unless it lies ahead.
    """
    until = where.created_until
    return msgspec.structs.replace(where, created_until=until if until is not None and until < now else now)


def check_growth(total: int, expected: int) -> None:
    """Refuse to end more sessions than were shown, by more than a tenth."""
    if total > expected * (1 + _GROWTH):
        raise HasGrown("there are more of them by now: %s sessions match; look again", str(total))


def reason_given(reason: str) -> str:
    """The reason of an operation that needs one, without spaces around it."""
    reason = reason.strip()
    if not reason:
        raise InvalidInput("say why; it goes into the audit log")
    return reason


def permit(role: Role, action: Action) -> None:
    """Refuse an action that needs a higher role."""
    needed = NEEDED[action]
    if not role.at_least(needed):
        raise NotPermitted("this needs the role %s", needed.value)


def may_block(role: Role, account: User) -> bool:
    """Whether somebody with this role may block an account: only an admin blocks staff."""
    return role.at_least(NEEDED[Action.BLOCK]) and (not account.role.is_staff or role.at_least(Role.ADMIN))


def handles_named(handles: Sequence[str]) -> list[str]:
    """Handles of sessions to end, each once."""
    named = list(dict.fromkeys(handles))
    if not named or not all(named):
        raise InvalidInput("nothing was selected")
    if len(named) > MAX_HANDLES:
        raise InvalidInput("at most %s sessions can be ended by name at once", str(MAX_HANDLES))
    return named
