"""``Action``: everything that the audit log records.

Plain data. The values are stored in the log, so they must never change.
"""

from __future__ import annotations

from enum import StrEnum

__all__ = ["BY_OPERATORS", "ENDS_SESSIONS", "NEVER_HELD_UP", "ON_ONE_SESSION", "Action"]


class Action(StrEnum):
    """An action, as the audit log stores it."""

    # By operators.
    END_SESSION = "end session"
    END_USER = "end all sessions of"
    END_MATCHING = "end all sessions matching"
    END_EVERYBODY = "end everybody's sessions"
    CANCEL_JOB = "cancel job"
    RESUME_JOB = "resume job"
    BLOCK = "block log-ins of"
    ALLOW = "allow log-ins of"
    CHANGE_ROLE = "change role of"
    CREATE_TOKEN = "make API token"
    REVOKE_TOKEN = "revoke API token"
    RESET_PASSWORD = "reset password of"
    RESET_TWO_STEPS = "reset two steps of"
    INVITE = "invite operator"
    REVOKE_INVITATION = "revoke invitation"
    REVEAL = "look into session"
    EXPORT_AUDIT = "export audit log"
    EXPORT_SESSIONS = "export sessions"
    # By the server itself.
    OUTCOME = "outcome"
    REFUSED = "refused"
    EXPIRED = "sessions expired"
    KEYS_REPLACED = "signing keys replaced"
    AUDIT_ALTERED = "audit log altered"
    OLD_TOKEN_PRESENTED = "old token presented"
    ADDRESS_CHANGED = "address changed"
    TAKEN_OVER = "session taken over"
    # By users, on their own accounts.
    LOG_IN = "log-in"
    LOG_IN_FAILED = "log-in failed"
    PROOF_FAILED = "proof failed"
    LOG_OUT = "log-out"
    ACCOUNT_CREATED = "account made"
    ACCOUNT_REMOVED = "account removed"
    PASSWORD_CHANGED = "password changed"
    EMAIL_CHANGED = "e-mail changed"
    TWO_STEPS_ON = "two steps on"
    TWO_STEPS_OFF = "two steps off"
    END_OWN_SESSION = "ended own session"
    END_OTHER_SESSIONS = "ended all other sessions"


#: Operators' actions that end sessions. One without an outcome was interrupted.
ENDS_SESSIONS = frozenset({Action.END_SESSION, Action.END_USER, Action.END_MATCHING, Action.END_EVERYBODY})
#: Operators' actions: all members before the first one by the server.
BY_OPERATORS = frozenset(list(Action)[: list(Action).index(Action.OUTCOME)])
#: Actions that run even if the log cannot be written: a full disk must not keep a session alive or an account open.
NEVER_HELD_UP = ENDS_SESSIONS | {
    Action.BLOCK,
    Action.REVOKE_TOKEN,
    Action.REVOKE_INVITATION,
    Action.LOG_OUT,
    Action.END_OWN_SESSION,
    Action.END_OTHER_SESSIONS,
    Action.OLD_TOKEN_PRESENTED,
    Action.OUTCOME,
}
#: Actions on a single session; other sessions' histories omit them.
ON_ONE_SESSION = frozenset(
    {
        Action.END_SESSION,
        Action.END_OWN_SESSION,
        Action.OLD_TOKEN_PRESENTED,
        Action.ADDRESS_CHANGED,
        Action.TAKEN_OVER,
        Action.REVEAL,
    }
)
