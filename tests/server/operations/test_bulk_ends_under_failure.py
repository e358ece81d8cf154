"""Bulk acts and the log while sessions move, stores fail and clocks differ: on every back end."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
from support.browser import Browser
from support.clock import Clock
from support.jobs import finished_jobs
from support.passwords import PASSWORD
from support.people import fill_store, make_operator
from tornado.simple_httpclient import HTTPStreamClosedError
from tornado.web import Application

from tornado_sessions.errors import StoreUnavailable
from tornado_sessions.query import Where
from tornado_sessions.request import RequestInfo
from tornado_sessions.server.documents import Document
from tornado_sessions.server.operations.action_names import Action
from tornado_sessions.server.operations.audit import VERIFIED, Actor
from tornado_sessions.server.operations.entries import AuditQuery
from tornado_sessions.server.operations.jobs import JobState
from tornado_sessions.server.operations.selections import Everybody, Matching
from tornado_sessions.server.parts import Parts
from tornado_sessions.server.roles import Role
from tornado_sessions.server.web.api import audit as api_audit
from tornado_sessions.testing.maker import change

ROOT = Actor("root", "::1")


@pytest.mark.gen_test(timeout=60)
async def test_what_is_used_during_a_bulk_end_ends_as_well(parts: Parts, clock: Clock) -> None:
    await fill_store(parts, 600, "192.0.2.7")
    until = clock()
    last = (await parts.sessions.find(ip="192.0.2.7", limit=500)).next_cursor
    deep = (await parts.sessions.find(ip="192.0.2.7", limit=500, cursor=last)).items[-1].handle
    ended = 0
    async for step in parts.sessions.destroying(Where(ip="192.0.2.7", created_until=until)):
        if not ended:
            await parts.sessions.store.save([change(deep, now=clock(), last_seen_at=clock() + 5)])
        ended += step
    assert ended == 600
    assert (await parts.sessions.count()).total == 0


@pytest.mark.every_backend
@pytest.mark.gen_test
async def test_a_visitor_who_logs_in_during_a_bulk_end_is_kept(parts: Parts, clock: Clock) -> None:
    request = parts.sessions.new_request_session(RequestInfo(clock(), "192.0.2.7"))
    request.session["cart"] = 1
    await parts.sessions.commit(request)
    until, clock.ahead = clock(), 5
    request.info = RequestInfo(clock(), "192.0.2.7")
    await parts.sessions.log_in(request, "ada")
    assert await parts.sessions.destroy_where(ip="192.0.2.7", created_until=until) == 0
    assert await parts.sessions.destroy_where(ip="192.0.2.7") == 1


@pytest.mark.gen_test(timeout=30)
async def test_a_job_forgets_no_count_when_it_cannot_be_told(
    parts: Parts, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    await fill_store(parts, 20, "192.0.2.7")
    put, complete, failed = parts.documents.put, parts.documents.complete, set[str]()

    async def puts(kind: str, document: Document, **links: Any) -> bool:
        if document.revision == 2 and "put" not in failed:
            failed.add("put")
            raise StoreUnavailable("test", "out")
        return await put(kind, document, **links)

    async def completes(*given: Any) -> None:
        if "complete" not in failed:
            failed.add("complete")
            raise StoreUnavailable("test", "out")
        await complete(*given)

    monkeypatch.setattr(parts.documents, "put", puts)
    monkeypatch.setattr(parts.documents, "complete", completes)
    await parts.actions.end(ROOT, Matching(Where(ip="192.0.2.7", created_until=clock())), "leak")
    job = (await finished_jobs(parts))[0]
    assert failed == {"put", "complete"}
    assert (job.state, job.ended) == (JobState.DONE, 20)
    assert (await parts.audit.entries())[0].ended == 20


@pytest.mark.gen_test(timeout=30)
async def test_a_job_that_makes_no_sense_fails_and_one_that_cannot_be_read_hides_no_other(
    parts: Parts, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    assert await parts.documents.put("job", Document("old", 1, b'{"id": 1}'))
    entry = await parts.audit.note(ROOT, Action.END_MATCHING)
    await parts.jobs.start(ROOT, entry, Where(device="Netscape", created_until=clock()), spared=None, expected=1)
    job = (await finished_jobs(parts))[0]
    assert (job.state, "Netscape" in job.error) == (JobState.FAILED, True)
    assert "job old is damaged" in caplog.text


@pytest.mark.gen_test
async def test_waiting_for_a_job_of_another_process_is_no_busy_loop(
    parts: Parts, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    entry = await parts.audit.note(ROOT, Action.END_MATCHING)
    job = await parts.jobs.start(ROOT, entry, Where(ip="::9", created_until=clock()), spared=None, expected=1)
    await finished_jobs(parts)
    found = await parts.documents.get("job", job.id)
    assert found is not None
    running = msgspec.structs.replace(job, state=JobState.RUNNING, lease_until=clock() + 60)
    await parts.documents.put(
        "job", Document(job.id, found.revision + 1, msgspec.json.encode(running)), tags=["running"]
    )
    get, looks = parts.jobs.get, 0

    async def counted(job_id: str) -> Any:
        nonlocal looks
        looks += 1
        return await get(job_id)

    monkeypatch.setattr(parts.jobs, "get", counted)
    assert (await parts.jobs.wait(job, 0.5)).state is JobState.RUNNING
    assert looks <= 4


@pytest.mark.every_backend
@pytest.mark.gen_test
async def test_everybodys_end_is_told_with_their_number(parts: Parts, clock: Clock) -> None:
    await fill_store(parts, 3, "192.0.2.7")
    clock.ahead += 7200
    await fill_store(parts, 2, "192.0.2.8")
    await parts.actions.end(ROOT, Everybody(), "breach")
    await finished_jobs(parts)
    assert (await parts.audit.entries())[0].ended == 2, "those that had expired before were nobody's any more"


@pytest.mark.gen_test
async def test_each_of_the_selected_is_in_its_users_history(operator: Browser, parts: Parts) -> None:
    await make_operator(parts, operator)
    for name in ("ada", "bob"):
        await fill_store(parts, 30, "192.0.2.7", user=name)
    handles = [item.handle for item in (await parts.sessions.find(ip="192.0.2.7", limit=100)).items]
    shown = await operator.post("/admin/end", {"handle": handles})
    assert "End 60 sessions" in shown.body.decode()
    done = await operator.post("/admin/end", {"handle": handles, "confirm": "1", "reason": "leak", "expected": "60"})
    assert done.code == 303
    for name in ("ada", "bob"):
        entries = await parts.audit.entries(AuditQuery(who=name))
        assert [(entry.act, entry.ended) for entry in entries] == [("end session", 1)] * 30
    page = (await operator.get(f"/admin/sessions/{handles[0]}")).body.decode()
    assert "Ended a session" in page


@pytest.mark.gen_test
async def test_what_cannot_be_written_down_is_not_done(
    browser: Browser, parts: Parts, monkeypatch: pytest.MonkeyPatch
) -> None:
    await browser.register()
    await browser.log_in()
    token = await browser.token()

    async def fails(_number: int, _body: bytes, **_: object) -> bool:
        raise StoreUnavailable("test", "out")

    monkeypatch.setattr(parts.documents, "append", fails)

    async def post(path: str, **fields: str) -> int:
        body = "&".join(f"{name}={value.replace(' ', '+')}" for name, value in {"_xsrf": token, **fields}.items())
        return (await browser.send("POST", path, body, Content_Type="application/x-www-form-urlencoded")).code

    before = await parts.accounts.get("ada")
    new = "another horse and battery"
    assert await post("/account/password", old_password=PASSWORD, new_password=new) == 503
    assert await post("/account/email", email_password=PASSWORD, email="new@example.org") == 503
    assert await post("/account/remove", remove_password=PASSWORD) == 503
    assert await parts.accounts.get("ada") == before
    assert await post("/reg", username="bob", email="bob@example.org", password=PASSWORD) == 503
    assert await parts.accounts.get("bob") is None


@pytest.mark.gen_test
async def test_entries_are_forgotten_from_the_oldest_on(parts: Parts, clock: Clock) -> None:
    """Writers' clocks differ; a chain is only ever cut at its end."""
    start = clock()
    for at in (0, 100, 50, 200):
        clock.ahead += start + at - clock()
        await parts.audit.note(ROOT, Action.LOG_OUT)
    clock.ahead += start + 275 - clock()
    await parts.audit.forget(200)
    found = await parts.audit.verify()
    assert (found.entries, found.faults) == (3, [])


