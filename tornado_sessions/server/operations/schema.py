"""The JSON types of the API, and their conversion from domain objects. Commands that print JSON use the same types.

The OpenAPI document is generated from these types and their docstrings. Times are UTC seconds. It must not know handlers. It
has more than 300 lines because one list of types is the contract of the API.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, TypeVar

import msgspec
from msgspec import UNSET, Meta, UnsetType

from tornado_sessions.record import Damaged, Ending, SessionSummary, Tombstone, summary_of
from tornado_sessions.server.operations.activity import Snapshot
from tornado_sessions.server.operations.audit_check import Verification
from tornado_sessions.server.operations.directory import Member
from tornado_sessions.server.operations.entries import DamagedEntry, Entry
from tornado_sessions.server.operations.jobs import DamagedJob, Job
from tornado_sessions.server.operations.suggest import Kind, Suggestion
from tornado_sessions.server.operations.tokens import ApiToken, DamagedToken, Scope
from tornado_sessions.server.roles import Role

__all__ = [
    "AuditCheck", "AuditPage", "BlockRequest", "DestroyAllRequest", "DestroyRequest", "Destroyed", "EntryItem",
    "JobItem", "JobList", "MadeToken", "Problem", "Reason", "ResumeRequest", "RoleRequest", "SessionItem", "SessionPage", "Stats",
    "TokenItem", "TokenList", "TokenRequest", "UserItem", "UserPage", "Values", "audit_check", "entry_item", "job_item",
    "session_item", "stats_of", "token_item", "user_item",
]  # fmt: skip

S = TypeVar("S", bound=msgspec.Struct)


class Problem(msgspec.Struct):
    """An error (RFC 9457).

    409 may name a ``job``: it has paused because ``expected`` sessions match, over a tenth more than were confirmed, of which
    ``destroyed`` have ended. ``POST`` the number to ``jobs/ID/resume``, or ``DELETE`` the job.
    """

    type: str
    title: str
    status: int
    detail: str
    job: str | UnsetType = UNSET
    expected: int | UnsetType = UNSET
    destroyed: int | UnsetType = UNSET


class SessionItem(msgspec.Struct, frozen=True, kw_only=True):
    """A live or ended session. ``current`` marks the session of this request.

    If ``damaged`` is true, the record cannot be read for the reason ``why``, and unknown fields are null or empty. Such a session
    can be ended by its handle.
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
    """One page of sessions. ``start`` is the number of its first row, if that is known."""

    items: list[SessionItem]
    next_cursor: str | None
    total: int
    total_is_exact: bool
    previous_cursor: str | None
    start: int | None


class SuggestionItem(msgspec.Struct):
    """A filter and the number of sessions that match it. ``parameters`` are those of the list."""

    kind: Kind
    value: str
    parameters: dict[str, str]
    total: int
    total_is_exact: bool


class SuggestionList(msgspec.Struct):
    """Filters that a text may be the beginning of: networks, then users, addresses and sessions."""

    items: list[SuggestionItem]


class DestroyRequest(msgspec.Struct, forbid_unknown_fields=True):
    """The sessions to end. Give exactly one of ``user``, ``handles`` and ``where``.

    ``where`` takes the filters of the list's query string and matches no session created after ``until`` (by default, now).
    ``expected`` is the number that the operator has confirmed: if over a tenth more match, the answer is 409 and nothing ends.
    If they cannot be counted at once, a job counts them before any ends, and pauses rather than end over a tenth more; 409 then
    names the job. Without ``expected`` all matching sessions end. If ``tell`` is true, users see the reason on their next page.
    """

    user: str | None = None
    handles: list[str] | None = None
    where: dict[str, str | int] | None = None
    until: float | None = None
    expected: Annotated[int, Meta(ge=0, le=2**53)] | None = None
    reason: str = ""
    show_reason: bool = msgspec.field(default=False, name="tell")


class DestroyAllRequest(msgspec.Struct, forbid_unknown_fields=True):
    """The reason for ending all sessions. If ``tell`` is true, users see it on their next page."""

    reason: str
    show_reason: bool = msgspec.field(default=False, name="tell")


class Destroyed(msgspec.Struct, omit_defaults=True):
    """The number of sessions ended so far. ``job`` is the id of the job that ends the rest.

    ``is_exact`` is false if more sessions than can be counted ended by one write; ``destroyed`` is then a lower bound.
    """

    destroyed: int
    job: str | UnsetType = UNSET
    is_exact: bool = True


class ResumeRequest(msgspec.Struct, forbid_unknown_fields=True):
    """The number of sessions to confirm for a paused job: its ``expected``.

    A cancelled or failed job needs none: a new one counts what is left, and pauses.
    """

    expected: Annotated[int, Meta(ge=0, le=2**53)] | None = None


class UserItem(msgspec.Struct):
    """A user with or without an account, the number of live sessions, and the last sign-in.

    If ``damaged`` is true, the account's record cannot be read and the user cannot sign in.
    """

    name: str
    has_account: bool
    role: str
    blocked_until: float | None
    two_steps: bool
    sessions: int
    sessions_is_exact: bool
    signed_in_at: float | None
    damaged: bool = False


class UserPage(msgspec.Struct):
    """One page of users, by name. It may be short although ``next_cursor`` leads on."""

    items: list[UserItem]
    next_cursor: str | None
    previous_cursor: str | None


class BlockRequest(msgspec.Struct, forbid_unknown_fields=True):
    """The duration of the block in seconds; null for a block without an end, 0 unblocks the user.

    A block ends the user's sessions, unless ``keep_sessions`` is true.
    """

    seconds: float | None
    reason: str = ""
    keep_sessions: bool = False


