"""English texts for enums and filters, marked for translation. It must not know languages or handlers."""

from __future__ import annotations

from tornado_sessions.messages import N_
from tornado_sessions.query import Sort
from tornado_sessions.record import Cause
from tornado_sessions.server.operations.action_names import Action
from tornado_sessions.server.operations.jobs import JobState
from tornado_sessions.server.operations.self_check import Grade
from tornado_sessions.server.operations.tokens import Scope
from tornado_sessions.server.roles import Role

__all__ = [
    "ACTIONS",
    "CAUSES",
    "DEVICE_KINDS",
    "ENDINGS",
    "FILTERS",
    "GRADES",
    "JOBS",
    "JOB_STATES",
    "KINDS",
    "OWN_EVENTS",
    "PASSWORD_WARNINGS",
    "REASONS",
    "ROLES",
    "ROLE_TEXTS",
    "SCOPES",
    "SORTS",
    "STATUSES",
]

#: Actions of audit entries.
ACTIONS = {
    Action.END_SESSION: N_("Ended a session"),
    Action.END_USER: N_("Ended a user's sessions"),
    Action.END_MATCHING: N_("Ended matching sessions"),
    Action.END_EVERYBODY: N_("Ended everyone's sessions"),
    Action.CANCEL_JOB: N_("Canceled a job"),
    Action.RESUME_JOB: N_("Resumed a job"),
    Action.BLOCK: N_("Blocked sign-ins"),
    Action.ALLOW: N_("Unblocked sign-ins"),
    Action.CHANGE_ROLE: N_("Changed role"),
    Action.CREATE_TOKEN: N_("Created an API token"),
    Action.REVOKE_TOKEN: N_("Revoked an API token"),
    Action.RESET_PASSWORD: N_("Reset a password"),
    Action.RESET_TWO_STEPS: N_("Reset two-step verification"),
    Action.INVITE: N_("Invited an operator"),
    Action.REVOKE_INVITATION: N_("Revoked an invitation"),
    Action.REVEAL: N_("Viewed session data"),
    Action.EXPORT_AUDIT: N_("Exported the audit log"),
    Action.EXPORT_SESSIONS: N_("Exported sessions"),
    Action.OUTCOME: N_("Outcome"),
    Action.REFUSED: N_("Refused"),
    Action.EXPIRED: N_("Sessions expired"),
    Action.KEYS_REPLACED: N_("Replaced the signing keys"),
    Action.AUDIT_ALTERED: N_("Audit log altered"),
    Action.OLD_TOKEN_PRESENTED: N_("Expired session key used"),
    Action.ADDRESS_CHANGED: N_("IP address changed"),
    Action.TAKEN_OVER: N_("Session moved here from another system"),
    Action.LOG_IN: N_("Sign-in"),
    Action.LOG_IN_FAILED: N_("Failed sign-in attempt"),
    Action.PROOF_FAILED: N_("Entered a wrong current password or code"),
    Action.LOG_OUT: N_("Sign-out"),
    Action.ACCOUNT_CREATED: N_("Created an account"),
    Action.ACCOUNT_REMOVED: N_("Deleted the account"),
    Action.PASSWORD_CHANGED: N_("Changed the password"),
    Action.EMAIL_CHANGED: N_("Changed the email"),
    Action.TWO_STEPS_ON: N_("Two-step verification turned on"),
    Action.TWO_STEPS_OFF: N_("Two-step verification turned off"),
    Action.END_OWN_SESSION: N_("Signed out of a device"),
    Action.END_OTHER_SESSIONS: N_("Signed out of all other devices"),
}
#: Actions in a user's own activity, where the text differs.
OWN_EVENTS = {
    Action.END_SESSION: N_("An administrator ended one of your sessions"),
    Action.END_USER: N_("An administrator ended all your sessions"),
    Action.END_MATCHING: N_("An administrator ended some of your sessions"),
    Action.BLOCK: N_("An administrator blocked sign-ins to your account"),
    Action.ALLOW: N_("An administrator unblocked your account"),
    Action.CHANGE_ROLE: N_("An administrator changed your role"),
    Action.RESET_PASSWORD: N_("An administrator reset your password"),
    Action.RESET_TWO_STEPS: N_("An administrator turned off two-step verification"),
    Action.REVEAL: N_("An administrator viewed your session data"),
    Action.ADDRESS_CHANGED: N_("Sign-in from a new IP address"),
    Action.OLD_TOKEN_PRESENTED: N_(
        "An expired session key was used. Someone may have copied your session – change your password."
    ),
}
#: Why a session ended, for operators.
CAUSES = {
    Cause.LOGOUT: N_("Signed out"),
    Cause.IDLE: N_("Idle for too long"),
    Cause.ABSOLUTE: N_("Reached its time limit"),
    Cause.EVICTED: N_("Too many devices"),
    Cause.OPERATOR: N_("Ended by an operator"),
    Cause.USER: N_("Ended by its user"),
    Cause.PASSWORD: N_("Password changed"),
    Cause.THEFT: N_("Possibly stolen"),
    Cause.MOVED: N_("Moved to another server"),
}
#: Why a session ended, for its user.
ENDINGS = {
    Cause.LOGOUT: N_("You have signed out."),
    Cause.IDLE: N_("You were signed out because you were inactive."),
    Cause.ABSOLUTE: N_("Your session reached its time limit. Please sign in again."),
    Cause.EVICTED: N_("You were signed out because you signed in on too many other devices."),
    Cause.OPERATOR: N_("An administrator ended your session."),
    Cause.USER: N_("You were signed out from another device."),
    Cause.PASSWORD: N_("You were signed out because your password was changed."),
    Cause.THEFT: N_("You were signed out because someone may have copied your session."),
    Cause.MOVED: N_("Your session was moved to another server."),
}
#: Groups of devices whose stored name is not the displayed one.
DEVICE_KINDS = {"no browser": N_("Not a browser")}
ROLES = {Role.USER: N_("User"), Role.VIEWER: N_("Viewer"), Role.OPERATOR: N_("Operator"), Role.ADMIN: N_("Admin")}
#: What each role may do.
ROLE_TEXTS = {
    Role.USER: N_("Sees only their own account and devices."),
    Role.VIEWER: N_("Sees all sessions, users and the audit log. Changes nothing."),
    Role.OPERATOR: N_("Also ends sessions and blocks sign-ins, except those of staff."),
    Role.ADMIN: N_("Also manages roles, passwords, tokens and invitations, and reveals session data."),
}
SORTS = {
    Sort.LAST_SEEN: N_("Last active"),
    Sort.SIGNED_IN: N_("Newest sign-in"),
    Sort.EXPIRES: N_("Expires soonest"),
    Sort.USER: N_("Username"),
}
JOB_STATES = {
    JobState.RUNNING: N_("Running"),
    JobState.PAUSED: N_("Paused"),
    JobState.DONE: N_("Done"),
    JobState.CANCELLED: N_("Canceled"),
    JobState.FAILED: N_("Failed"),
}
#: What a job does.
JOBS = {
    Action.END_USER: N_("End a user's sessions"),
    Action.END_MATCHING: N_("End matching sessions"),
    Action.END_EVERYBODY: N_("Remove the records of everyone's ended sessions"),
}
GRADES = {Grade.GOOD: N_("OK"), Grade.NOTE: N_("Note"), Grade.BAD: N_("Problem")}
SCOPES = {
    Scope.READ: N_("View sessions, users and jobs"),
    Scope.END: N_("End sessions, block sign-ins"),
    Scope.AUDIT: N_("Read the audit log"),
}
#: Filters of sessions, by the parameters of a list's URL and by the fields of ``Where``.
FILTERS = {
    "user": N_("User"),
    "user_prefix": N_("Username starts with"),
    "users": N_("Users"),
    "ip": N_("IP address"),
    "network": N_("Network"),
    "handle": N_("Session ID"),
    "q": N_("Starts with"),
    "text": N_("Starts with"),
    "device": N_("Device"),
    "kind": N_("Type"),
    "role": N_("Role"),
    "signed_in": N_("Signed in"),
    "signed_in_within": N_("Signed in within"),
    "signed_in_since": N_("Signed in since"),
    "idle_for": N_("Idle for more than"),
    "idle_since": N_("Idle since"),
    "suspicious": N_("Suspicious"),
    "ended_by": N_("Ended by"),
    "ended_action": N_("Action"),
    "ended_since": N_("Ended since"),
    "ended_until": N_("Ended until"),
}
#: Whose sessions a list shows, by the value of the filter.
KINDS = {"users": N_("Signed in"), "visitors": N_("Anonymous")}
#: Predefined reasons. The audit log stores the English text, which details may follow.
REASONS = (
    N_("Lost or stolen device"),
    N_("Compromised account"),
    N_("Left the organisation"),
    N_("Suspicious activity"),
    N_("Maintenance"),
)
#: Titles of error pages. Other statuses use the title of 500.
STATUSES = {
    400: N_("Invalid request"),
    403: N_("No permission"),
    404: N_("Page not found"),
    409: N_("The session has changed"),
    413: N_("Too much data"),
    429: N_("Too many requests"),
    500: N_("Something went wrong"),
    503: N_("Temporarily unavailable"),
}
#: zxcvbn's warnings about weak passwords, which pages show as messages.
PASSWORD_WARNINGS = (
    N_("This is a top-10 common password."),
    N_("This is a top-100 common password."),
    N_("This is a very common password."),
    N_("This is similar to a commonly used password."),
    N_("A word by itself is easy to guess."),
    N_("Names and surnames by themselves are easy to guess."),
    N_("Common names and surnames are easy to guess."),
    N_("Straight rows of keys are easy to guess."),
    N_("Short keyboard patterns are easy to guess."),
    N_('Sequences like "abc" or "6543" are easy to guess.'),
    N_('Repeats like "aaa" are easy to guess.'),
    N_('Repeats like "abcabcabc" are only slightly harder to guess than "abc".'),
    N_("Recent years are easy to guess."),
    N_("Dates are often easy to guess."),
)