@pytest.mark.gen_test(timeout=30)
async def test_two_filters_find_what_is_far_back(parts: Parts) -> None:
    await parts.audit.note(ROOT, Action.PASSWORD_CHANGED, user="ada")
    for _ in range(450):
        await parts.audit.note(Actor("ada"), Action.LOG_IN, user="ada")
    assert len(await parts.audit.entries(AuditQuery(who="ada", act="password changed"))) == 1


@pytest.mark.gen_test
async def test_an_export_that_is_cut_off_does_not_look_whole(
    operator: Browser, parts: Parts, monkeypatch: pytest.MonkeyPatch
) -> None:
    await make_operator(parts, operator)
    real = parts.audit.all

    async def cut(query: AuditQuery) -> Any:
        async for page in real(query):
            yield page
            raise StoreUnavailable("test", "out")

    monkeypatch.setattr(parts.audit, "all", cut)
    with pytest.raises(HTTPStreamClosedError):
        await operator.get("/admin/audit.csv")


@pytest.mark.gen_test(timeout=30)
async def test_a_head_that_may_be_older_is_neither_known_nor_missing(
    operator: Browser, parts: Parts, monkeypatch: pytest.MonkeyPatch
) -> None:
    await make_operator(parts, operator)
    head = (await parts.audit.entries())[0].hash
    for _ in range(510):
        await parts.audit.note(ROOT, Action.LOG_OUT)
    monkeypatch.setattr(api_audit, "VERIFIED", 500)
    answer = json.loads((await operator.get(f"/admin/api/audit/verify?head={head}")).body)
    assert (answer["entries"], answer["knows_head"]) == (500, None)
    monkeypatch.setattr(api_audit, "VERIFIED", VERIFIED)
    answer = json.loads((await operator.get(f"/admin/api/audit/verify?head={head}")).body)
    assert answer["knows_head"] is True


