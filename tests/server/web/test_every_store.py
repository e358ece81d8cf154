"""Each operation of operators on every kind of store, through the API and the pages: what one of them cannot do shows here."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from argon2.profiles import CHEAPEST
from support.browser import Browser
from support.clock import Clock
from support.jobs import finished_jobs
from support.passwords import SECRET
from support.people import make_operator
from support.urls import BACKENDS, url_of

from tornado_sessions.query import Direction, Sort
from tornado_sessions.record import Create, Outcome, SessionSummary
from tornado_sessions.server.accounts.passwords import Passwords
from tornado_sessions.server.parts import Parts
from tornado_sessions.server.roles import Role
from tornado_sessions.server.settings import ServerOptions
from tornado_sessions.testing.maker import create

pytestmark = pytest.mark.gen_test(timeout=60)

FIREFOX, CURL = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0", "curl/8.5.0"
Matches = Callable[[SessionSummary], bool]
#: Filters of live sessions, and which of those of ``crowd`` match them.
LIVE: dict[str, Matches] = {
    "": lambda item: True,
    "user=ann": lambda item: item.user == "ann",
    "user=a*": lambda item: (item.user or "").startswith("a"),
    "ip=192.0.2.1": lambda item: item.ip == "192.0.2.1",
    "ip=192.0.2.0/24": lambda item: item.ip.startswith("192.0.2."),
    "ip=2001:db8::/32": lambda item: item.ip.startswith("2001:db8:"),
    "handle=h03": lambda item: item.handle == "h03",
    "q=AN": lambda item: (item.user or "").lower().startswith("an"),
    "q=ann": lambda item: item.user in ("ann", "Ann"),
    "q=192.0.2": lambda item: item.ip.startswith("192.0.2"),
    "q=H0": lambda item: item.handle.startswith("h0"),
    "q=nobody": lambda item: False,
    "device=Firefox": lambda item: "Firefox" in item.user_agent,
    "device=no+browser": lambda item: "curl" in item.user_agent,
    "kind=visitors": lambda item: item.user is None,
    "kind=users": lambda item: item.user is not None,
    "role=operator": lambda item: False,
    "signed_in_within=400": lambda item: item.user in ("ann", "amy"),
    "signed_in_since=1": lambda item: item.user is not None,
    "idle_for=125": lambda item: item.handle >= "h07",
    "suspicious=1": lambda item: False,
    "user=ann&device=Firefox": lambda item: item.user == "ann" and "Firefox" in item.user_agent,
    "ip=192.0.2.0/24&kind=visitors": lambda item: item.user is None and item.ip.startswith("192.0.2."),
}


def crowd(now: float) -> list[Create]:
    """Twelve sessions of users and visitors, each used ten seconds before the one in front of it."""
    users = ["ann", "ann", "Ann", "amy", "bob", None]
    addresses = ["192.0.2.1", "192.0.2.2", "2001:db8::1"]
    return [
        create(
            f"h{number:02}",
            user=users[number % 6],
            ip=addresses[number % 3],
            user_agent=CURL if number % 4 == 3 else FIREFOX,
            created_at=now - 5_000,
            signed_in_at=None
            if users[number % 6] is None
            else now - (300 if users[number % 6] in ("ann", "amy") else 900),
            last_seen_at=now - 60 - 10 * number,
            expires_at=now + 1_000 + number,
            absolute_at=now + 9_000,
        )
        for number in range(12)
    ]


@pytest.fixture(params=[*BACKENDS, "dual"])
def options(request: pytest.FixtureRequest, tmp_path: Path) -> ServerOptions:
    if request.param != "dual":
        return ServerOptions(store=url_of(request.param, request, tmp_path), secret=[SECRET])
    primary, fallback = (url_of(kind, request, tmp_path) for kind in ("redis", "sqlite"))
    pair = f"dual://?primary={quote(primary, safe='')}&fallback={quote(fallback, safe='')}"
    return ServerOptions(store=pair, users=fallback, secret=[SECRET])


@pytest.fixture
def parts(options: ServerOptions, clock: Clock, io_loop: Any) -> Iterator[Parts]:
    made = Parts(options, passwords=Passwords(CHEAPEST), clock=clock)
    io_loop.run_sync(made.open)
    yield made
    io_loop.run_sync(made.close)


class Dashboard:
    """An operator's browser, the API it asks and what it answers."""

    def __init__(self, browser: Browser, token: str) -> None:
        self.browser, self.token = browser, token

    async def get(self, path: str) -> Any:
        answer = await self.browser.get(f"/admin/api/{path}")
        assert answer.code == 200, (path, answer.body)
        return json.loads(answer.body)

    async def post(self, path: str, **fields: Any) -> Any:
        answer = await self.browser.send("POST", f"/admin/api/{path}", json.dumps(fields), X_XSRFToken=self.token)
        assert answer.code in (200, 201), (path, fields, answer.body)
        return json.loads(answer.body)

    async def delete(self, path: str) -> int:
        return (await self.browser.send("DELETE", f"/admin/api/{path}", X_XSRFToken=self.token)).code

    async def page(self, path: str) -> str:
        answer = await self.browser.get(f"/admin{path}")
        assert answer.code == 200, (path, answer.body[-500:])
        return answer.body.decode()

    async def handles(self, query: str) -> list[str]:
        """Return the sessions of a list except the operator's own."""
        found = await self.get(f"sessions?{query}")
        assert found["total"] == len(found["items"]), query
        return [item["handle"] for item in found["items"] if not item["current"] and item["user"] != "root"]


