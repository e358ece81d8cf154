"""Every site whose pages are looked at, each with its states; and the sites of one run, each of which starts once."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from browser.crowd import people
from browser.elsewhere import MailSite, MountedSite, OwnUsersSite, ProviderSite, SignsInAgain
from browser.other_states import (
    AWAY,
    CROWD,
    DAMAGED,
    DEMO,
    FIRST,
    MAIL,
    MOUNTED,
    MOUNTED_AGAIN,
    OWN_USERS,
    PROVIDER,
    PROVIDER_ONLY,
)
from browser.served import Served
from browser.site import Site
from browser.states import STATES, State
from support.browser import FIREFOX
from support.mail_server import MailServer
from support.passwords import PASSWORD
from support.record_damage import spoil_account, spoil_document, spoil_entry
from support.urls import url_of

from tornado_sessions.record import Cause
from tornado_sessions.server.operations.action_names import Action
from tornado_sessions.server.operations.audit import Actor
from tornado_sessions.server.parts import Parts
from tornado_sessions.server.roles import Role
from tornado_sessions.server.web.server_site import Demo


class Stage(NamedTuple):
    """A site and its states.

    Attributes:
        states: of its pages.
        make: creates the site in a folder, with the fixtures of a test.
        fill: puts people into it, after it has started.
    """

    states: Sequence[State]
    make: Callable[[Path, pytest.FixtureRequest], Served]
    fill: Callable[[Any], object]


def _fill(site: MailSite | ProviderSite | MountedSite | OwnUsersSite) -> None:
    site.run(site.add_people)


def _fill_away(site: Site) -> None:
    site.run(lambda: site.fill(60, 10))
    for path in site.file.parent.glob("sessions.db*"):
        path.unlink()


def _fill_first(site: Site) -> None:
    async def count() -> None:
        await site.parts.census.figures(wait=10)
        await site.parts.leases.take("census")

    site.run(count)


async def _update(parts: Parts, sql: str, handle: str) -> None:
    store: Any = parts.sessions.store
    await store.database.write(lambda connection: connection.execute(sql, (handle,)).rowcount)


def _fill_damaged(site: Site) -> None:
    async def damage() -> None:
        parts = site.parts
        root = Actor("root", "192.0.2.17", Role.ADMIN, FIREFOX)
        await parts.accounts.register("ada", "ada@example.org", PASSWORD)
        await parts.accounts.register("root", "root@example.org", PASSWORD, role=Role.ADMIN)
        await parts.accounts.register("olaf", "olaf@example.org", PASSWORD, role=Role.OPERATOR)
        for name in (*["ada"] * 7, "olaf", "root"):
            await site.sign_in(name)
        await parts.actions.create_token(root, "deploy", ["sessions:read"], 86400)
        *_, oldest = await site.handles("ada", 7)
        await _update(parts, "UPDATE sessions SET signed_in_at = 'noon', private = 'x' WHERE handle = ?", oldest)
        await spoil_document(parts.documents, "token", (await parts.tokens.all())[0].handle, b"{")
        for name in ("ada", "olaf"):
            await spoil_account(parts.documents, name, "password_changed_at", "never")
        [ended] = await site.handles("olaf")
        await parts.sessions.destroy(ended, cause=Cause.LOGOUT)
        await _update(parts, "UPDATE tombstones SET cause = 'whim' WHERE handle = ?", ended)
        entries = await parts.audit.entries()
        own = next(entry for entry in entries if entry.act == Action.LOG_IN and entry.actor == "root")
        await spoil_entry(parts.documents, own.id, "ended", "many")

    site.run(damage)


def _fill_crowd(site: Site) -> None:
    async def crowd() -> None:
        await site.parts.accounts.register("root", "root@example.org", PASSWORD, role=Role.ADMIN)
        made = list(people(10_100))
        for start in range(0, len(made), 500):
            await site.parts.sessions.store.save(made[start : start + 500])
        await site.sign_in("root")
        # Another process counts, and there was no cleanup for minutes.
        await site.parts.leases.take("census")
        site.parts.activity.count("pings")
        await site.parts.activity.flush()
        site.clock.ahead += 700
        await site.put_stopped_job()

    site.run(crowd)


def _main(kind: str) -> Stage:
    return Stage(
        STATES, lambda folder, request: Site(folder, url_of(kind, request, folder)), lambda site: site.run(site.fill)
    )


def _fill_demo(site: Site) -> None:
    site.run(lambda: site.fill(60, 10))


def _mail(folder: Path, request: pytest.FixtureRequest) -> MailSite:
    server = MailServer()
    request.session.addfinalizer(server.stop)
    return MailSite(folder, server)


STAGES = {
    "sqlite": _main("sqlite"),
    "redis": _main("redis"),
    "mongo_motor": _main("mongo_motor"),
    "away": Stage(AWAY, lambda folder, _: Site(folder), _fill_away),
    "first": Stage(FIRST, lambda folder, _: Site(folder), _fill_first),
    "damaged": Stage(DAMAGED, lambda folder, _: Site(folder), _fill_damaged),
    "crowd": Stage(CROWD, lambda folder, _: Site(folder, "memory://"), _fill_crowd),
    "mail": Stage(MAIL, _mail, _fill),
    "provider": Stage(
        PROVIDER, lambda folder, request: ProviderSite(folder, request.getfixturevalue("oidc_provider")), _fill
    ),
    "provider only": Stage(
        PROVIDER_ONLY,
        lambda folder, request: ProviderSite(folder, request.getfixturevalue("oidc_provider"), only=True),
        lambda _: None,
    ),
    "mounted": Stage(MOUNTED, lambda folder, _: MountedSite(folder), _fill),
    "mounted elsewhere": Stage(MOUNTED_AGAIN, lambda folder, _: MountedSite(folder, SignsInAgain), _fill),
    "own users": Stage(OWN_USERS, lambda folder, _: OwnUsersSite(folder), _fill),
    "demo": Stage(DEMO, lambda folder, _: Site(folder, demo=Demo("root", PASSWORD, _nothing)), _fill_demo),
}


async def _nothing(_parts: object) -> Callable[[], Awaitable[None]]:
    raise AssertionError("no data of a demo")


class Sites:
    """The sites of one run. Each starts when it is first asked for.

    Args:
        request: of the fixture that owns them.
        folders: where their files are.
    """

    def __init__(self, request: pytest.FixtureRequest, folders: pytest.TempPathFactory) -> None:
        self._request, self._folders = request, folders
        self._running = ExitStack()
        self._sites: dict[str, Served] = {}

    def of(self, name: str) -> Served:
        """Return a site of ``STAGES``, running and full of people."""
        if name not in self._sites:
            stage = STAGES[name]
            site = self._running.enter_context(stage.make(self._folders.mktemp("site"), self._request))
            stage.fill(site)
            self._sites[name] = site
        return self._sites[name]

    def close(self) -> None:
        """Stop them all."""
        self._running.close()
