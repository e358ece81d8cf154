"""Jobs, the audit chain, roles, blocks, log-in in two steps and the API, over HTTP on every back end."""

from __future__ import annotations

import asyncio
import base64
import json
import re
from functools import reduce
from typing import Any

import jsonschema
import msgspec
import pyotp
import pytest
from openapi_spec_validator import OpenAPIV31SpecValidator
from support.browser import Browser
from support.clock import Clock
from support.jobs import finished_jobs
from support.passwords import PASSWORD
from support.people import fill_store, make_operator
from support.role_matrix import MATRIX
from support.waiting import until
from tornado.httpclient import HTTPRequest
from tornado.web import Application

from tornado_sessions.codec import Codec
from tornado_sessions.query import Where
from tornado_sessions.server.accounts.errors import WrongCode
from tornado_sessions.server.documents import Document, LogEntry, LogQuery
from tornado_sessions.server.operations.action_names import Action
from tornado_sessions.server.operations.audit import Actor
from tornado_sessions.server.operations.entries import AuditQuery, Entry, read_entry
from tornado_sessions.server.operations.jobs import LEASE, JobState
from tornado_sessions.server.operations.selections import Matching
from tornado_sessions.server.operations.tokens import ApiToken, Scope, scopes_of
from tornado_sessions.server.parts import Parts
from tornado_sessions.server.roles import Role
from tornado_sessions.server.web.api.openapi import OPERATIONS, document
from tornado_sessions.server.web.pages import live as streams
from tornado_sessions.server.web.sign_in import STAFF_IDLE

ROOT = Actor("root", "::1")


# --- jobs ------------------------------------------------------------------------------------------------------------


@pytest.mark.gen_test(timeout=60)
async def test_right_after_all_but_mine_the_list_is_the_operator_alone(operator: Browser, parts: Parts) -> None:
    """In any order and with any filter, though nothing of the others is removed yet."""
    await fill_store(parts, 300, "192.0.2.7")
    await make_operator(parts, operator)
    asked = (await operator.post("/admin/end", {"everybody": "1", "but_mine": "1"})).body.decode()
    assert "This ends 300 sessions." in asked
    fields = {"everybody": "1", "but_mine": "1", "confirm": "1", "reason": "x", "expected": "300", "number": "300"}
    assert (await operator.post("/admin/end", fields)).code == 303
    for query in ("", "?sort=user", "?sort=expires", "?sort=signed_in", "?user=root", "?kind=users", "?user=r*"):
        page = (await operator.get("/admin/" + query)).body.decode()
        assert page.count('href="/admin/sessions/') == 1, query
        assert "This session" in page, query
        assert re.search(r"<h1>Sessions <span[^>]*>1</span>", page), query


@pytest.mark.every_backend
@pytest.mark.gen_test(timeout=60)
async def test_a_job_that_was_left_behind_is_taken_up_and_log_ins_meanwhile_are_kept(
    parts: Parts, clock: Clock
) -> None:
    """As after a crash: the job is half done, its lease is over, nobody runs it."""
    await fill_store(parts, 30, "192.0.2.7")
    entry = await parts.audit.note(ROOT, Action.END_MATCHING, target="ip=192.0.2.7")
    where = Where(ip="192.0.2.7", created_until=clock())
    job = await parts.jobs.start(ROOT, entry, where, spared=None, expected=30)
    await parts.jobs.close()
    left = msgspec.structs.replace(job, ended=0, lease_until=clock() - 1, state=JobState.RUNNING)
    found = await parts.documents.get("job", job.id)
    assert found is not None
    assert await parts.documents.put(
        "job", Document(job.id, found.revision + 1, msgspec.json.encode(left)), tags=["running"]
    )
    clock.ahead += 5
    await fill_store(parts, 2, "192.0.2.7")
    await parts.jobs.open()
    jobs = await finished_jobs(parts)
    assert jobs[0].state is JobState.DONE
    assert (await parts.sessions.count(ip="192.0.2.7")).total == 2
    assert (await parts.audit.verify()).faults == []


