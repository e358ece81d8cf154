"""The JSON API of the dashboard, beside sessions: users, counts, jobs, the audit log, tokens.

It must not know HTML.
"""

from __future__ import annotations

from typing import Any

from tornado.web import HTTPError

from tornado_sessions.server.accounts.user import DamagedUser, User
from tornado_sessions.server.operations import rules
from tornado_sessions.server.operations import schema as answers
from tornado_sessions.server.operations.action_names import Action
from tornado_sessions.server.operations.audit import VERIFIED
from tornado_sessions.server.operations.filters import read_query
from tornado_sessions.server.operations.schema import entry_item, job_item, token_item
from tornado_sessions.server.operations.tokens import Scope
from tornado_sessions.server.roles import Role
from tornado_sessions.server.web.api.sessions import HANDLE, ApiHandler

__all__ = ["routes"]

_DAY = 86400.0
_NAME = "([^/]{1,200})"


class OneUser(ApiHandler):
    """``/admin/api/users/NAME``."""

    async def get(self, name: str) -> None:
        """State and number of sessions."""
        found = await self.parts.accounts.look_up(name)
        account = found if isinstance(found, User) else None
        count = await self.ask_store(lambda: self.sessions.count(user=account.name if account is not None else name))
        if found is None and not count.total:
            raise HTTPError(404, "there is no such user")
        self.answer(
            answers.UserItem(
                name=account.name if account is not None else name,
                has_account=found is not None,
                role=(account.role if account is not None else Role.USER).value,
                blocked_until=account.blocked_until if account is not None else None,
                two_steps=account is not None and account.has_two_steps,
                sessions=count.total,
                damaged=isinstance(found, DamagedUser),
            )
        )


class Block(ApiHandler):
    """``/admin/api/users/NAME/block``."""

    async def post(self, name: str) -> None:
        """Refuse log-ins for a while, or allow them again."""
        self.need_proof()
        asked = self.body(answers.BlockRequest)
        await self.parts.actions.block(self.actor(), name, asked.seconds or None, asked.reason)
        self.set_status(204)


class SetRole(ApiHandler):
    """``/admin/api/users/NAME/role``."""

    role_to_view = role_to_act = rules.NEEDED[Action.CHANGE_ROLE]
    reads = writes = None

    async def put(self, name: str) -> None:
        """Give a role."""
        self.need_proof()
        asked = self.body(answers.RoleRequest)
        await self.parts.actions.set_role(self.actor(), name, rules.role_named(asked.role), asked.reason)
        self.set_status(204)


class StatsNow(ApiHandler):
    """``/admin/api/stats``."""

    async def get(self) -> None:
        """Counts now, and the last hour minute by minute."""
        at, active, users, visitors, series = await self.parts.activity.snapshot()
        counts = (active.total, active.exact, users.total, users.exact, visitors.total, visitors.exact)
        self.answer(answers.Stats(at, *counts, series))


class JobList(ApiHandler):
    """``/admin/api/jobs``."""

    async def get(self) -> None:
        """Bulk acts, running and over."""
        self.answer(answers.JobList([job_item(job) for job in await self.parts.jobs.listed()]))


class OneJob(ApiHandler):
    """``/admin/api/jobs/ID``."""

    async def get(self, job_id: str) -> None:
        """How far it is."""
        job = await self.parts.jobs.look_up(job_id)
        if job is None:
            raise HTTPError(404, "there is no such job")
        self.answer(job_item(job))

    async def delete(self, job_id: str) -> None:
        """Cancel it; 204 also when it is over."""
        self.need_proof()
        if await self.parts.actions.cancel(self.actor(), job_id) is None:
            raise HTTPError(404, "there is no such job")
        self.set_status(204)


class AuditLog(ApiHandler):
    """``/admin/api/audit``."""

    reads = Scope.AUDIT

    async def get(self) -> None:
        """Entries, by ``who``, ``act``, of the last ``days``, ``before`` an id."""
        query = read_query(self.query_value, self.sessions.clock())
        entries = await self.ask_store(lambda: self.parts.audit.entries(query))
        items = list(map(entry_item, entries))
        self.answer(answers.AuditPage(items, entries[-1].id if len(entries) == query.limit else None))


class AuditCheck(ApiHandler):
    """``/admin/api/audit/verify``."""

    reads = Scope.AUDIT

    async def get(self) -> None:
        """What the chain of the newest entries says; ``head`` is a hash that was noted before."""
        head = self.query_value("head")
        found = await self.ask_store(lambda: self.parts.audit.verify(head, VERIFIED))
        self.answer(answers.AuditCheck(found.entries, list(map(str, found.faults)), found.head, found.knows_head))


class TokenList(ApiHandler):
    """``/admin/api/tokens``."""

    role_to_act = rules.NEEDED[Action.CREATE_TOKEN]
    reads = writes = None

    async def get(self) -> None:
        """Every token, without its secret."""
        self.answer(answers.TokenList([token_item(token) for token in await self.parts.tokens.all()]))

    async def post(self) -> None:
        """Make one; it is shown this once."""
        self.need_proof()
        asked = self.body(answers.TokenRequest)
        made = await self.parts.actions.make_token(self.actor(), asked.name, asked.scopes, asked.days * _DAY)
        self.answer(answers.MadeToken(made), 201)


class OneToken(ApiHandler):
    """``/admin/api/tokens/HANDLE``."""

    role_to_act = rules.NEEDED[Action.REVOKE_TOKEN]
    reads = writes = None

    async def delete(self, handle: str) -> None:
        """Revoke it; 204 also when there is none."""
        self.need_proof()
        await self.parts.actions.revoke_token(self.actor(), handle)
        self.set_status(204)


def routes() -> list[Any]:
    """Addresses and their handlers."""
    return [
        (rf"/admin/api/users/{_NAME}", OneUser),
        (rf"/admin/api/users/{_NAME}/block", Block),
        (rf"/admin/api/users/{_NAME}/role", SetRole),
        (r"/admin/api/stats", StatsNow),
        (r"/admin/api/jobs", JobList),
        (rf"/admin/api/jobs/{HANDLE}", OneJob),
        (r"/admin/api/audit", AuditLog),
        (r"/admin/api/audit/verify", AuditCheck),
        (r"/admin/api/tokens", TokenList),
        (rf"/admin/api/tokens/{HANDLE}", OneToken),
    ]
