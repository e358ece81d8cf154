"""The rules of operations: bounds, required values and permissions. No other module decides them.

Pure functions that return the value to use or raise ``OperationRefused``. It must not know stores, pages or commands.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import msgspec

from tornado_sessions.messages import N_, Message
from tornado_sessions.query import Where
from tornado_sessions.server.operations.action_names import ENDS_SESSIONS, Action
from tornado_sessions.server.operations.errors import HasGrown, InvalidInput, NotPermitted
from tornado_sessions.server.operations.job import most_for
from tornado_sessions.server.operations.people import Person
from tornado_sessions.server.operations.tokens import MAKER, Scope
from tornado_sessions.server.roles import Role

__all__ = [
    "DAY", "MAX_HANDLES", "REQUIRED_ROLE", "block_seconds", "check_confirmed", "check_filters", "check_growth", "check_handles",
    "check_reason", "check_role", "check_scopes", "check_token_lifetime", "check_token_name", "check_user", "cut_off",
    "may_block", "number", "permit",
]  # fmt: skip

DAY = 86400.0
#: Maximum lifetime of an API token that expires, and maximum duration of a block, in seconds.
_MAX_TOKEN_LIFETIME, _MAX_BLOCK = 3650 * DAY, 366 * DAY
#: Minimum of both durations, in seconds; shorter ones would have no effect.
_MIN_DURATION = 1.0
#: Maximum length of the name of an API token, in characters.
_MAX_NAME = 64
#: Maximum number of sessions that one operation ends by handle.
MAX_HANDLES = 500
#: The role that each action of an operator requires.
REQUIRED_ROLE = {
    **dict.fromkeys((*ENDS_SESSIONS, Action.CANCEL_JOB, Action.RESUME_JOB, Action.BLOCK, Action.ALLOW), Role.OPERATOR),
    **dict.fromkeys((Action.CHANGE_ROLE, Action.REVOKE_TOKEN, Action.REVEAL), Role.ADMIN),
    **dict.fromkeys((Action.RESET_PASSWORD, Action.RESET_TWO_STEPS), Role.ADMIN),
    **dict.fromkeys((Action.INVITE, Action.REVOKE_INVITATION), Role.ADMIN),
    Action.CREATE_TOKEN: MAKER,
    **dict.fromkeys((Action.EXPORT_AUDIT, Action.EXPORT_SESSIONS), Role.VIEWER),
}
#: The message that refuses a lower role.
_ONLY = {
    Role.VIEWER: N_("Only viewers, operators and admins can do this."),
    Role.OPERATOR: N_("Only operators and admins can do this."),
    Role.ADMIN: N_("Only admins can do this."),
}


def permit(role: Role, action: Action) -> None:
    """Raise ``NotPermitted`` if an action requires a higher role."""
    required = REQUIRED_ROLE[action]
    if not role.at_least(required):
        raise NotPermitted(_ONLY[required])


def may_block(role: Role, person: Person) -> bool:
    """Return whether this role may block a person. Only admins may block staff."""
    is_staff = person.role is not None and person.role.is_staff
    return role.at_least(Role.ADMIN if is_staff else REQUIRED_ROLE[Action.BLOCK])


def number(text: str, name: str) -> float:
    """Return the number in a text, without checking its bounds. Raises ``InvalidInput``, which mentions the field's ``name``."""
    try:
        return float(text if text.isascii() and "_" not in text else "")
    except ValueError:
        raise InvalidInput("%s must be a number.", name) from None


def check_token_lifetime(seconds: float | None) -> float | None:
    """Return the lifetime of an API token in seconds; ``None`` if it never expires."""
    # Comparisons with NaN are false, so NaN is refused as well.
    if seconds is not None and not _MIN_DURATION <= seconds <= _MAX_TOKEN_LIFETIME:
        raise InvalidInput(
            "A token must be valid for at least 1 second and at most %s days.", f"{_MAX_TOKEN_LIFETIME / DAY:g}"
        )
    return seconds


def block_seconds(seconds: float) -> float:
    """Return the duration of a block in seconds."""
    if not _MIN_DURATION <= seconds <= _MAX_BLOCK:
        raise InvalidInput(
            "Sign-ins can be blocked for at least 1 second and at most %s days.", f"{_MAX_BLOCK / DAY:g}"
        )
    return seconds


def check_token_name(name: str) -> str:
    """Return the stripped name of an API token. It must be printable and not too long."""
    name = name.strip()
    if not name:
        raise InvalidInput("Enter a name for the token.")
    if len(name) > _MAX_NAME or not name.isprintable():
        raise InvalidInput("A token name can have at most %s characters, all of them printable.", str(_MAX_NAME))
    return name


def check_scopes(names: Iterable[str]) -> list[Scope]:
    """Return the scopes of an API token without duplicates. At least one is required."""
    chosen = list(dict.fromkeys(names))
    if not chosen:
        raise InvalidInput("Choose at least one scope.")
    if not set(chosen) <= set(Scope):
        raise InvalidInput("%s must be one of: %s.", "scope", ", ".join(Scope))
    return list(map(Scope, chosen))


def check_role(name: str) -> Role:
    """Return the role with this name."""
    if name not in list(Role):
        raise InvalidInput("%s must be one of: %s.", "role", ", ".join(Role))
    return Role(name)


def check_user(user: str) -> str:
    """Return the username, which must not be empty. The store refuses names that no session can have."""
    if not user:
        raise InvalidInput("Select at least one session.")
    return user


def check_handles(handles: Sequence[str]) -> list[str]:
    """Return the handles without duplicates: at least one, at most ``MAX_HANDLES``."""
    named = list(dict.fromkeys(handles))
    if not named or not all(named):
        raise InvalidInput("Select at least one session.")
    if len(named) > MAX_HANDLES:
        raise InvalidInput("You can end at most %s selected sessions at once.", str(MAX_HANDLES))
    return named


def check_filters(where: Where) -> Where:
    """Return the filters. Raise ``InvalidInput`` for empty ones, which would match all sessions."""
    if not where.given.keys() - {"created_until"}:
        raise InvalidInput("Enter at least one filter.")
    return where


def cut_off(where: Where, now: float) -> Where:
    """Return filters that match no session created after ``now``.

    An earlier ``created_until``, such as the time of the list shown to the operator, is kept.
    """
    until = where.created_until
    return msgspec.structs.replace(where, created_until=until if until is not None and until < now else now)


def check_growth(total: int, expected: int) -> None:
    """Raise ``HasGrown`` if over a tenth more sessions match than were shown.

    ``total`` may be a lower bound: what it exceeds, the exact number exceeds as well. Passing this check then proves nothing.
    """
    if total > most_for(expected):
        raise HasGrown(
            Message.plural(
                "%s more session matches now. Review before you continue.",
                "%s more sessions match now. Review before you continue.",
                total - expected,
            )
        )


def check_confirmed(total: int, confirmed: int | None) -> int:
    """Return the number that an operator confirms for a paused job. It must be the one that the job has counted."""
    if confirmed is None:
        raise InvalidInput("Confirm the number of sessions.")
    if confirmed != total:
        raise HasGrown(
            Message.plural("%s session matches. Confirm this number.", "%s sessions match. Confirm this number.", total)
        )
    return confirmed


def check_reason(reason: str) -> str:
    """Return the required reason of an operation, stripped."""
    reason = reason.strip()
    if not reason:
        raise InvalidInput("Enter a reason.")
    return reason