@pytest.mark.gen_test(timeout=60)
async def test_a_job_that_another_process_runs_is_left_alone(parts: Parts, clock: Clock) -> None:
    await fill_store(parts, 3, "192.0.2.7")
    entry = await parts.audit.note(ROOT, Action.END_MATCHING)
    job = await parts.jobs.start(ROOT, entry, Where(ip="::9"), spared=None, expected=1)
    await finished_jobs(parts)
    alive = msgspec.structs.replace(
        job, where=Where(ip="192.0.2.7"), lease_until=clock() + LEASE, state=JobState.RUNNING
    )
    found = await parts.documents.get("job", job.id)
    assert found is not None
    assert await parts.documents.put(
        "job", Document(job.id, found.revision + 1, msgspec.json.encode(alive)), tags=["running"]
    )
    await parts.jobs.open()
    # What open() took up would be done before a job that is started after it.
    entry = await parts.audit.note(ROOT, Action.END_MATCHING)
    later = await parts.jobs.start(ROOT, entry, Where(ip="::8"), spared=None, expected=0)
    assert (await parts.jobs.wait(later, 10)).state is JobState.DONE
    assert (await parts.sessions.count(ip="192.0.2.7")).total == 3


@pytest.mark.gen_test(timeout=60)
async def test_a_job_is_cancelled_on_its_page_and_what_ended_stays_ended(
    operator: Browser, parts: Parts, clock: Clock
) -> None:
    await make_operator(parts, operator)
    await fill_store(parts, 3, "192.0.2.7")
    entry = await parts.audit.note(ROOT, Action.END_MATCHING)
    job = await parts.jobs.start(ROOT, entry, Where(ip="::9"), spared=None, expected=1)
    await finished_jobs(parts)
    running = msgspec.structs.replace(job, lease_until=clock() + 99, ended=7, expected=9)
    found = await parts.documents.get("job", job.id)
    assert found is not None
    assert await parts.documents.put(
        "job", Document(job.id, found.revision + 1, msgspec.json.encode(running)), tags=["running"]
    )
    page = await operator.get(f"/admin/jobs/{job.id}")
    assert b"9 sessions, 7 ended" in page.body
    assert page.headers["Refresh"] == f"2; url=/admin/jobs/{job.id}/live"
    assert (await operator.post(f"/admin/jobs/{job.id}/cancel", {})).code == 303
    page = await operator.get(f"/admin/jobs/{job.id}")
    assert b"Canceled" in page.body
    assert "Refresh" not in page.headers
    assert (await parts.audit.entries())[0].act == "cancel job"
    assert b"7 / 9" in (await operator.get("/admin/jobs")).body


@pytest.mark.every_backend
@pytest.mark.gen_test(timeout=60)
async def test_two_operators_end_the_same_sessions_at_once(parts: Parts) -> None:
    await fill_store(parts, 40, "192.0.2.7")
    where = Where(ip="192.0.2.7")
    outcomes = await asyncio.gather(
        *(parts.actions.end(Actor(name), Matching(where), "leak") for name in ("ann", "bob"))
    )
    jobs = await finished_jobs(parts)
    assert all(job.state is JobState.DONE for job in jobs)
    assert sum(job.ended for job in jobs) == 40
    assert all(outcome.job is not None for outcome in outcomes)
    assert (await parts.sessions.count()).total == 0


