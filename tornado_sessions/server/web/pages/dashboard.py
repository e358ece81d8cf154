"""The dashboard's pages to look at: overview, sessions, one session, a user, jobs, settings.

It must not know stores, nor how sessions are ended; ``force`` does. Looking never refreshes a session but the operator's own.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import Any, NamedTuple

import msgspec
from tornado.web import HTTPError

from tornado_sessions import __version__
from tornado_sessions.errors import QueryError
from tornado_sessions.query import Sort, State, Where
from tornado_sessions.record import Damaged, Record, SessionSummary
from tornado_sessions.server.accounts.user import DamagedUser, User
from tornado_sessions.server.display import device
from tornado_sessions.server.operations import rules
from tornado_sessions.server.operations.action_names import BY_OPERATORS, ON_ONE_SESSION
from tornado_sessions.server.operations.activity import Series, Snapshot
from tornado_sessions.server.operations.filters import FILTERS, View
from tornado_sessions.server.operations.jobs import DamagedJob
from tornado_sessions.server.operations.self_check import effective_settings, self_check
from tornado_sessions.server.operations.stores import AuditQuery, Entry
from tornado_sessions.server.web.operators import OperatorHandler
from tornado_sessions.server.web.pages.charts import line_chart, short
from tornado_sessions.server.web.pages.end_sessions import BLOCKS, REASONS
from tornado_sessions.stores.matching import DEVICES

__all__ = ["CHARTS", "drawn", "routes"]

#: Charts of the overview: the series, its title, and its unit.
CHARTS = (
    ("active", "Active sessions", ""),
    ("sign-ins", "Log-ins per minute", ""),
    ("failures", "Failed log-ins per minute", ""),
    ("ended", "Ended per minute", ""),
    ("latency", "Store's answer", "ms"),
)
#: Sessions that the overview looks at to say who has most.
_SAMPLE = 1_000
_TOP = 5
_HISTORY = 200
#: What a value is called, by its type.
_KINDS = {str: "text", int: "number", float: "number", bool: "yes or no", list: "list", dict: "object"}


class NotKept(QueryError):
    """Nothing is known of what was asked for, or not any more."""

    status = 404

    def __init__(self) -> None:
        super().__init__(
            "Nothing is kept of this any more, or it never was: ended sessions are remembered for a while only."
        )


class Overview(OperatorHandler):
    """``/admin/overview``: what is going on."""

    async def get(self) -> None:
        """Counts, charts, who has most sessions, what operators did last."""
        snapshot = await self.parts.activity.snapshot()
        day = await self.ask_store(self.parts.activity.day) if self.query_value("span") == "day" else None
        sample = await self.ask_store(self._sample)
        tops = {
            "user": Counter(item.user for item in sample if item.user).most_common(_TOP),
            "ip": Counter(item.ip for item in sample if item.ip).most_common(_TOP),
            "device": Counter(device(item.user_agent) for item in sample).most_common(_TOP),
        }
        self.render(
            "admin/overview.html",
            snapshot=snapshot,
            charts=drawn(self, snapshot, day),
            day=day is not None,
            tops=tops,
            sampled=len(sample),
            entries=await self.ask_store(self._acts_of_operators),
            jobs=[job for job in await self.parts.jobs.all() if job.finished_at is None],
            checks=await self_check(self.sessions, self.parts.accounts),
            notice=self.take_notice(),
        )

    async def _acts_of_operators(self) -> list[Entry]:
        entries = await self.parts.audit.entries(AuditQuery(limit=_HISTORY))
        return [entry for entry in entries if entry.act in BY_OPERATORS][:_TOP]

    async def _sample(self) -> list[SessionSummary]:
        """Those seen last; a look at all of them would be a scan."""
        found: list[SessionSummary] = []
        cursor = None
        while len(found) < _SAMPLE:
            page = await self.sessions.find(limit=500, cursor=cursor)
            found += page.items
            cursor = page.next_cursor
            if cursor is None:
                break
        # What is not known of a damaged one is not what most have.
        return [item for item in found if not isinstance(item, Damaged)]


class Chart(NamedTuple):
    """One series as it is shown, in the reader's language: its title, the latest number, a picture, and what it shows in words."""

    title: str
    now: str
    picture: str
    words: str


def drawn(handler: OperatorHandler, snapshot: Snapshot, day: Series | None = None) -> dict[str, Chart]:
    """Each series by its name, over the last hour or a day; the number is always the latest."""
    say = handler.locale.translate
    found = {}
    for name, title, unit in CHARTS:
        values = (day or snapshot.series)[name]
        latest = next((value for value in reversed(snapshot.series[name]) if value is not None), None)
        known = [value for value in values if value is not None]
        now, most = (f"{short(value)} {unit}".strip() for value in (latest, max(known, default=None)))
        highest = say("highest in the last hour: %s") if day is None else say("highest in the last day: %s")
        words = highest % most if known else say("nothing is known yet")
        found[name] = Chart(say(title), now, line_chart(values, say(title), f"{now}; {words}"), words)
    return found


