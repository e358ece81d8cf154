"""The list of sessions as a file: whole, safe for spreadsheets, recorded, bounded, and given up when nobody reads it."""

from __future__ import annotations

import asyncio
import csv
import io
import json
from collections.abc import AsyncIterator

import pytest
from support.browser import Browser
from support.clock import Clock
from support.passwords import PASSWORD
from support.people import fill_store, make_operator
from support.raw_connection import connected
from support.waiting import until
from tornado.simple_httpclient import HTTPStreamClosedError
from tornado.web import Application

from tornado_sessions.errors import StoreUnavailable
from tornado_sessions.query import Page, Query
from tornado_sessions.record import SessionSummary
from tornado_sessions.server.operations.audit import Audit
from tornado_sessions.server.operations.entries import AuditQuery, Entry
from tornado_sessions.server.operations.export import session_lines
from tornado_sessions.server.operations.tokens import Scope
from tornado_sessions.server.parts import Parts
from tornado_sessions.server.roles import Role
from tornado_sessions.server.web.site import MAX_EXPORTS
from tornado_sessions.testing.faults import WrappedStore
from tornado_sessions.testing.maker import create


async def exports(audit: Audit) -> list[Entry]:
    return await audit.entries(AuditQuery(act="export sessions"))


async def fill(parts: Parts, count: int) -> None:
    now = parts.sessions.clock()
    times = {"created_at": now - 100, "expires_at": now + 600, "absolute_at": now + 600}
    made = [create(f"h{n:05}", user="mallory", last_seen_at=now - n / 100, **times) for n in range(count)]
    for start in range(0, count, 500):
        await parts.sessions.store.save(made[start : start + 500])


async def colleague(parts: Parts, operator: Browser, name: str, role: Role = Role.VIEWER) -> Browser:
    await parts.accounts.register(name, f"{name}@example.org", PASSWORD, role=role)
    person = Browser(operator.client, operator.base)
    await person.log_in(name)
    return person


class Paused(WrappedStore):
    """Waits before every list of at least 500 rows but the first, or fails there."""

    def __init__(self, parts: Parts) -> None:
        super().__init__(parts.sessions.store)
        self.go_on = asyncio.Event()
        self.fails = False
        self.pages = self.waiting = 0
        parts.sessions.store = self

    def is_waiting(self) -> bool:
        return self.pages > 1

    async def find(self, query: Query) -> Page:
        if query.limit == 500:
            self.pages += 1
            if self.pages > 1:
                if self.fails:
                    raise StoreUnavailable("memory", "it broke")
                self.waiting += 1
                await self.go_on.wait()
        return await super().find(query)


@pytest.mark.gen_test(timeout=30)
async def test_a_file_has_every_session_of_the_filter_in_the_order_of_the_list(operator: Browser, parts: Parts) -> None:
    await make_operator(parts, operator)
    await fill(parts, 1_201)
    for query, expected in (
        ("user=mallory", [f"h{n:05}" for n in range(1_201)]),
        ("user=mallory&direction=asc&limit=2&cursor=", [f"h{n:05}" for n in range(1_200, -1, -1)]),
        ("user=nobody", []),
    ):
        answer = await operator.get(f"/admin/sessions.jsonl?{query}")
        assert (answer.code, answer.headers["Content-Type"]) == (200, "application/jsonl")
        items = list(map(json.loads, answer.body.decode().splitlines()))
        assert [item["handle"] for item in items] == expected
        by_api = await operator.get(f"/admin/api/sessions/export?{query}")
        assert (by_api.code, by_api.body) == (200, answer.body)
        table = await operator.get(f"/admin/sessions.csv?{query}")
        assert table.headers["Content-Disposition"] == 'attachment; filename="sessions.csv"'
        rows = list(csv.DictReader(io.StringIO(table.body.decode(), newline="")))
        assert [row["handle"] for row in rows] == expected
    assert [entry.target for entry in await exports(parts.audit)][-1] == "jsonl live user=mallory"
    assert len(await exports(parts.audit)) == 9