@pytest.mark.every_backend
@pytest.mark.gen_test(timeout=60)
async def test_everybody_but_the_operator_is_out_at_once(browser: Browser, operator: Browser, parts: Parts) -> None:
    await browser.register()
    await browser.log_in()
    await make_operator(parts, operator)
    before = (await parts.sessions.find(user="root")).items[0].handle
    fields = {"everybody": "1", "but_mine": "1", "confirm": "1", "reason": "breach", "expected": "2"}
    done = await operator.post("/admin/end", fields)
    assert done.headers["Location"].startswith("/admin/jobs/")
    assert (await browser.get("/account")).code == 302
    assert b"Everyone else has been signed out (1 session)." in (await operator.get(done.headers["Location"])).body
    after = (await parts.sessions.find()).items
    assert [item.user for item in after] == ["root"]
    assert after[0].handle != before
    assert after[0].expires_at - parts.sessions.clock() <= STAFF_IDLE, "the limits of who works here stay"
    await finished_jobs(parts)
    assert (await operator.get("/admin/")).code == 200


# --- the audit log ---------------------------------------------------------------------------------------------------


async def three(parts: Parts) -> list[Entry]:
    for number in range(3):
        await parts.audit.note(ROOT, Action.END_SESSION, user="ada", target=f"h{number}", ended=number)
    return await parts.audit.entries()


@pytest.mark.gen_test
async def test_the_chain_is_whole_and_its_head_is_known_later(parts: Parts) -> None:
    entries = await three(parts)
    head = entries[0].hash
    await parts.audit.note(ROOT, Action.LOG_OUT, user="root")
    found = await parts.audit.verify(head)
    assert (found.entries, found.faults, found.knows_head) == (4, [], True)
    assert not (await parts.audit.verify("0" * 64)).knows_head


@pytest.mark.every_backend
@pytest.mark.gen_test
async def test_writers_at_once_make_one_chain(parts: Parts) -> None:
    await asyncio.gather(*(parts.audit.note(ROOT, Action.END_SESSION, target=str(number)) for number in range(30)))
    found = await parts.audit.verify()
    assert (found.entries, found.faults) == (30, [])


class Tampered:
    """A store whose entries somebody has changed."""

    def __init__(self, store: Any, change: Any) -> None:
        self.store, self.change = store, change

    async def entries(self, query: LogQuery) -> list[LogEntry]:
        changed = self.change(list(map(read_entry, await self.store.entries(query))))
        return [LogEntry(entry.id, msgspec.json.encode(entry)) for entry in changed]


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        (lambda all_of: [msgspec.structs.replace(entry, reason="nothing") for entry in all_of], "was changed"),
        (lambda all_of: [entry for entry in all_of if entry.id != 2], "are missing"),
        (lambda all_of: [msgspec.structs.replace(entry, ended=99) for entry in all_of], "outcome of entry"),
        (
            lambda all_of: [msgspec.structs.replace(e, previous="0" * 64) if e.id == 2 else e for e in all_of],
            "does not follow",
        ),
    ],
    ids=["text", "removed", "outcome", "link"],
)
@pytest.mark.gen_test
async def test_what_was_changed_in_the_log_is_found(operator: Browser, parts: Parts, change: Any, fault: str) -> None:
    await three(parts)
    await make_operator(parts, operator)
    parts.audit._documents, real = Tampered(parts.documents, change), parts.documents  # type: ignore[assignment]
    told = (await parts.audit.verify()).faults
    page = (await operator.get("/admin/audit?verify=1", Accept_Language="zh-CN")).body.decode()
    answer = json.loads((await operator.get("/admin/api/audit/verify")).body)
    parts.audit._documents = real
    assert any(fault in str(text) for text in told), told
    assert "审计日志校验失败" in page
    assert answer["faults"] == list(map(str, told))
    assert "entries are intact" in (await operator.get("/admin/audit?verify=1")).body.decode()


@pytest.mark.gen_test
async def test_old_entries_are_forgotten_and_the_rest_is_whole(parts: Parts, clock: Clock) -> None:
    await three(parts)
    clock.ahead += 1000
    await parts.audit.note(ROOT, Action.LOG_OUT, user="root")
    assert await parts.audit.forget(500) == 3
    found = await parts.audit.verify()
    assert (found.entries, found.faults) == (1, [])
    assert await parts.audit.entries(AuditQuery(who="ada")) == []
    clock.ahead += 1000
    assert await parts.audit.forget(500) == 0, "the newest stays: the chain goes on from it"
    await parts.audit.note(ROOT, Action.LOG_OUT)
    assert (await parts.audit.verify()).entries == 2