class SessionsPage(OperatorHandler):
    """``/admin/``: who is in, or who was."""

    async def get(self) -> None:
        """The list, with its filters, its order and its tab in the address."""
        try:
            view = await self.view()
            page, count = await self.find_page(view)
        except QueryError as error:
            self._refuse(self.say(error.sentence))
            return
        self._show(view, "", page.items, page.next_cursor, count)

    def _refuse(self, fault: str) -> None:
        """The page with the filters as they were typed, and what is wrong with them."""
        self.set_status(400)
        given = {name: value for name in FILTERS if (value := self.query_value(name))}
        from_nothing = View(given, Where(), State.LIVE, Sort.LAST_SEEN, None, 50)
        self._show(from_nothing, fault, [], None, None)

    def _show(self, view: View, fault: str, items: list[SessionSummary], next_cursor: str | None, count: Any) -> None:
        self.render(
            "admin/sessions.html",
            view=view,
            fault=fault,
            items=items,
            count=count,
            ended=view.state is State.ENDED,
            sorts=list(Sort),
            devices=list(DEVICES),
            next_page=view.url(cursor=next_cursor) if next_cursor else None,
            first_page=view.url() if view.cursor else None,
            own=self.session.handle,
            now=self.sessions.clock(),
            where_of=where_of,
            kept_for_days=round(self.sessions.config.seconds("keep_ended_for") / 86400),
            notice=self.take_notice(),
        )


def where_of(view: View, now: float) -> str:
    """The filters of a view as a form carries them to what ends them: with the time until which sessions are meant."""
    return msgspec.json.encode(rules.cut_off(view.where, now)).decode()


class SessionPage(OperatorHandler):
    """``/admin/sessions/HANDLE``."""

    async def get(self, handle: str) -> None:
        """SessionSummary, history, and the names, types and sizes of its values; never the values."""
        found = await self.ask_store(lambda: self.sessions.inspect(handle))
        if found is None:
            raise NotKept
        live = found if isinstance(found, Record) else None
        values = await self.sessions.values_of(handle) if live is not None else None
        shapes = {
            key: (_KINDS.get(type(value), "null"), len(live.data.get(key, b"")))
            for key, value in (values or {}).items()
            if live is not None
        }
        history: list[Entry] = []
        if found.user:
            query = AuditQuery(who=found.user, since=found.created_at - 1, limit=_HISTORY)
            entries = await self.ask_store(lambda: self.parts.audit.entries(query))
            history = [entry for entry in entries if handle in entry.target or entry.act not in ON_ONE_SESSION]
        self.render(
            "admin/session.html",
            item=found,
            live=live,
            shapes=shapes,
            history=history,
            own=self.session.handle,
            proved=self.has_fresh_password(),
            notice=self.take_notice(),
        )


class UserPage(OperatorHandler):
    """``/admin/user?name=NAME``: one user's sessions, state and history."""

    async def get(self) -> None:
        """Also of a user without an account: sessions need none."""
        name = self.query_value("name", strip=False)
        found = await self.parts.accounts.look_up(name)
        account = found if isinstance(found, User) else None
        name = account.name if account is not None else name
        page, count, ended, events = await self.ask_store(
            lambda: asyncio.gather(
                self.sessions.find(user=name, limit=50),
                self.sessions.count(user=name),
                self.sessions.find(user=name, state=State.ENDED, limit=10),
                self.parts.audit.entries(AuditQuery(who=name, limit=30)),
            )
        )
        if found is None and not (page.items or ended.items or ended.next_cursor or events):
            raise NotKept
        self.render(
            "admin/user.html",
            name=name,
            account=account,
            damage=found.why if isinstance(found, DamagedUser) else "",
            items=page.items,
            count=count,
            ended=ended.items,
            more_ended=ended.next_cursor is not None,
            events=events,
            own=self.session.handle,
            now=self.sessions.clock(),
            proved=self.has_fresh_password(),
            blocks=BLOCKS,
            reasons=REASONS,
            notice=self.take_notice(),
        )


class JobsPage(OperatorHandler):
    """``/admin/jobs``: bulk acts, running and over."""

    async def get(self) -> None:
        """The newest first."""
        self.render("admin/jobs.html", jobs=await self.ask_store(self.parts.jobs.listed), notice=self.take_notice())


class JobPage(OperatorHandler):
    """``/admin/jobs/ID``."""

    async def get(self, job_id: str) -> None:
        """How far it is; the page looks again by itself while it runs."""
        job = await self.parts.jobs.look_up(job_id)
        if job is None:
            raise HTTPError(404)
        if isinstance(job, DamagedJob):
            self.render("admin/damaged_job.html", job=job, notice=self.take_notice())
            return
        if job.finished_at is None:
            # From an address of its own, so that these looks are not taken for those of a person.
            self.set_header("Refresh", f"2; url=/admin/jobs/{job_id}/live")
        self.render("admin/job.html", job=job, notice=self.take_notice())


class JobAgain(JobPage):
    """``/admin/jobs/ID/live``: the page of a job that loads itself again."""

    touches = False


class SettingsPage(OperatorHandler):
    """``/admin/settings``: what is in force, and whether it is good."""

    async def get(self) -> None:
        """Read-only: settings come from flags, environment and files."""
        checks = await self_check(self.sessions, self.parts.accounts)
        shown = effective_settings(self.sessions.config)
        self.render("admin/settings.html", checks=checks, shown=shown, version=__version__)


def routes() -> list[Any]:
    """Addresses and their handlers."""
    return [
        (r"/admin/?", SessionsPage),
        (r"/admin/overview", Overview),
        (r"/admin/sessions/([A-Za-z0-9]{1,64})", SessionPage),
        (r"/admin/user", UserPage),
        (r"/admin/jobs", JobsPage),
        (r"/admin/jobs/([A-Za-z0-9]{1,64})", JobPage),
        (r"/admin/jobs/([A-Za-z0-9]{1,64})/live", JobAgain),
        (r"/admin/settings", SettingsPage),
    ]
