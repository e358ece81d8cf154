"""What the API takes and gives, as types: the handlers answer with these, and the OpenAPI document is made of them.

Plain data. It must not know handlers. Times are UTC seconds.
"""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
from msgspec import UNSET, Meta, UnsetType

from tornado_sessions.admin.jobs import Job
from tornado_sessions.admin.stores import Entry
from tornado_sessions.admin.tokens import ApiToken, Scope
from tornado_sessions.record import Ending, Facts, Tombstone, facts_of

__all__ = [
    "AuditPage",
    "BlockRequest",
    "DestroyAllRequest",
    "DestroyRequest",
    "Destroyed",
    "JobItem",
    "JobList",
    "MadeToken",
    "Problem",
    "Reason",
    "RoleRequest",
    "SessionItem",
    "SessionPage",
    "Stats",
    "TokenItem",
    "TokenList",
    "TokenRequest",
    "UserItem",
    "Values",
    "job_item",
    "session_item",
    "token_item",
]


class Problem(msgspec.Struct):
    """An error (RFC 9457)."""

    type: str
    title: str
    status: int
    detail: str


class SessionItem(Facts, frozen=True, kw_only=True):
    """A session, live or ended; ``current`` is the one that asks."""

    current: bool
    ending: Ending | UnsetType = UNSET


class SessionPage(msgspec.Struct):
    """One page of sessions."""

    items: list[SessionItem]
    next_cursor: str | None
    total: int
    total_is_exact: bool


class DestroyRequest(msgspec.Struct, forbid_unknown_fields=True):
    """Which sessions to end: a user's, the named ones, or those that filters match (named as in the list's address).

    With ``tell`` the people see the reason at their next page.
    """

    user: str | None = None
    handles: list[str] | None = None
    where: dict[str, str | int] | None = None
    until: float | None = None
    expected: Annotated[int, Meta(ge=0, le=2**53)] | None = None
    reason: str = ""
    tell: bool = True


class DestroyAllRequest(msgspec.Struct, forbid_unknown_fields=True):
    """Why everybody's sessions end, and whether people are told."""

    reason: str
    tell: bool = True


class Destroyed(msgspec.Struct, omit_defaults=True):
    """How many sessions ended, so far; ``job`` goes on with the rest."""

    destroyed: int
    job: str | UnsetType = UNSET


class UserItem(msgspec.Struct):
    """A user: the account, if there is one, and how many live sessions."""

    name: str
    has_account: bool
    role: str
    blocked_until: float | None
    two_steps: bool
    sessions: int


class BlockRequest(msgspec.Struct, forbid_unknown_fields=True):
    """For how long log-ins are refused, in seconds; 0 allows them again."""

    seconds: float
    reason: str = ""


class RoleRequest(msgspec.Struct, forbid_unknown_fields=True):
    """What a user is to be: ``user``, ``viewer``, ``operator`` or ``admin``."""

    role: str
    reason: str = ""


class Reason(msgspec.Struct, forbid_unknown_fields=True):
    """Why somebody looks into a session."""

    reason: str


class Values(msgspec.Struct):
    """What is in a session."""

    values: dict[str, Any]


class JobItem(msgspec.Struct):
    """A bulk act."""

    id: str
    state: str
    what: str
    actor: str
    reason: str
    expected: int
    ended: int
    progress: float
    started_at: float
    finished_at: float | None
    error: str


class JobList(msgspec.Struct):
    """Bulk acts, the newest first."""

    items: list[JobItem]


class AuditPage(msgspec.Struct):
    """Entries of the audit log, the newest first; the next page is ``before`` the last of them."""

    items: list[Entry]
    next_before: int | None


class AuditCheck(msgspec.Struct):
    """Whether the newest entries are as they were written."""

    entries: int
    faults: list[str]
    head: str
    knows_head: bool | None


class Stats(msgspec.Struct):
    """What is going on: counts now, and each of the last sixty minutes by name."""

    at: float
    active: int
    active_is_exact: bool
    users: int
    users_is_exact: bool
    visitors: int
    visitors_is_exact: bool
    series: dict[str, list[float | None]]


class TokenItem(msgspec.Struct):
    """An API token, without its secret."""

    handle: str
    name: str
    scopes: list[Scope]
    created_at: float
    created_by: str
    expires_at: float | None
    used_at: float | None
    used_from: str


class TokenList(msgspec.Struct):
    """API tokens, the oldest first."""

    items: list[TokenItem]


class TokenRequest(msgspec.Struct, forbid_unknown_fields=True):
    """A token to be made; ``days`` is how long it lives."""

    name: str
    scopes: list[Scope]
    days: float = 90.0


class MadeToken(msgspec.Struct):
    """A token in clear, this once."""

    token: str


def session_item(facts: Facts, own: str | None) -> SessionItem:
    """A session as the API shows it."""
    ending = facts.ending if isinstance(facts, Tombstone) else UNSET
    return SessionItem(**facts_of(facts), current=facts.handle == own, ending=ending)  # type: ignore[arg-type]


def job_item(job: Job) -> JobItem:
    """A job as the API shows it."""
    return JobItem(
        id=job.id,
        state=job.state.value,
        what=f"{job.entry.act} {job.entry.target}".strip(),
        actor=job.actor,
        reason=job.reason,
        expected=job.expected,
        ended=job.ended,
        progress=job.progress,
        started_at=job.started_at,
        finished_at=job.finished_at,
        error=job.error,
    )


def token_item(token: ApiToken) -> TokenItem:
    """A token as the API shows it."""
    return TokenItem(
        handle=token.handle,
        name=token.name,
        scopes=sorted(token.scopes),
        created_at=token.created_at,
        created_by=token.created_by,
        expires_at=token.expires_at,
        used_at=token.used_at,
        used_from=token.used_from,
    )