@pytest.mark.gen_test
async def test_a_guess_at_the_password_once_more_is_written_down(operator: Browser, parts: Parts, clock: Clock) -> None:
    await make_operator(parts, operator)
    clock.ahead += 301
    await operator.post(
        "/admin/end", {"user": "root", "confirm": "1", "expected": "1", "reason": "x", "password": "guess"}
    )
    assert [entry.user for entry in await parts.audit.entries(AuditQuery(act="log-in failed"))] == ["root"]


@pytest.mark.gen_test
async def test_a_log_in_does_not_outlive_a_block_that_came_while_it_was_checked(
    browser: Browser, parts: Parts, app: Application
) -> None:
    await browser.register()
    await browser.log_in()
    await browser.post("/logout", {})

    async def blocks(*_: object) -> None:
        await parts.accounts.block("ada", parts.sessions.clock() + 3600)

    app.settings["site"].on_new_device = blocks
    browser.headers["User-Agent"] = "curl/8.5.0"
    assert (await browser.log_in()).headers["Location"] == "/login"
    assert (await browser.get("/account")).code == 302
    assert (await parts.sessions.count()).total == 0


@pytest.mark.gen_test
async def test_a_hook_that_fails_locks_nobody_out(browser: Browser, app: Application) -> None:
    await browser.register()

    async def fails(*_: object) -> None:
        raise ConnectionError("no letters today")

    await browser.log_in()
    await browser.post("/logout", {})
    app.settings["site"].on_new_device = fails
    browser.headers["User-Agent"] = "curl/8.5.0"
    assert (await browser.log_in()).headers["Location"] == "/account"
    assert (await browser.get("/account")).code == 200


@pytest.mark.gen_test
async def test_who_works_here_begins_with_the_overview(browser: Browser, parts: Parts) -> None:
    await parts.accounts.register("ada", "ada@example.org", PASSWORD, role=Role.VIEWER)
    assert (await browser.log_in()).headers["Location"] == "/admin/overview"


@pytest.mark.parametrize("tells", [True, False])
@pytest.mark.gen_test
async def test_people_see_the_reason_where_the_operator_allows_it(
    browser: Browser, operator: Browser, parts: Parts, *, tells: bool
) -> None:
    await browser.register()
    await browser.log_in()
    await make_operator(parts, operator)
    allowed = {"tell": "1"} if tells else {}
    act = {
        "user": "ada",
        "confirm": "1",
        "why": "Suspicious activity",
        "reason": "ticket 7",
        "expected": "1",
        **allowed,
    }
    done = await operator.post("/admin/end", act)
    assert (done.code, done.headers["Location"]) == (303, "/admin/user?name=ada")
    page = (await browser.get("/login", Accept_Language="zh-CN")).body.decode()
    assert "管理员结束了你的会话" in page
    assert ("可疑活动: ticket 7" in page) is tells
    assert (await parts.audit.entries())[0].reason == "Suspicious activity: ticket 7"


