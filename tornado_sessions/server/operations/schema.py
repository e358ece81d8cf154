"""What the API takes and gives, as types: the handlers answer with these, and the OpenAPI document is made of them.

Plain data. It must not know handlers. Times are UTC seconds.
"""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
from msgspec import UNSET, Meta, UnsetType

from tornado_sessions.record import Damaged, Ending, SessionSummary, Tombstone, summary_of
from tornado_sessions.server.operations.jobs import DamagedJob, Job
from tornado_sessions.server.operations.stores import DamagedEntry, Entry
from tornado_sessions.server.operations.tokens import ApiToken, DamagedToken, Scope

__all__ = [
    "AuditPage",
    "BlockRequest",
    "DestroyAllRequest",
    "DestroyRequest",
    "Destroyed",
    "EntryItem",
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
    "entry_item",
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


class SessionItem(msgspec.Struct, frozen=True, kw_only=True):
    """A session, live or ended; ``current`` is the one that asks.

    Where ``damaged`` is true its record cannot be read, for the reason ``why``: what is not known is null or empty. It can be
    ended by its handle.
    """

    handle: str
    user: str | None
    ip: str
    user_agent: str
    created_at: float | None
    signed_in_at: float | None
    last_seen_at: float | None
    expires_at: float | None
    current: bool
    ending: Ending | UnsetType = UNSET
    damaged: bool | UnsetType = UNSET
    why: str | UnsetType = UNSET


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
    """A user: the account, if there is one, and how many live sessions.

    Where ``damaged`` is true the account's record cannot be read: nobody signs in with it.
    """

    name: str
    has_account: bool
    role: str
    blocked_until: float | None
    two_steps: bool
    sessions: int
    damaged: bool = False


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
    """A bulk act. One whose record cannot be read has the state ``damaged``, and the reason as ``error``."""

    id: str
    state: str
    what: str
    actor: str
    reason: str
    expected: int
    ended: int
    progress: float
    started_at: float | None
    finished_at: float | None
    error: str


class JobList(msgspec.Struct):
    """Bulk acts, the newest first."""

    items: list[JobItem]


class EntryItem(Entry, frozen=True, kw_only=True):
    """An entry of the audit log. Where ``damaged`` is true it cannot be read as it was written, for the reason ``why``."""

    damaged: bool | UnsetType = UNSET
    why: str | UnsetType = UNSET


class AuditPage(msgspec.Struct):
    """Entries of the audit log, the newest first; the next page is ``before`` the last of them."""

    items: list[EntryItem]
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
    """An API token, without its secret. A damaged one lets nobody in, for the reason ``why``; it can be revoked."""

    handle: str
    name: str
    scopes: list[Scope]
    created_at: float | None
    created_by: str
    expires_at: float | None
    used_at: float | None
    used_from: str
    damaged: bool | UnsetType = UNSET
    why: str | UnsetType = UNSET


class TokenList(msgspec.Struct):
    """API tokens, damaged ones first and then the oldest."""

    items: list[TokenItem]


class TokenRequest(msgspec.Struct, forbid_unknown_fields=True):
    """A token to be made; ``days`` is how long it lives."""

    name: str
    scopes: list[Scope]
    days: float = 90.0


class MadeToken(msgspec.Struct):
    """A token in clear, this once."""

    token: str


def session_item(facts: SessionSummary, own: str | None) -> SessionItem:
    """A session as the API shows it."""
    shown: dict[str, Any] = {**summary_of(facts), "current": facts.handle == own}
    if isinstance(facts, Tombstone):
        shown["ending"] = facts.ending
    if isinstance(facts, Damaged):
        # 0.0 stands for a time that cannot be read.
        unknown = {name: None for name, value in shown.items() if name.endswith("_at") and not value}
        shown |= {**unknown, "damaged": True, "why": facts.why}
    return SessionItem(**shown)


def entry_item(entry: Entry) -> EntryItem:
    """An entry of the audit log as the API and exports show it."""
    fields: dict[str, Any] = {name: getattr(entry, name) for name in Entry.__struct_fields__}
    damage: dict[str, Any] = {"damaged": True, "why": entry.why} if isinstance(entry, DamagedEntry) else {}
    return EntryItem(**fields, **damage)


def job_item(job: Job | DamagedJob) -> JobItem:
    """A job as the API shows it."""
    if isinstance(job, DamagedJob):
        return JobItem(job.id, "damaged", "", "", "", 0, 0, 0.0, None, None, job.why)
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


def token_item(token: ApiToken | DamagedToken) -> TokenItem:
    """A token as the API shows it."""
    if isinstance(token, DamagedToken):
        return TokenItem(token.handle, "", [], None, "", None, None, "", damaged=True, why=token.why)
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