@pytest.mark.gen_test
async def test_the_log_is_filtered_by_who_what_and_when(operator: Browser, parts: Parts, clock: Clock) -> None:
    await make_operator(parts, operator)
    await three(parts)
    clock.ahead += 2 * 86400
    await parts.audit.note(Actor("eve"), Action.LOG_OUT, user="eve")
    for query, expected in (
        (AuditQuery(who="ada"), 3),
        (AuditQuery(who="root", act="end session"), 3),
        (AuditQuery(act="log-out"), 1),
        (AuditQuery(since=clock() - 86400), 1),
        (AuditQuery(until=clock() - 86400, act="end session"), 3),
        (AuditQuery(who="eve", act="end session"), 0),
        (AuditQuery(act="end session", limit=2), 2),
    ):
        assert len(await parts.audit.entries(query)) == expected, query
    await operator.log_in("root")
    page = (await operator.get("/admin/audit?who=eve")).body
    assert page.count(b"<tr>") == 2
    assert (await operator.get("/admin/audit?days=x")).code == 400


@pytest.mark.gen_test
async def test_what_people_do_with_their_accounts_is_written_down(browser: Browser, parts: Parts) -> None:
    await browser.register()
    await browser.log_in(password="wrong")
    await browser.log_in("nobody", "a password typed as a name")
    await browser.log_in()
    new = {"email": "ada2@example.org", "email_password": PASSWORD}
    assert (await browser.post("/account/email", new)).code == 303
    page = (await browser.get("/account")).body.decode()
    assert "ada2@example.org" in page
    assert "Failed sign-in attempt" in page
    assert "Changed the email" in page
    await browser.post("/account/remove", {"remove_password": PASSWORD})
    acts = [entry.act for entry in await parts.audit.entries()]
    assert acts == ["account removed", "e-mail changed", "log-in", "log-in failed", "account made"]
    assert (await browser.log_in()).code == 401
    assert (await parts.sessions.count()).total == 0


# --- operators -------------------------------------------------------------------------------------------------------


@pytest.mark.gen_test
async def test_a_blocked_user_cannot_log_in_until_the_time_is_over(
    browser: Browser, operator: Browser, parts: Parts, clock: Clock
) -> None:
    await browser.register()
    await make_operator(parts, operator)
    assert (await operator.post("/admin/block", {"user": "ada", "seconds": "3600", "reason": "fraud"})).code == 303
    assert b"Sign-ins are blocked" in (await operator.get("/admin/user?name=ada")).body
    refused = await browser.log_in()
    assert refused.code == 403
    assert b"This account is blocked until" in refused.body
    assert (await browser.log_in(password="wrong")).code == 401
    clock.ahead += 3601
    assert (await browser.log_in()).code == 303
    entry = (await parts.audit.entries(AuditQuery(act="block log-ins of")))[0]
    assert (entry.actor, entry.user, entry.reason) == ("root", "ada", "fraud")