@pytest.mark.gen_test
async def test_an_act_leads_back_to_the_view_it_came_from(operator: Browser, parts: Parts) -> None:
    await make_operator(parts, operator)
    await fill_store(parts, 2, "192.0.2.7")
    page = (await operator.get("/admin/?ip=192.0.2.7&kind=visitors")).body.decode()
    view = page.split('name="from" value="')[1].split('"')[0].replace("&amp;", "&")
    act = {"where": '{"ip": "192.0.2.7"}', "from": view, "confirm": "1", "reason": "x", "expected": "2"}
    assert (await operator.post("/admin/end", act)).headers["Location"] == "/admin/?ip=192.0.2.7&kind=visitors"
    assert "2 sessions ended." in (await operator.get("/admin/")).body.decode()
    for foreign in ("//evil.example", "https://evil.example/?user=x", "?next=//evil.example"):
        nothing = await operator.post("/admin/end", {"from": foreign})
        assert nothing.headers["Location"] == "/admin/"


@pytest.mark.gen_test
async def test_the_operators_own_session_is_not_ended_by_surprise(operator: Browser, parts: Parts) -> None:
    await make_operator(parts, operator)
    await fill_store(parts, 2, "192.0.2.7")
    own = (await parts.sessions.find(user="root")).items[0].handle
    assert "You will be signed out" in (await operator.post("/admin/end", {"handle": own})).body.decode()
    page = (await operator.post("/admin/end", {"everybody": "1", "but_mine": "1"})).body.decode()
    assert "This ends 2 sessions." in page
    assert "This session" not in page
    page = (await operator.post("/admin/end", {"everybody": "1"})).body.decode()
    assert "This ends all 3 sessions, yours included." in page


@pytest.mark.gen_test
async def test_a_block_is_offered_for_accounts_only(browser: Browser, operator: Browser, parts: Parts) -> None:
    await browser.register()
    await browser.log_in()
    await make_operator(parts, operator)
    await fill_store(parts, 1, "192.0.2.7", user="guest")
    for asked, offered in (({"user": "guest"}, False), ({"user": "ada"}, True), ({"where": '{"user": "ada"}'}, True)):
        page = (await operator.post("/admin/end", asked)).body.decode()
        assert ('name="block"' in page) is offered, asked
    forged = {"user": "guest", "block": "3600", "confirm": "1", "reason": "x", "expected": "1"}
    assert (await operator.post("/admin/end", forged)).code == 303
    assert await parts.audit.entries(AuditQuery(act="block log-ins of")) == []


@pytest.mark.gen_test
async def test_users_are_found_however_their_name_is_written(browser: Browser, operator: Browser, parts: Parts) -> None:
    await browser.register()
    await make_operator(parts, operator)
    page = (await operator.get("/admin/?user=ADA")).body.decode()
    assert 'href="/admin/user?name=ada"' in page, "also without a session"
    await browser.log_in()
    assert "End 1 matching session" in (await operator.get("/admin/?user=ADA")).body.decode()


@pytest.mark.gen_test
async def test_a_language_is_chosen_without_losing_the_page(operator: Browser, parts: Parts) -> None:
    await make_operator(parts, operator)
    for referer, location in (
        (operator.base + "/admin/?user=ada", "/admin/?user=ada"),
        ("https://evil.example/x", "/home"),
        ("", "/home"),
    ):
        answer = await operator.get("/language/zh", Referer=referer)
        assert answer.headers["Location"] == location


@pytest.mark.gen_test
async def test_what_is_not_kept_any_more_says_so(operator: Browser, parts: Parts) -> None:
    await make_operator(parts, operator)
    for path in ("/admin/sessions/gone", "/admin/user?name=nobody"):
        answer = await operator.get(path)
        assert (answer.code, "kept for a limited time" in answer.body.decode()) == (404, True)


@pytest.mark.gen_test
async def test_the_overview_shows_an_hour_or_a_day(operator: Browser, parts: Parts, clock: Clock) -> None:
    await make_operator(parts, operator)
    for _ in range(30):
        parts.activity.count("failures")
    await parts.activity.flush()
    clock.ahead += 2 * 3600
    await operator.log_in("root")
    hour = (await operator.get("/admin/overview")).body.decode()
    day = (await operator.get("/admin/overview?span=day")).body.decode()
    assert "Peak in the last hour: 0" in hour
    assert "Peak in the last day: 2" in day, "thirty in a quarter of an hour"
    assert ("data-live" in hour, "data-live" in day) == (True, False)


@pytest.mark.gen_test
async def test_a_page_that_is_loaded_again_makes_no_second_token(operator: Browser, parts: Parts) -> None:
    await make_operator(parts, operator, Role.ADMIN)
    once = (await operator.get("/admin/operators")).body.decode().split('name="once" value="')[1].split('"')[0]
    form = {"name": "robot", "scope": "sessions:read", "days": "7", "once": once}
    assert [(await operator.post("/admin/operators/tokens", form)).code for _ in range(2)] == [200, 303]
    assert len(await parts.tokens.all()) == 1
