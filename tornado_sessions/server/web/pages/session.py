"""``/admin/sessions/HANDLE``: one session and its values. Viewing a session never extends it. It must not know stores."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import NamedTuple

import msgspec
from tornado.web import HTTPError

from tornado_sessions.history import steps_of
from tornado_sessions.messages import N_, Message
from tornado_sessions.query import Count
from tornado_sessions.record import Cause, Record, SessionSummary, Tombstone
from tornado_sessions.server.operations import rules
from tornado_sessions.server.operations.action_names import ON_ONE_SESSION, Action
from tornado_sessions.server.operations.ended import action_of
from tornado_sessions.server.operations.entries import AuditQuery, Entry
from tornado_sessions.server.operations.errors import InvalidInput
from tornado_sessions.server.web import words
from tornado_sessions.server.web.operators import OperatorHandler
from tornado_sessions.server.web.pages.choices import NotKept

__all__ = ["RevealPage", "SessionDetails"]

_HISTORY = 200
#: The number of the user's other sessions that are shown.
_SIBLINGS = 5
#: Seconds within which two records are of the same event.
_SAME = 2.0
#: Names of the types of values.
_KINDS = {
    str: N_("text"),
    int: N_("number"),
    float: N_("number"),
    bool: N_("yes or no"),
    list: N_("list"),
    dict: N_("object"),
    type(None): N_("empty"),
}


class Event(NamedTuple):
    """A point of a session's timeline.

    Attributes:
        at: UTC seconds.
        text: what happened, translated.
        kind: how it looks: empty, ``good``, ``warn`` or ``bad``.
        detail, by: more about it, and who did it; may be empty.
    """

    at: float
    text: str
    kind: str = ""
    detail: str = ""
    by: str = ""


class SessionDetails(OperatorHandler):
    """``/admin/sessions/HANDLE``."""

    async def get(self, handle: str) -> None:
        """Show a session, its timeline, its user's other sessions, and the names, kinds and sizes of its values, without them."""
        await self.show(handle, {})

    async def show(self, handle: str, faults: dict[str, str]) -> None:
        """Show the page. ``faults`` are the wrong fields of the form that reveals values."""
        found = await self.ask_store(lambda: self.sessions.inspect(handle))
        if found is None:
            raise NotKept
        live = found if isinstance(found, Record) else None
        shapes = await self._shapes(live) if live is not None else []
        entries, siblings, count = await self.ask_store(lambda: self._around(found))
        by = found.ending.by if isinstance(found, Tombstone) else None
        await self.learn_names([found.user, by, *(entry.actor for entry in entries)])
        self.render_page(
            "session.html",
            item=found,
            live=live,
            shapes=shapes,
            total=sum(size for _, _, size in shapes),
            timeline=self._timeline(found, entries),
            siblings=[one for one in siblings if one.handle != handle][:_SIBLINGS],
            count=count,
            names=await self.ask_store(lambda: self.parts.names_of_devices(found.user or "")),
            action=await self._action(found),
            rotates_every=self._rotates_every(),
            is_encrypted=bool(self.sessions.config.keys("encryption_key")),
            faults=faults,
            typed=self.form_value("reason"),
        )

    def _rotates_every(self) -> float:
        """Return the age at which a key is replaced, in seconds; 0 if it is replaced only at sign-in."""
        every = self.sessions.config.rotate_after or 0.0
        return every.total_seconds() if isinstance(every, timedelta) else every

    async def _shapes(self, live: Record) -> list[tuple[str, str, int]]:
        values = await self.sessions.values_of(live.handle) or {}
        return [(key, self.say(_KINDS[type(value)]), len(live.data.get(key, b""))) for key, value in values.items()]

    async def _around(self, found: SessionSummary) -> tuple[list[Entry], list[SessionSummary], Count]:
        """Return the audit entries about a session, and the sessions of its user with their number."""
        if not found.user:
            return [], [], Count(0, exact=True)
        query = AuditQuery(who=found.user, since=found.created_at - 1, limit=_HISTORY)
        entries, page, count = await asyncio.gather(
            self.parts.audit.entries(query),
            self.sessions.find(user=found.user, limit=_SIBLINGS + 1),
            self.sessions.count(user=found.user),
        )
        return [entry for entry in entries if self._concerns(entry, found.handle)], page.items, count

    @staticmethod
    def _concerns(entry: Entry, handle: str) -> bool:
        is_target = entry.act in ON_ONE_SESSION and handle in entry.target
        # What its user did in this session, but not what an operator did from it to somebody else.
        return is_target or (entry.session == handle and entry.user in ("", entry.actor))

    def _timeline(self, found: SessionSummary, entries: list[Entry]) -> list[Event]:
        """Return what is known of a session, latest first."""
        events = [self._event(entry) for entry in entries]
        if isinstance(found, Record):
            events += self._steps(found, entries)
        if found.signed_in_at and not any(entry.act == Action.LOG_IN for entry in entries):
            events.append(Event(found.signed_in_at, self.say(N_("Signed in")), "good"))
        if isinstance(found, Record):
            events.append(Event(found.last_seen_at, self.say(N_("Last active")), "good", found.ip))
        if isinstance(found, Tombstone):
            ending = found.ending
            is_bad = ending.cause in (Cause.OPERATOR, Cause.THEFT)
            cause, reason = self.say(words.CAUSES[ending.cause]), ending.reason
            events = [event for event in events if event.at <= ending.at]
            events.append(Event(ending.at, cause, "bad" if is_bad else "", reason, self.site.called(ending.by or "")))
        # Last, so that it sorts below other events at the same time: sorting is stable.
        events.append(Event(found.created_at, self.say(N_("Created"))))
        return sorted((event for event in events if event.at), key=lambda event: -event.at)

    def _steps(self, live: Record, entries: list[Entry]) -> list[Event]:
        """Return the session's own history: rotated keys, and new addresses that are not in the audit log."""
        steps = steps_of(live.data)
        rotated = {step.at for step in steps if step.previous_ip is None}
        if all(abs(at - live.rotated_at) > _SAME for at in rotated):
            # The session was created before sessions had a history.
            rotated.add(live.rotated_at)
        begun = max(live.created_at, live.signed_in_at or 0.0)
        told = [entry.at for entry in entries if entry.act == Action.ADDRESS_CHANGED]
        # A sign-in comes with a new key.
        found = [Event(at, self.say(N_("Key rotated"))) for at in rotated if at > begun + _SAME]
        return found + [
            Event(
                step.at,
                self.say(words.ACTIONS[Action.ADDRESS_CHANGED]),
                "warn",
                self.say(Message(N_("before: %s"), (step.previous_ip,))),
            )
            for step in steps
            if step.previous_ip is not None and all(abs(at - step.at) > _SAME for at in told)
        ]

    def _event(self, entry: Entry) -> Event:
        kind = {Action.OLD_TOKEN_PRESENTED: "bad", Action.ADDRESS_CHANGED: "warn", Action.LOG_IN: "good"}
        text = words.ACTIONS.get(entry.act, entry.act)  # type: ignore[call-overload]
        by = self.site.called(entry.actor) if entry.actor != entry.user else ""
        return Event(entry.at, self.say(text), kind.get(entry.act, ""), entry.reason or entry.ip, by)  # type: ignore[call-overload]

    async def _action(self, found: SessionSummary) -> Entry | None:
        """Return the operator's action that ended a session."""
        if not isinstance(found, Tombstone) or not found.ending.by:
            return None
        return await self.ask_store(lambda: action_of(found, self.parts.audit))


class RevealPage(SessionDetails):
    """``/admin/sessions/HANDLE/values``."""

    role_to_act = rules.REQUIRED_ROLE[Action.REVEAL]

    async def post(self, handle: str) -> None:
        """Show the values of a session."""
        faults, values = await self.proof_faults(), None
        if not faults:
            try:
                values = await self.parts.actions.reveal(self.actor(), handle, self.form_value("reason"))
            except InvalidInput as error:
                self.set_error_status(error)
                faults = {"reason": self.say_error(error)}
        if faults:
            await self.show(handle, faults)
        elif values is None:
            raise HTTPError(404)
        else:
            shown = {key: msgspec.json.encode(value).decode() for key, value in values.items()}
            self.render("admin/values.html", handle=handle, values=shown)