async def dashboard(parts: Parts, operator: Browser, clock: Clock) -> Dashboard:
    """Put the crowd into the store, and sign an admin in."""
    await make_operator(parts, operator, Role.ADMIN)
    answers = await parts.sessions.store.save(crowd(clock()))
    assert set(answers) == {Outcome.SAVED}
    return Dashboard(operator, await operator.token("/admin/settings"))


async def test_each_filter_search_and_order_shows_what_matches(parts: Parts, operator: Browser, clock: Clock) -> None:
    admin = await dashboard(parts, operator, clock)
    everyone = [item.record for item in crowd(clock())]
    for query, matches in LIVE.items():
        wanted = [item.handle for item in everyone if matches(item)]
        assert await admin.handles(query) == wanted, query
        if query.startswith("q=") or not query:
            page = await admin.page(f"/?{query}")
            assert [handle for handle in wanted if handle not in page] == [], query
    assert [item["value"] for item in (await admin.get("suggest?q=an"))["items"]] == ["ann", "Ann"]
    assert (await admin.get("suggest?q=192.0.2"))["items"][0]["total"] == 8
    for sort in Sort:
        for direction in Direction:
            await each_once(admin, f"sort={sort.value}&direction={direction.value}&limit=5")
    export = await admin.browser.get("/admin/api/sessions/export?type=csv&user=ann")
    assert export.body.count(b"\r\n") == 1 + 4


async def each_once(admin: Dashboard, query: str) -> None:
    """The pages of a list show each session once, and lead back to the first one."""
    pages = [await admin.get(f"sessions?{query}")]
    while (cursor := pages[-1]["next_cursor"]) is not None:
        pages.append(await admin.get(f"sessions?{query}&cursor={cursor}"))
    shown = [item["handle"] for page in pages for item in page["items"]]
    assert (len(pages), len(shown), len(set(shown))) == (3, 13, 13), query
    back = await admin.get(f"sessions?{query}&cursor={pages[1]['previous_cursor']}")
    assert back["items"] == pages[0]["items"], query


async def test_each_way_to_end_sessions_ends_lists_and_records_them(
    parts: Parts, operator: Browser, clock: Clock
) -> None:
    admin = await dashboard(parts, operator, clock)
    assert await admin.delete("sessions/h05") == 204
    assert (await admin.page("/sessions/h05")).count("h05") > 1
    ways: list[tuple[str, dict[str, Any], set[str]]] = [
        ("destroy", {"handles": ["h11", "h00"]}, {"h00", "h11"}),
        ("destroy", {"user": "amy", "reason": "left", "expected": 2}, {"h03", "h09"}),
        ("destroy", {"where": {"ip": "2001:db8::1"}, "reason": "leak", "expected": 2}, {"h02", "h08"}),
        ("destroy", {"where": {"device": "Firefox", "kind": "users"}, "reason": "leak"}, {"h01", "h04", "h06", "h10"}),
    ]
    for path, fields, ended in ways:
        clock.ahead += 30
        before = set(await admin.handles("limit=50"))
        assert await admin.post(f"sessions/{path}", **fields) == {"destroyed": len(ended)}, fields
        assert before - set(await admin.handles("limit=50")) == ended, fields
        action = (await admin.get("audit"))["items"][0]
        assert set(await admin.handles(f"state=ended&ended_action={action['ref']}")) == ended, fields
    over = [f"h{number:02}" for number in range(12) if number != 7]
    assert sorted(await admin.handles("state=ended&ended_by=root")) == over
    assert await admin.handles(f"state=ended&ended_until={int(clock()) - 105}") == ["h05"]
    assert len(await admin.handles(f"state=ended&ended_since={int(clock()) - 75}")) == 8
    assert set(await admin.handles("state=ended&q=AMY")) == {"h03", "h09"}
    assert "h04" in await admin.page("/?state=ended&user=bob")
    jobs = await finished_jobs(parts)
    assert {job.ended for job in jobs} == {2, 4}
    for job in jobs:
        assert (await admin.get(f"jobs/{job.id}"))["state"] == "done"
        assert job.id in await admin.page(f"/jobs/{job.id}")


async def test_everybody_ends_and_tokens_jobs_and_the_audit_log_tell(
    parts: Parts, operator: Browser, clock: Clock
) -> None:
    admin = await dashboard(parts, operator, clock)
    made = await admin.post("tokens", name="robot", scopes=["sessions:end", "audit:read", "sessions:read"])
    clock.ahead += 1
    robot = Dashboard(Browser(operator.client, operator.base), "")
    robot.browser.headers["Authorization"] = f"Bearer {made['token']}"
    assert len(await robot.handles("limit=50")) == 12
    assert (await robot.post("sessions/destroy-all", reason="breach"))["destroyed"] == 13
    assert await robot.handles("limit=50") == []
    assert {job.where for job in await finished_jobs(parts)} == {None}
    assert (await robot.get("audit"))["items"][0]["ended"] == 13
    assert (await robot.get("audit/verify"))["faults"] == []
    # Whoever signs in afterwards is let in, sees what ended, and revokes the token.
    clock.ahead += 1
    assert (await operator.log_in("root")).code == 303
    admin = Dashboard(operator, await operator.token("/admin/settings"))
    assert len(await admin.handles("state=ended&limit=50")) >= 12
    for path in ("/overview", "/audit", "/jobs", "/user?name=ann", "/users", "/operators", "/settings"):
        await admin.page(path)
    (token,) = (await admin.get("tokens"))["items"]
    assert await admin.delete(f"tokens/{token['handle']}") == 204
    assert (await robot.browser.get("/admin/api/sessions")).code == 401