class RoleRequest(msgspec.Struct, forbid_unknown_fields=True):
    """The new role: ``user``, ``viewer``, ``operator`` or ``admin``."""

    role: str
    reason: str = ""


class Reason(msgspec.Struct, forbid_unknown_fields=True):
    """The reason for viewing a session's values."""

    reason: str


class Values(msgspec.Struct):
    """The values of a session."""

    values: dict[str, Any]


class JobItem(msgspec.Struct):
    """A bulk action. If its record cannot be read, ``state`` is ``damaged`` and ``error`` is the reason.

    ``expected`` sessions match, ``ended`` included. Unless ``is_exact``, it is a lower bound or a count in progress. ``confirmed``
    is the number that an operator has confirmed, if any; a ``paused`` job waits for another one. ``rate`` is sessions per second.
    """

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
    is_exact: bool = True
    is_counting: bool = False
    confirmed: int | None = None
    rate: float | None = None
    seconds_left: float | None = None


class JobList(msgspec.Struct):
    """Bulk actions, newest first."""

    items: list[JobItem]


class EntryItem(Entry, frozen=True, kw_only=True):
    """An entry of the audit log. If ``damaged`` is true, its record cannot be read for the reason ``why``."""

    damaged: bool | UnsetType = UNSET
    why: str | UnsetType = UNSET


class AuditPage(msgspec.Struct):
    """Entries of the audit log, newest first. ``next_before`` is the parameter ``before`` of the next page."""

    items: list[EntryItem]
    next_before: int | None


class AuditCheck(msgspec.Struct):
    """The result of verifying the newest entries. ``head`` and ``number`` are those of the newest entry."""

    entries: int
    is_whole: bool
    faults: list[str]
    head: str
    number: int
    knows_head: bool | None


class Stats(msgspec.Struct):
    """Current counts, and series with a value for each of the last sixty minutes."""

    at: float
    active: int
    active_is_exact: bool
    users: int
    users_is_exact: bool
    visitors: int
    visitors_is_exact: bool
    series: dict[str, list[float | None]]


class TokenItem(msgspec.Struct):
    """An API token without its secret. A damaged one does not work, for the reason ``why``, but can be revoked."""

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
    """API tokens, damaged ones first, then oldest first."""

    items: list[TokenItem]


class TokenRequest(msgspec.Struct, forbid_unknown_fields=True):
    """The token to create. ``days`` is its lifetime."""

    name: str
    scopes: list[Scope]
    days: float = 90.0


class MadeToken(msgspec.Struct):
    """A token in clear text, shown once."""

    token: str


def session_item(session: SessionSummary, own: str | None) -> SessionItem:
    """Return a session as JSON. ``own`` is the handle of this request's session."""
    fields: dict[str, Any] = {**summary_of(session), "current": session.handle == own}
    if isinstance(session, Tombstone):
        fields["ending"] = session.ending
    if isinstance(session, Damaged):
        # In a damaged record, unreadable times are 0.0.
        unknown = {name: None for name, value in fields.items() if name.endswith("_at") and not value}
        fields |= {**unknown, "damaged": True, "why": session.why}
    return SessionItem(**fields)


def suggestion_list(found: Sequence[Suggestion]) -> SuggestionList:
    """Return suggestions as JSON."""
    return SuggestionList(
        [SuggestionItem(each.kind, each.value, each.parameters, each.count.total, each.count.exact) for each in found]
    )


def user_item(member: Member, *, has_account: bool = True) -> UserItem:
    """Return a user as JSON."""
    known = member.person
    return UserItem(
        name=known.name,
        has_account=has_account,
        role=(known.role or Role.USER).value,
        blocked_until=known.blocked_until,
        two_steps=bool(known.two_steps),
        sessions=member.sessions.total,
        sessions_is_exact=member.sessions.exact,
        signed_in_at=member.signed_in_at,
        damaged=bool(known.damage),
    )


def entry_item(entry: Entry) -> EntryItem:
    """Return an entry of the audit log as JSON."""
    return _item(EntryItem, entry, damaged=True) if isinstance(entry, DamagedEntry) else _item(EntryItem, entry)


def audit_check(found: Verification) -> AuditCheck:
    """Return a verification of the audit log as JSON."""
    return _item(AuditCheck, found, faults=list(map(str, found.faults)))


def stats_of(snapshot: Snapshot) -> Stats:
    """Return counts and series as JSON."""
    active, users, visitors = snapshot.active, snapshot.users, snapshot.visitors
    counts = (active.total, active.exact, users.total, users.exact, visitors.total, visitors.exact)
    return Stats(snapshot.at, *counts, snapshot.series)


def job_item(job: Job | DamagedJob) -> JobItem:
    """Return a job as JSON."""
    if isinstance(job, DamagedJob):
        return JobItem(job.id, "damaged", "", "", "", 0, 0, 0.0, None, None, job.why)
    what, expected = f"{job.entry.act} {job.entry.target}".strip(), max(job.expected, job.ended)
    return _item(JobItem, job, state=job.state.value, what=what, expected=expected)


def token_item(token: ApiToken | DamagedToken) -> TokenItem:
    """Return an API token as JSON."""
    if isinstance(token, DamagedToken):
        return TokenItem(token.handle, "", [], None, "", None, None, "", damaged=True, why=token.why)
    return _item(TokenItem, token, scopes=sorted(token.scopes))


def _item(kind: type[S], source: object, **changed: Any) -> S:
    """Return a ``kind`` with the fields that it has in common with ``source``, and the changed ones."""
    fields = {name: getattr(source, name) for name in kind.__struct_fields__ if hasattr(source, name)}
    return kind(**{**fields, **changed})