@pytest.mark.gen_test
async def test_the_ended_are_exported_with_their_ending_and_no_cell_is_a_formula(
    operator: Browser, parts: Parts
) -> None:
    await make_operator(parts, operator)
    await fill_store(parts, 1, "192.0.2.7", user="=cmd()", agent='@"agent"')
    handle = (await parts.sessions.find(user="=cmd()")).items[0].handle
    await parts.sessions.destroy(handle, by="root", reason="+leak\n=1+1")
    answer = await operator.get("/admin/sessions.csv?state=ended")
    (row,) = csv.DictReader(io.StringIO(answer.body.decode(), newline=""))
    assert (row["user"], row["user_agent"], row["reason"]) == ("'=cmd()", '\'@"agent"', "'+leak\n=1+1")
    assert (row["cause"], row["ended_by"], row["damage"]) == ("operator", "root", "")
    assert row["ended_at"].endswith("+00:00")


@pytest.mark.gen_test
async def test_an_export_needs_a_recent_password(operator: Browser, parts: Parts, clock: Clock) -> None:
    await make_operator(parts, operator)
    clock.ahead += 301
    back = await operator.get("/admin/sessions.csv?kind=users")
    assert (back.code, back.headers["Location"]) == (303, "/admin/?kind=users")
    assert "Enter your password again to export." in (await operator.get("/admin/")).body.decode()
    assert (await operator.get("/admin/api/sessions/export")).code == 403
    wrong = await operator.post("/admin/sessions.csv?kind=users", {"password": "wrong"})
    assert wrong.code == 303
    assert await exports(parts.audit) == []
    answer = await operator.post("/admin/sessions.csv?kind=users", {"password": PASSWORD})
    assert (answer.code, answer.headers["Content-Type"]) == (200, "text/csv; charset=utf-8")
    assert [(entry.actor, entry.target) for entry in await exports(parts.audit)] == [
        ("root", "csv live signed_in=True")
    ]


@pytest.mark.gen_test
async def test_a_token_exports_with_its_scope_and_wrong_parameters_are_refused(operator: Browser, parts: Parts) -> None:
    await make_operator(parts, operator)
    for scope, code in ((Scope.READ, 200), (Scope.AUDIT, 403)):
        token = await parts.tokens.create(f"robot-{code}", [scope])
        answer = await operator.send(
            "GET", "/admin/api/sessions/export?type=csv", Authorization=f"Bearer {token}", Cookie=""
        )
        assert answer.code == code, scope
    for query in ("type=xml", "sort=x", "ip=1/2/3"):
        assert (await operator.get(f"/admin/api/sessions/export?{query}")).code == 400, query
        assert (await operator.get(f"/admin/sessions.csv?{query}")).code == (200 if "type" in query else 400), query


@pytest.mark.gen_test(timeout=30)
async def test_an_export_ends_when_its_client_goes_away(
    operator: Browser, parts: Parts, app: Application, http_port: int
) -> None:
    await make_operator(parts, operator)
    await fill(parts, 2_600)
    cookie = "; ".join(f"{name}={value}" for name, value in operator.cookies.items())
    for _ in range(2):
        paused = Paused(parts)
        async with connected(("127.0.0.1", http_port)) as raw:
            raw.send("GET", "/admin/sessions.csv", {"Cookie": cookie})
            await until(paused.is_waiting, "the second page")
        paused.go_on.set()
        await until(lambda: not app.settings["site"].exports.taken, "the place is free again")
    # None has read on to the sixth page.
    assert paused.pages < 6
    assert (await operator.get("/admin/sessions.csv?user=nobody")).code == 200


