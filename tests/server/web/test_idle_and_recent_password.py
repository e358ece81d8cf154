"""Idle operators are signed out, and only a recent password counts as proof."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from support.amount import knows_no_store
from support.browser import Browser
from support.clock import Clock
from support.passwords import PASSWORD
from support.people import make_operator
from tornado.web import Application

from tornado_sessions.errors import DecodeError, SessionError, StoreUnavailable
from tornado_sessions.query import Where
from tornado_sessions.server.accounts.errors import AccountError, HasherBusy, Throttled
from tornado_sessions.server.operations.action_names import Action
from tornado_sessions.server.operations.audit import Actor
from tornado_sessions.server.parts import Parts
from tornado_sessions.server.roles import Role
from tornado_sessions.server.web.access import PASSWORD_FRESH_FOR
from tornado_sessions.server.web.base import PageHandler
from tornado_sessions.server.web.pages import jobs, sessions
from tornado_sessions.server.web.pages import live as streams

pytestmark = knows_no_store

MINUTE = 60.0


@pytest.fixture
def short_streams(monkeypatch: pytest.MonkeyPatch) -> None:
    """A stream of one event, so that a browser would ask for the next one."""
    monkeypatch.setattr(streams, "INTERVAL", 0.01)
    monkeypatch.setattr(streams, "STREAM_LIFETIME", 0.01)


async def running_job(parts: Parts) -> str:
    entry = await parts.audit.note(Actor("root", "::1"), Action.END_MATCHING)
    job = await parts.jobs.start(Actor("root", "::1"), entry, Where(ip="::9"), expected=1)
    return (await parts.jobs.wait(job, 5)).id


@pytest.mark.gen_test(timeout=60)
async def test_a_page_that_asks_by_itself_keeps_nobody_signed_in(
    operator: Browser, parts: Parts, clock: Clock, short_streams: None
) -> None:
    await make_operator(parts, operator)
    job_id = await running_job(parts)
    assert (await operator.get("/admin/overview")).code == 200
    # A value that such a request writes, and a rotation that falls due, move no times either.
    for minute in range(1, 15):
        clock.ahead += MINUTE
        assert (await operator.get("/admin/live")).code == 200, minute
        assert (await operator.get(f"/admin/jobs/{job_id}/live")).code == 200, minute
    for _ in range(6):
        clock.ahead += MINUTE
        await operator.get("/admin/live")
    assert (await operator.get("/admin/live")).code == 302
    assert (await operator.get("/admin/")).headers["Location"].startswith("/login")


@pytest.mark.gen_test(timeout=60)
async def test_a_value_that_such_a_request_writes_is_no_use(operator: Browser, parts: Parts, clock: Clock) -> None:
    await make_operator(parts, operator)
    job_id = await running_job(parts)
    clock.ahead += 14 * MINUTE
    page = await operator.get(f"/admin/jobs/{job_id}/live")
    assert (page.code, "You&#x27;re signed in." in page.body.decode()) == (200, True), (
        "it took the notice out of the session"
    )
    clock.ahead += 2 * MINUTE
    assert (await operator.get("/admin/")).code == 302


@pytest.mark.gen_test(timeout=60)
async def test_an_operator_who_acts_stays_and_no_longer_than_eight_hours(
    operator: Browser, parts: Parts, clock: Clock, short_streams: None
) -> None:
    await make_operator(parts, operator)
    for _ in range(34):
        clock.ahead += 7 * MINUTE
        assert (await operator.get("/admin/live")).code == 200
        clock.ahead += 7 * MINUTE
        assert (await operator.get("/admin/")).code == 200
    clock.ahead += 5 * MINUTE
    assert (await operator.get("/admin/")).code == 302


#: The templates that reload a part of themselves, and the handlers of those parts.
RELOADED: dict[str, type[PageHandler]] = {
    "jobs.html": jobs.JobsRefresh,
    "job.html": jobs.JobRefresh,
}


@pytest.mark.gen_test(timeout=60)
async def test_no_script_of_a_page_asks_what_counts_as_use(operator: Browser, parts: Parts, app: Application) -> None:
    """Whatever a page loads by itself, by script or by ``Refresh``, is one of these handlers."""
    await make_operator(parts, operator)
    page = (await operator.get("/admin/overview")).body.decode()
    asked = re.findall(r'data-live="([^"]+)"', page)
    assert asked == ["/admin/live?span=24h"]
    scripts = {path.name: path.read_text() for path in Path("static").glob("*.js")}
    asking = {
        name for name, text in scripts.items() if re.search(r"EventSource|fetch\(|XMLHttpRequest|sendBeacon", text)
    }
    # The strength of a password is asked for while somebody types it, which is use.
    assert asking == {"live.js", "list.js", "strength.js"}
    assert not streams.LivePage.touches
    assert not sessions.NewSessions.touches
    # What htmx asks for by itself has a trigger of time.
    loaded = {path.name for path in Path("templates").rglob("*.html") if 'hx-trigger="every' in path.read_text()}
    assert loaded == set(RELOADED)
    assert [handler.touches for handler in RELOADED.values()] == [False] * len(RELOADED)


# --- proof -----------------------------------------------------------------------------------------------------------

END = {"user": "eve", "confirm": "1", "reason": "x", "expected": "0"}


async def is_proved(operator: Browser) -> bool:
    """Whether the page asks for no password."""
    return 'name="password"' not in (await operator.post("/admin/end", {"user": "eve"})).body.decode()


@pytest.mark.gen_test(timeout=60)
async def test_a_rotation_or_another_sign_of_life_is_no_proof(
    operator: Browser, parts: Parts, clock: Clock, app: Application
) -> None:
    class Rotates(PageHandler):
        async def get(self) -> None:
            self.session["proved"] = True
            await self.rotate_session(at_once=True)

    app.add_handlers(".*", [(r"/rotate", Rotates, {"site": app.settings["site"]})])
    await make_operator(parts, operator)
    assert await is_proved(operator)
    clock.ahead += PASSWORD_FRESH_FOR - 1
    assert await is_proved(operator)
    assert (await operator.get("/rotate")).code == 200
    clock.ahead += 2
    assert (await operator.get("/admin/")).code == 200
    assert not await is_proved(operator)
    assert (await operator.post("/admin/end", {**END, "password": "wrong"})).code == 400
    assert not await is_proved(operator)
    assert (await operator.post("/admin/end", {**END, "password": PASSWORD})).code == 303
    assert await is_proved(operator)


@pytest.mark.gen_test(timeout=60)
async def test_a_change_of_the_password_is_a_proof_and_the_end_of_everybody_is_none(
    operator: Browser, parts: Parts, clock: Clock
) -> None:
    await make_operator(parts, operator)
    clock.ahead += PASSWORD_FRESH_FOR + 1
    new = "another horse and battery"
    assert (await operator.post("/account/password", {"old_password": "no", "new_password": new})).code == 400
    assert not await is_proved(operator)
    assert (await operator.post("/account/password", {"old_password": PASSWORD, "new_password": new})).code == 303
    assert await is_proved(operator)
    clock.ahead += PASSWORD_FRESH_FOR - 10
    fields = {"everybody": "1", "but_mine": "1", "confirm": "1", "reason": "x", "expected": "1"}
    assert (await operator.post("/admin/end", fields)).code == 303
    assert await is_proved(operator)
    clock.ahead += 11
    assert not await is_proved(operator), "the new session keeps the time of the proof"


@pytest.mark.gen_test(timeout=60)
async def test_a_clock_that_is_behind_makes_no_proof_last(operator: Browser, parts: Parts, clock: Clock) -> None:
    """Another host's clock may be ahead of this one's by a little."""
    await make_operator(parts, operator)
    clock.ahead -= 30
    assert await is_proved(operator)
    clock.ahead -= 100
    assert not await is_proved(operator)


# --- status and Retry-After ------------------------------------------------------------------------------------------


SLOW = StoreUnavailable("test", "out")
SLOW.retry_after = 17
ERRORS: list[tuple[SessionError, int, str | None]] = [
    (HasherBusy(), 503, "5"),
    (Throttled(41.2), 429, "42"),
    (SLOW, 503, "17"),
    (StoreUnavailable("test", "out"), 503, "5"),
    (DecodeError("h", "wrong key"), 500, None),
]


@pytest.mark.parametrize(("error", "status", "seconds"), ERRORS, ids=lambda value: type(value).__name__)
@pytest.mark.gen_test(timeout=60)
async def test_status_and_when_to_retry_come_from_the_error_everywhere(
    browser: Browser,
    operator: Browser,
    parts: Parts,
    clock: Clock,
    monkeypatch: pytest.MonkeyPatch,
    error: SessionError,
    status: int,
    seconds: str | None,
) -> None:
    await make_operator(parts, operator, Role.ADMIN)
    await browser.register("bob")
    await browser.log_in("bob")
    clock.ahead += PASSWORD_FRESH_FOR + 1
    visitor = Browser(browser.client, browser.base)

    async def fails(*_: object, **__: object) -> Any:
        raise error

    monkeypatch.setattr(parts.accounts, "log_in", fails)
    monkeypatch.setattr(parts.accounts, "verify", fails)
    monkeypatch.setattr(parts.accounts, "change_password", fails)
    monkeypatch.setattr(parts.sessions, "inspect", fails)
    role = {"user": "bob", "role": "viewer", "password": PASSWORD}
    answers = [
        await visitor.log_in("bob"),
        await browser.post("/account/password", {"old_password": PASSWORD, "new_password": "x"}),
        await operator.post("/admin/end", {**END, "password": PASSWORD}),
        await operator.post("/admin/operators/role", role),
        await operator.post("/admin/operators/tokens", {"name": "x", "scope": "sessions:read", "days": "1"}),
        await operator.get("/admin/sessions/abc"),
        await operator.get("/admin/api/sessions/abc"),
    ]
    assert [answer.code for answer in answers] == [status] * len(answers)
    assert [answer.headers.get("Retry-After") for answer in answers] == [seconds] * len(answers)
    problem = json.loads(answers[-1].body)
    assert (problem["status"], answers[-1].headers["Content-Type"]) == (status, "application/problem+json")
    if isinstance(error, AccountError):
        assert problem["detail"] == str(error)


@pytest.mark.parametrize(
    "error", [HasherBusy(), StoreUnavailable("test", "out")], ids=lambda error: type(error).__name__
)
@pytest.mark.gen_test
async def test_a_failure_of_the_server_blames_no_field_of_a_registration(
    browser: Browser, parts: Parts, monkeypatch: pytest.MonkeyPatch, error: SessionError
) -> None:
    async def fails(*_: object, **__: object) -> Any:
        raise error

    monkeypatch.setattr(parts.accounts, "register", fails)
    browser.headers["Accept-Language"] = "zh"
    answer = await browser.register("bob")
    page = answer.body.decode()
    assert (answer.code, answer.headers["Retry-After"]) == (503, "5")
    assert "注册失败，请稍后再试~" in page
    assert 'value="bob@example.org"' in page, "what was typed stays"
    assert "aria-invalid" not in page
