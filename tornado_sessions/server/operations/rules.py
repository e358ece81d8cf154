"""The rules of operations: bounds, required values, and who may do what. Each is decided here and nowhere else.

Pure functions that return the value to use or raise ``OperationRefused``. It must not know stores, pages or commands.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import msgspec

from tornado_sessions.messages import N_, Message
from tornado_sessions.query import Where
from tornado_sessions.server.operations.action_names import ENDS_SESSIONS, Action
from tornado_sessions.server.operations.errors import HasGrown, InvalidInput, NotPermitted
from tornado_sessions.server.operations.people import Person
from tornado_sessions.server.operations.tokens import Scope
from tornado_sessions.server.roles import Role

__all__ = [
    "DAY", "MAX_HANDLES", "REQUIRED_ROLE", "block_seconds", "check_filters", "check_growth", "check_handles",
    "check_reason", "check_role", "check_scopes", "check_token_lifetime", "check_token_name", "check_user", "cut_off",
    "may_block", "number", "permit",
]  # fmt: skip

DAY = 86400.0
#: Longest life of an API token that expires, and longest time for which sign-ins can be blocked, in seconds.
_MAX_TOKEN_LIFETIME, _MAX_BLOCK = 3650 * DAY, 366 * DAY
#: Shorter times are over before they have an effect, in seconds.
_MIN_DURATION = 1.0
#: Longest name of an API token, in characters.
_MAX_NAME = 64
#: By which part the number of sessions may grow after it was shown.
_GROWTH = 0.1
#: Maximum number of sessions that one operation ends by handle.
MAX_HANDLES = 500
#: The role that each action of an operator requires.
REQUIRED_ROLE = {
    **dict.fromkeys((*ENDS_SESSIONS, Action.CANCEL_JOB, Action.BLOCK, Action.ALLOW), Role.OPERATOR),
    **dict.fromkeys((Action.CHANGE_ROLE, Action.CREATE_TOKEN, Action.REVOKE_TOKEN, Action.REVEAL), Role.ADMIN),
    Action.EXPORT_AUDIT: Role.VIEWER,
}
#: The refusal of a lower role.
_ONLY = {
    Role.VIEWER: N_("Only viewers, operators and admins can do this."),
    Role.OPERATOR: N_("Only operators and admins can do this."),
    Role.ADMIN: N_("Only admins can do this."),
}


def permit(role: Role, action: Action) -> None:
    """Refuse an action that requires a higher role."""
    required = REQUIRED_ROLE[action]
    if not role.at_least(required):
        raise NotPermitted(_ONLY[required])


def may_block(role: Role, person: Person) -> bool:
    """Return whether this role may block a person: only an admin blocks staff."""
    is_staff = person.role is not None and person.role.is_staff
    return role.at_least(Role.ADMIN if is_staff else REQUIRED_ROLE[Action.BLOCK])


def number(text: str, name: str) -> float:
    """Return a typed number; ``name`` is what its field is called. Bounds are checked elsewhere."""
    try:
        return float(text if text.isascii() and "_" not in text else "")
    except ValueError:
        raise InvalidInput("%s must be a number.", name) from None


def check_token_lifetime(seconds: float | None) -> float | None:
    """Return how long an API token lives, in seconds; ``None``: until it is revoked."""
    # A comparison with NaN is false, so NaN is refused as well.
    if seconds is not None and not _MIN_DURATION <= seconds <= _MAX_TOKEN_LIFETIME:
        raise InvalidInput(
            "A token must be valid for at least 1 second and at most %s days.", f"{_MAX_TOKEN_LIFETIME / DAY:g}"
        )
    return seconds


def block_seconds(seconds: float) -> float:
    """Return for how long sign-ins are blocked, in seconds."""
    if not _MIN_DURATION <= seconds <= _MAX_BLOCK:
        raise InvalidInput(
            "Sign-ins can be blocked for at least 1 second and at most %s days.", f"{_MAX_BLOCK / DAY:g}"
        )
    return seconds


def check_token_name(name: str) -> str:
    """Return the name of an API token, stripped."""
    name = name.strip()
    if not name:
        raise InvalidInput("Enter a name for the token.")
    if len(name) > _MAX_NAME or not name.isprintable():
        raise InvalidInput("A token name can have at most %s characters, all of them printable.", str(_MAX_NAME))
    return name


def check_scopes(names: Iterable[str]) -> list[Scope]:
    """Return the scopes of an API token, at least one."""
    chosen = list(dict.fromkeys(names))
    if not chosen:
        raise InvalidInput("Choose at least one scope.")
    if not set(chosen) <= set(Scope):
        raise InvalidInput("%s must be one of: %s.", "scope", ", ".join(Scope))
    return list(map(Scope, chosen))


def check_role(name: str) -> Role:
    """Return the role of this name."""
    if name not in list(Role):
        raise InvalidInput("%s must be one of: %s.", "role", ", ".join(Role))
    return Role(name)


def check_user(user: str) -> str:
    """Return the user whose sessions are meant; a name that no session can have is refused by the store."""
    if not user:
        raise InvalidInput("Select at least one session.")
    return user


def check_handles(handles: Sequence[str]) -> list[str]:
    """Return the handles of the sessions to end, without duplicates."""
    named = list(dict.fromkeys(handles))
    if not named or not all(named):
        raise InvalidInput("Select at least one session.")
    if len(named) > MAX_HANDLES:
        raise InvalidInput("You can end at most %s selected sessions at once.", str(MAX_HANDLES))
    return named


def check_filters(where: Where) -> Where:
    """Refuse filters that filter nothing: they would match everybody."""
    if not where.given.keys() - {"created_until"}:
        raise InvalidInput("Enter at least one filter.")
    return where


def cut_off(where: Where, now: float) -> Where:
    """Return filters that keep the sessions of everybody who signs in from now on.

    A time that was given, such as that of the list that was shown, stays unless it is in the future.
    """
    until = where.created_until
    return msgspec.structs.replace(where, created_until=until if until is not None and until < now else now)


def check_growth(total: int, expected: int) -> None:
    """Refuse to end over a tenth more sessions than were shown."""
    if total > expected * (1 + _GROWTH):
        raise HasGrown(
            Message.plural(
                "%s more session matches now. Review before you continue.",
                "%s more sessions match now. Review before you continue.",
                total - expected,
            )
        )


def check_reason(reason: str) -> str:
    """Return the reason of an operation that requires one, stripped."""
    reason = reason.strip()
    if not reason:
        raise InvalidInput("Enter a reason.")
    return reason