@pytest.mark.gen_test(timeout=30)
async def test_few_exports_run_at_once_and_one_of_each_person(operator: Browser, parts: Parts) -> None:
    await make_operator(parts, operator)
    people = [operator, *[await colleague(parts, operator, f"eve{number}") for number in range(MAX_EXPORTS)]]
    await fill(parts, 1_600)
    paused = Paused(parts)
    paths = ("/admin/sessions.jsonl", "/admin/api/sessions/export", "/admin/audit.csv")
    running = []
    for person in people[:-1]:
        running.append(asyncio.ensure_future(person.get("/admin/sessions.csv")))
        await until(lambda: paused.waiting == len(running), "an export in its second page")
        for path in paths:
            assert (await person.get(path)).code == 503, "one person cannot take all places"
    for path in paths:
        refused = await people[-1].get(path)
        assert (refused.code, refused.headers["Retry-After"]) == (503, "10"), path
        assert b"Other exports are running." in refused.body
    paused.go_on.set()
    assert {(await answer).body.count(b"mallory") for answer in running} == {1_600}
    assert (await operator.get("/admin/audit.csv")).code == 200


@pytest.mark.parametrize("kind", ["role", "token", "token of a former admin", "account"])
@pytest.mark.gen_test(timeout=30)
async def test_nothing_leaves_after_the_permission_is_withdrawn(operator: Browser, parts: Parts, kind: str) -> None:
    await make_operator(parts, operator)
    eve = await colleague(parts, operator, "eve", Role.ADMIN)
    await fill(parts, 1_600)
    paused, headers, path = Paused(parts), {}, "/admin/sessions.csv"
    if kind.startswith("token"):
        token = await parts.tokens.create("robot", [Scope.READ], None, "eve")
        headers, path = {"Authorization": f"Bearer {token}", "Cookie": ""}, "/admin/api/sessions/export"
    export = asyncio.ensure_future(eve.get(path, **headers))
    await until(lambda: paused.waiting == 1, "an export in its second page")
    match kind:
        case "role" | "token of a former admin":
            # Elsewhere than by an action, which would end the session as well.
            await parts.accounts.set_role("eve", Role.USER)
        case "token":
            await parts.tokens.revoke_all_of("eve")
        case "account":
            await parts.accounts.remove("eve", PASSWORD, "::1")
    paused.go_on.set()
    # The client sees that the file is incomplete.
    with pytest.raises(HTTPStreamClosedError):
        await export


@pytest.mark.gen_test(timeout=30)
async def test_an_export_that_breaks_is_seen_to_be_incomplete(operator: Browser, parts: Parts) -> None:
    await make_operator(parts, operator)
    await fill(parts, 600)
    paused = Paused(parts)
    paused.fails = True
    # The body ends before its last chunk.
    with pytest.raises(HTTPStreamClosedError):
        await operator.get("/admin/sessions.csv")
    paused.pages, paused.fails = 1, True
    broken = await operator.get("/admin/sessions.csv")
    assert broken.code == 503


async def lines_of(pages: list[list[str]], file_type: str, most: int) -> str:
    """Export these pages of handles."""

    async def find(cursor: str | None) -> Page:
        number = int(cursor or 0)
        items = [
            SessionSummary(handle=each, created_at=1.0, last_seen_at=1.0, expires_at=9.0) for each in pages[number]
        ]
        return Page(items, str(number + 1) if number + 1 < len(pages) else None)

    lines: AsyncIterator[str] = session_lines(find, file_type, None, most)
    return "".join([some async for some in lines])


@pytest.mark.gen_test
async def test_a_file_that_is_cut_off_says_so() -> None:
    pages = [["a", "b"], [], ["c", "d"]]
    for most, expected in ((9, "abcd"), (4, "abcd"), (3, "abc"), (2, "ab")):
        lines = (await lines_of(pages, "jsonl", most)).splitlines()
        cut = most < 4
        assert "".join(json.loads(line)["handle"] for line in (lines[:-1] if cut else lines)) == expected
        assert not cut or json.loads(lines[-1]) == {"cut_off_after": most}
        rows = (await lines_of(pages, "csv", most)).splitlines()
        assert (rows[-1] == f"cut off after {most} sessions") is cut