@pytest.mark.gen_test
async def test_an_admin_gives_roles_and_makes_tokens_and_an_operator_does_not(
    browser: Browser, operator: Browser, other: Browser, parts: Parts
) -> None:
    await browser.register()
    await make_operator(parts, operator, Role.ADMIN)
    await parts.accounts.register("oscar", "oscar@example.org", PASSWORD, role=Role.OPERATOR)
    await other.log_in("oscar")
    change = {"user": "ada", "role": "viewer"}
    assert (await other.post("/admin/operators/role", change)).code == 403
    assert (await operator.post("/admin/operators/role", change)).code == 303
    await browser.log_in()
    assert (await browser.get("/admin/")).code == 200
    own = await operator.post("/admin/operators/role", {"user": "root", "role": "user"})
    assert b"You can&#x27;t change your own role." in own.body
    made = await operator.post("/admin/operators/tokens", {"name": "robot", "scope": "sessions:read", "days": "7"})
    token = made.body.decode().split("<code>ts_")[1].split("<")[0]
    bearer = {"Authorization": f"Bearer ts_{token}"}
    assert (await Browser(browser.client, browser.base).send("GET", "/admin/api/sessions", **bearer)).code == 200
    assert (await Browser(browser.client, browser.base).send("GET", "/admin/api/audit", **bearer)).code == 403
    listed = (await parts.tokens.all())[0]
    assert isinstance(listed, ApiToken)
    assert (listed.created_by, listed.scopes, listed.used_from) == ("root", frozenset({Scope.READ}), "127.0.0.1")
    assert token.encode() not in (await operator.get("/admin/operators")).body
    assert (await operator.post("/admin/operators/tokens", {"revoke": listed.handle})).code == 303
    assert (await Browser(browser.client, browser.base).send("GET", "/admin/api/sessions", **bearer)).code == 401


@pytest.mark.gen_test
async def test_values_are_shown_to_an_admin_with_a_reason_only(
    browser: Browser, operator: Browser, parts: Parts, clock: Clock
) -> None:
    await browser.register()
    await browser.log_in()
    await make_operator(parts, operator, Role.ADMIN)
    handle = (await parts.sessions.find(user="ada")).items[0].handle
    await operator.get("/admin/")
    page = (await operator.get(f"/admin/sessions/{handle}")).body
    assert b"notice" in page
    assert b"You&#x27;re signed in." not in page
    path = f"/admin/sessions/{handle}/values"
    assert (await operator.post(path, {})).code == 303
    clock.ahead += 400
    assert (await operator.post(path, {"reason": "ticket 7", "password": "wrong"})).code == 303
    shown = await operator.post(path, {"reason": "ticket 7", "password": PASSWORD})
    assert b"You&#x27;re signed in." in shown.body
    history = (await operator.get(f"/admin/sessions/{handle}")).body
    assert b"Viewed session data" in history
    assert b"Sign-in" in history
    looks = await parts.audit.entries(AuditQuery(act="look into session"))
    assert [(entry.actor, entry.user, entry.target, entry.reason) for entry in looks] == [
        ("root", "ada", handle, "ticket 7")
    ]


@pytest.mark.gen_test
async def test_what_an_app_shares_is_sealed_and_recovery_codes_outlive_the_key(parts: Parts, clock: Clock) -> None:
    await parts.accounts.register("ada", "ada@example.org", PASSWORD)
    secret = pyotp.random_base32(32)
    recovery = await parts.accounts.enable_two_steps("ada", secret, pyotp.TOTP(secret).at(clock()))
    stored = await parts.accounts.get("ada")
    assert stored is not None
    assert secret.encode() not in base64.b64decode(stored.totp_secret or "")
    clock.ahead += 30
    sealed_with, parts.accounts._codec = parts.accounts._codec, Codec(["another secret, which did not seal it"])
    with pytest.raises(WrongCode):
        await parts.accounts.second_step("ada", pyotp.TOTP(secret).at(clock()), "::1")
    assert (await parts.accounts.second_step("ada", recovery[0], "::1")).name == "ada"
    parts.accounts._codec = sealed_with
    assert (await parts.accounts.second_step("ada", pyotp.TOTP(secret).at(clock()), "::1")).name == "ada"


