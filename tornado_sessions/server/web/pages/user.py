"""``/admin/user``: one user with sessions, security and profile; blocks and resets. It must not know stores or accounts."""

from __future__ import annotations

import asyncio
from typing import Any
from urllib.parse import urlencode

from tornado_sessions.query import State
from tornado_sessions.record import Tombstone
from tornado_sessions.server.operations import rules
from tornado_sessions.server.operations.action_names import Action
from tornado_sessions.server.operations.actions import BlockDuration
from tornado_sessions.server.operations.credentials import Reset
from tornado_sessions.server.operations.entries import AuditQuery, Entry
from tornado_sessions.server.operations.errors import InvalidInput, NoSuchUser
from tornado_sessions.server.operations.people import Person
from tornado_sessions.server.web.operators import OperatorHandler
from tornado_sessions.server.web.pages.acts import ActPage
from tornado_sessions.server.web.pages.choices import BLOCKS, NotKept

__all__ = ["BlockPage", "ResetPage", "UserPage"]

_TABS = ("sessions", "security", "profile")
#: How far the page looks back for failed sign-ins, in seconds, and how many it counts at most.
_LATELY, _MOST_FAILURES = 86400.0, 100


class UserPage(OperatorHandler):
    """``/admin/user?name=NAME``, with ``tab`` for another tab than the sessions."""

    async def get(self) -> None:
        """Show a user, even without an account, which sessions do not require."""
        name, tab = self.query_value("name", strip=False), self.query_value("tab")
        found = await self.parts.people.get(name)
        person = found if found is not None else Person(name, name)
        name = person.id if not person.damage else name
        read = {"security": self._security, "profile": self._profile}.get(tab, self._sessions)
        member, events, shown = await self.ask_store(
            lambda: asyncio.gather(
                self.parts.directory.member(person if not person.damage else Person(name, name)),
                self.parts.audit.entries(AuditQuery(who=name, limit=1)),
                read(name),
            )
        )
        if found is None and not (member.sessions.total or events or shown.get("ended")):
            raise NotKept
        blocked, is_other = person.is_blocked(self.sessions.clock()), found is not None and name != self.user_id
        ended_by = [each.ending.by for each in shown.get("ended", []) if isinstance(each, Tombstone)]
        await self.learn_names([name, *ended_by, *(entry.actor for entry in shown.get("history", []))])
        self.render_page(
            "user.html",
            name=name,
            person=person,
            has_account=found is not None,
            member=member,
            blocked=blocked,
            block=await self._block_of(name) if blocked else None,
            jobs=await self.open_jobs(shown.get("history", [])),
            tab=tab if tab in _TABS else _TABS[0],
            link=lambda shown: self.site.url(f"{self.site.dashboard}/user?{urlencode({'name': name, 'tab': shown})}"),
            may_block=is_other and self.parts.actions.can_block and rules.may_block(self.role, person),
            can_reset=is_other and self.parts.credentials.is_available,
            **shown,
        )

    async def _block_of(self, name: str) -> Entry | None:
        """Return the entry of the block that is in force."""
        found = await self.ask_store(lambda: self.parts.audit.entries(AuditQuery(who=name, act=Action.BLOCK, limit=5)))
        return next((entry for entry in found if entry.user == name), None)

    async def _sessions(self, name: str) -> dict[str, Any]:
        page, ended, names = await asyncio.gather(
            self.sessions.find(user=name, limit=50),
            self.sessions.find(user=name, state=State.ENDED, limit=10),
            self.parts.names_of_devices(name),
        )
        more = ended.next_cursor is not None
        return {"items": page.items, "ended": ended.items, "more_ended": more, "names": names}

    async def _security(self, name: str) -> dict[str, Any]:
        since = self.sessions.clock() - _LATELY
        failed = AuditQuery(who=name, act=Action.LOG_IN_FAILED, since=since, limit=_MOST_FAILURES)
        failures, history = await asyncio.gather(
            self.parts.audit.entries(failed), self.parts.audit.entries(AuditQuery(who=name, limit=30))
        )
        # An operator's own page need not list what they have done to others; the audit log does.
        return {"failures": failures, "history": [entry for entry in history if entry.user == name] or history}

    async def _profile(self, _name: str) -> dict[str, Any]:
        return {}


class BlockPage(ActPage):
    """``/admin/block``."""

    role_to_view = rules.REQUIRED_ROLE[Action.BLOCK]

    async def get(self) -> None:
        """Ask for the block of ``user``, or for its end with ``seconds=0``."""
        await self._ask()

    async def _ask(self, faults: dict[str, str] | None = None) -> None:
        name = self.typed("user")
        person = await self.parts.people.get(name)
        if person is None:
            raise NoSuchUser
        member = await self.ask_store(lambda: self.parts.directory.member(person))
        unblocks = self.typed("seconds") == "0"
        self.ask("block.html", faults, person=person, member=member, unblocks=unblocks, blocks=BLOCKS)

    async def post(self) -> None:
        """Block sign-ins of ``user`` for ``seconds``, ``no end`` for a block without an end; 0 unblocks them."""
        user, seconds = self.form_value("user", strip=False), self.form_value("seconds")
        is_blocked = seconds != "0"

        async def block() -> None:
            duration: BlockDuration | None = None
            if is_blocked:
                duration = "no end" if seconds == "no end" else rules.number(seconds, "seconds")
            reason, keep = self.form_value("reason"), bool(self.form_value("keep_sessions"))
            await self.parts.actions.block(self.actor(), user, duration, reason, keep_sessions=keep)

        if faults := await self.run(block):
            await self._ask(faults)
            return
        if not is_blocked:
            self.notify("Sign-ins are allowed again.")
        elif self.form_value("keep_sessions"):
            self.notify("Sign-ins are blocked. Current sessions stay active until they end.")
        else:
            self.notify("Sign-ins are blocked and current sessions have ended.")
        self.to_dashboard("/user?" + urlencode({"name": user}), status=303)


class ResetPage(ActPage):
    """``/admin/reset``: reset the password or, with ``what=two-steps``, the two-step verification of ``user``."""

    role_to_view = role_to_act = rules.REQUIRED_ROLE[Action.RESET_PASSWORD]

    async def get(self) -> None:
        """Ask first."""
        await self._ask()

    async def _ask(self, faults: dict[str, str] | None = None) -> None:
        person = await self.parts.people.get(self.typed("user"))
        if person is None:
            raise NoSuchUser
        if not person.has_password:
            raise InvalidInput("%s has no password. They sign in with single sign-on.", person.name)
        member = await self.ask_store(lambda: self.parts.directory.member(person))
        self.ask("reset.html", faults, person=person, member=member, two_step=self._is_of_two_steps, link="")

    @property
    def _is_of_two_steps(self) -> bool:
        return self.typed("what") == "two-steps"

    async def post(self) -> None:
        """Reset it, and show the link once."""
        user, reason = self.form_value("user", strip=False), self.form_value("reason")
        credentials, made = self.parts.credentials, list[Reset]()
        reset = credentials.reset_two_steps if self._is_of_two_steps else credentials.reset_password

        async def act() -> None:
            made.append(await reset(self.actor(), user, reason))

        if faults := await self.run(act):
            await self._ask(faults)
            return
        person, ended, link = made[0]
        two_step, link = self._is_of_two_steps, self.absolute(link)
        self.ask("link.html", person=person, invited=None, two_step=two_step, ended=ended, link=link)