@pytest.mark.gen_test
async def test_a_code_is_asked_for_and_taken_once(browser: Browser, other: Browser, parts: Parts, clock: Clock) -> None:
    await browser.register()
    await browser.log_in()
    secret = pyotp.random_base32(32)
    app_of = pyotp.TOTP(secret)
    good = {"secret": secret, "code": app_of.at(clock()), "password": PASSWORD}
    for wrong in ({"code": "000000"}, {"password": "wrong"}):
        assert (await browser.post("/account/two-steps", {**good, **wrong})).code == 400
    assert (await browser.post("/account/two-steps", {**good, "secret": "x"})).code == 303
    switched = await browser.post("/account/two-steps", good)
    recovery = switched.body.decode().split("<code>")[1].split("<")[0]

    async def second(code: str, **more: str) -> int:
        page = (await other.log_in()).body.decode()
        fields = {name: page.split(f'name="{name}" value="')[1].split('"')[0] for name in ("name", "ticket")}
        return (await other.post("/login/code", {**fields, "code": code, **more})).code

    assert b"Enter your code" in (await other.log_in()).body
    assert (await other.get("/account")).code == 302
    assert await second("123") == 401
    assert await second(app_of.at(clock())) == 401, "it was taken when it was switched on"
    clock.ahead += 30
    code = app_of.at(clock())
    assert await second(code) == 303
    await other.post("/logout", {})
    assert await second(code) == 401
    assert await second(recovery.lower()) == 303
    await other.post("/logout", {})
    assert await second(recovery) == 401
    assert await second(app_of.at(clock() + 30), ticket="1.x") == 303
    assert (await other.get("/account")).code == 302
    assert (await browser.post("/account/two-steps", {"off": "1", "off_password": PASSWORD})).code == 303
    assert (await other.log_in()).code == 303
    told = {entry.act for entry in await parts.audit.entries()}
    assert {"two steps on", "two steps off", "log-in failed"} <= told


@pytest.mark.gen_test
async def test_a_log_in_from_a_new_device_is_told(
    browser: Browser, other: Browser, parts: Parts, app: Application
) -> None:
    told: list[tuple[str, str]] = []

    async def tell(user: Any, ip: str, device: str) -> None:
        told.append((user.name, device))

    app.settings["site"].on_new_device = tell
    await browser.register()
    await browser.log_in()
    await browser.post("/logout", {})
    await browser.log_in()
    other.headers["User-Agent"] = "curl/8.5.0"
    await other.log_in()
    assert told == [("ada", "curl")]


# --- lists, streams, API ---------------------------------------------------------------------------------------------


@pytest.mark.gen_test
async def test_a_place_is_shown_beside_an_address(operator: Browser, parts: Parts, app: Application) -> None:
    app.settings["site"].place = lambda ip: f"<Lund> of {ip}"
    await make_operator(parts, operator)
    for path in ("/admin/", "/admin/user?name=root", "/account"):
        assert b"&lt;Lund&gt; of 127.0.0.1" in (await operator.get(path)).body, path


@pytest.mark.gen_test
async def test_the_whole_view_is_in_the_address(browser: Browser, operator: Browser, parts: Parts) -> None:
    await browser.register()
    await browser.log_in()
    await fill_store(parts, 2, "192.0.2.7")
    await make_operator(parts, operator)
    for query, shown in (
        ("user=ad*", {"ada"}),
        ("role=operator", {"root"}),
        ("kind=users&device=Firefox", {"ada", "root"}),
        ("ip=192.0.2.0/24", {None}),
        ("ip=127.0.0.0/8&signed_in_within=3600", {"ada", "root"}),
        ("idle_for=3600", set()),
        ("sort=user&limit=1", {"ada"}),
    ):
        answer = json.loads((await operator.get(f"/admin/api/sessions?{query}")).body)
        assert {item["user"] for item in answer["items"]} == shown, query
        assert (await operator.get(f"/admin/?{query}")).code == 200
    for query in ("ip=1/2/3", "device=Lynx", "kind=x", "role=god", "sort=x", "idle_for=x", "cursor=x", "limit=0"):
        refused = await operator.get(f"/admin/?{query}")
        assert refused.code == 400, query
        assert b'role="alert"' in refused.body
        assert (await operator.get(f"/admin/api/sessions?{query}")).code == 400, query


@pytest.mark.gen_test(timeout=30)
async def test_the_stream_tells_numbers_and_closes_with_the_session(operator: Browser, parts: Parts) -> None:
    await make_operator(parts, operator)
    chunks: list[bytes] = []
    cookie = "; ".join(f"{name}={value}" for name, value in operator.cookies.items())
    request = HTTPRequest(
        operator.base + "/admin/live", headers={"Cookie": cookie}, streaming_callback=chunks.append, request_timeout=20
    )
    stream = asyncio.ensure_future(operator.client.fetch(request, raise_error=False))
    await until(lambda: chunks, "the first event")
    told = json.loads(chunks[0].decode().removeprefix("data: "))
    assert told["numbers"]["active"] == "1"
    assert told["charts"]["sign-ins"][0].startswith("<svg")
    await parts.sessions.destroy_user("root")
    await asyncio.wait_for(asyncio.wait([stream]), 3)
    assert stream.done()


@pytest.mark.gen_test(timeout=30)
async def test_who_leaves_a_stream_leaves_no_error(
    operator: Browser, parts: Parts, app: Application, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(streams, "INTERVAL", 0.02)
    await make_operator(parts, operator)
    cookie = "; ".join(f"{name}={value}" for name, value in operator.cookies.items())
    host, port = operator.base.removeprefix("http://").split(":")
    for _ in range(5):
        reader, writer = await asyncio.open_connection(host, int(port))
        writer.write(f"GET /admin/live HTTP/1.1\r\nHost: {host}:{port}\r\nCookie: {cookie}\r\n\r\n".encode())
        assert b"200" in await reader.readline()
        await reader.readuntil(b"data: ")
        writer.transport.abort()
    await until(lambda: not app.settings["site"].streams, "the end of all streams")
    assert [record for record in caplog.records if record.levelname in ("ERROR", "CRITICAL")] == []
    app.settings["site"].streams.update(range(streams.MAX_STREAMS))
    full = await operator.get("/admin/live")
    assert (full.code, full.headers["Retry-After"]) == (503, "60")


@pytest.mark.every_backend
@pytest.mark.gen_test
async def test_counts_of_all_processes_are_added_up(parts: Parts, clock: Clock) -> None:
    minute = int(clock() // 60)
    await parts.documents.add({(minute, "failures"): 2, (minute - 3, "ended"): 5}, minute - 1440)
    await parts.documents.add({(minute, "failures"): 1}, minute - 1440)
    parts.activity.count("failures")
    series = (await parts.activity.snapshot()).series
    assert series["failures"][-1] == 4
    assert series["ended"][-4] == 5
    assert len(series["ended"]) == 60


def test_the_api_is_described_and_every_route_is_told() -> None:
    told = document()
    OpenAPIV31SpecValidator(told).validate()
    routes = {pattern for pattern in MATRIX if pattern.startswith("/admin/api/") and "openapi" not in pattern}
    shapes = {
        pattern.replace("([A-Za-z0-9]{1,64})", "{handle}").replace("([^/]{1,200})", "{name}") for pattern in routes
    }
    assert set(told["paths"]) == shapes
    assert len({(item.method, item.path) for item in OPERATIONS}) == len(OPERATIONS)


@pytest.mark.gen_test(timeout=30)
async def test_the_api_answers_as_it_is_described(browser: Browser, operator: Browser, parts: Parts) -> None:
    """Each answer is valid by its schema, and every act is in the audit log."""
    await browser.register()
    await browser.log_in()
    await make_operator(parts, operator, Role.ADMIN)
    handle = (await parts.sessions.find(user="ada")).items[0].handle
    await parts.tokens.create("old", scopes_of(Role.VIEWER))
    token = (await parts.tokens.all())[0].handle
    bodies: dict[tuple[str, str], Any] = {
        ("post", "/sessions/{handle}/values"): {"reason": "ticket"},
        ("post", "/sessions/destroy"): {"where": {"user": "nobody"}, "reason": "x", "expected": 0},
        ("post", "/users/{name}/block"): {"seconds": 0},
        ("put", "/users/{name}/role"): {"role": "viewer"},
        ("post", "/tokens"): {"name": "new", "scopes": ["audit:read"], "days": 3},
        ("post", "/sessions/destroy-all"): {"reason": "drill"},
    }
    told = json.loads((await operator.get("/admin/api/openapi.json")).body)
    form = await operator.token()
    last = ("/sessions/destroy-all",)
    for item in sorted(OPERATIONS, key=lambda item: (item.path.endswith(last), item.method == "delete")):
        job = (await parts.jobs.all())[0].id if "/jobs/" in item.path else ""
        name = job or (token if "/tokens" in item.path else handle)
        path = item.path.replace("{handle}", name).replace("{name}", "ada")
        body = bodies.get((item.method, item.path.removeprefix("/admin/api")))
        before = (await parts.audit.entries(AuditQuery(limit=1)))[0].id
        response = await operator.send(
            item.method.upper(), path, json.dumps(body) if body is not None else None, X_XSRFToken=form
        )
        assert response.code in item.endpoint.statuses, (item, response.body)
        if item.endpoint.gives is not None:
            described = told["paths"][item.path][item.method]["responses"][str(response.code)]
            schema = {**described["content"]["application/json"]["schema"], "components": told["components"]}
            jsonschema.validate(json.loads(response.body), schema)
        if item.method != "get":
            assert (await parts.audit.entries(AuditQuery(limit=1)))[0].id > before, item


@pytest.mark.gen_test
async def test_the_api_asks_again_when_more_match_than_were_seen(operator: Browser, parts: Parts) -> None:
    token = await parts.tokens.create("robot", scopes_of(Role.OPERATOR))
    await fill_store(parts, 5, "192.0.2.7")
    asked = {"where": {"ip": "192.0.2.0/24"}, "reason": "leak", "expected": 4}
    bearer = {"Authorization": f"Bearer {token}"}
    refused = await operator.send("POST", "/admin/api/sessions/destroy", json.dumps(asked), **bearer)
    assert refused.code == 409
    assert "1 more session matches" in json.loads(refused.body)["detail"]
    done = await operator.send("POST", "/admin/api/sessions/destroy", json.dumps({**asked, "expected": 5}), **bearer)
    assert json.loads(done.body) == {"destroyed": 5}


FORMS = {
    "/admin/end": {"handle": "HANDLE", "confirm": "1"},
    "/admin/block": {"user": "ada", "seconds": "3600"},
    "/admin/sessions/HANDLE/values": {"reason": "ticket"},
    "/admin/jobs/none/cancel": {},
    "/admin/operators/role": {"user": "ada", "role": "viewer"},
    "/admin/operators/tokens": {"name": "x", "scope": "sessions:read", "days": "1"},
    "/admin/audit.csv": {},
}


@pytest.mark.gen_test(timeout=30)
async def test_every_form_that_changes_something_leaves_an_entry(
    browser: Browser, operator: Browser, parts: Parts
) -> None:
    """A new route that takes POST has to be listed here, and what it does has to be in the audit log."""
    posting = {p for p, codes in MATRIX.items() if "/api/" not in p and codes["POST"][-1] != 405}
    shapes = {"HANDLE": "([A-Za-z0-9]{1,64})", "none": "([A-Za-z0-9]{1,64})", ".csv": r"\.(jsonl|csv)"}
    assert posting == {reduce(lambda path, name: path.replace(name, shapes[name]), shapes, path) for path in FORMS}
    await browser.register()
    await browser.log_in()
    await make_operator(parts, operator, Role.ADMIN)
    handle = (await parts.sessions.find(user="ada")).items[0].handle
    for path, fields in reversed(FORMS.items()):
        before = (await parts.audit.entries(AuditQuery(limit=1)))[0].id
        sent = {name: value.replace("HANDLE", handle) for name, value in fields.items()}
        await operator.post(path.replace("HANDLE", handle), sent)
        assert (await parts.audit.entries(AuditQuery(limit=1)))[0].id > before, path
