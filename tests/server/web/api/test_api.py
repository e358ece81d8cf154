"""The API: lists, ends, tokens, problem details."""

from __future__ import annotations

import json

import pytest
from support.browser import Browser
from support.clock import Clock
from support.people import fill_store, make_operator

from tornado_sessions.server.operations.tokens import ApiToken, scopes_of
from tornado_sessions.server.parts import Parts
from tornado_sessions.server.roles import Role
from tornado_sessions.stores import paging


@pytest.mark.gen_test
async def test_the_api_lists_and_ends_sessions(browser: Browser, operator: Browser, parts: Parts) -> None:
    await browser.register()
    await browser.log_in()
    await make_operator(parts, operator)
    answer = json.loads((await operator.get("/admin/api/sessions?user=ada")).body)
    assert answer["total"] == 1
    item = answer["items"][0]
    assert item["user"] == "ada"
    assert item["current"] is False
    assert {"handle", "ip", "user_agent", "created_at", "last_seen_at", "expires_at"} <= set(item)
    path, token = f"/admin/api/sessions/{item['handle']}", await operator.token()
    assert (await operator.send("DELETE", path)).code == 403
    assert (await operator.send("DELETE", path, X_XSRFToken=token)).code == 204
    assert (await operator.send("DELETE", path, X_XSRFToken=token)).code == 204
    assert (await browser.get("/account")).code == 302


@pytest.mark.gen_test
async def test_the_api_ends_all_of_a_user_by_a_bearer(browser: Browser, operator: Browser, parts: Parts) -> None:
    await browser.register()
    await browser.log_in()
    token = await parts.tokens.create("script", scopes_of(Role.OPERATOR))
    bearer = f"Bearer {token}"
    body = json.dumps({"user": "ada", "reason": "leaver"})
    response = await operator.send("POST", "/admin/api/sessions/destroy", body, Authorization=bearer)
    assert json.loads(response.body) == {"destroyed": 1}
    assert (await browser.get("/account")).code == 302
    entry = (await parts.audit.entries())[0]
    assert (entry.actor, entry.target, entry.reason, entry.ended) == ("token script", "ada", "leaver", 1)


BAD = [b"", b"[]", b"{", b'{"user": 1}', b'{"user": "a", "handles": []}', b'{"other": 1}', b"{}", b"\xff"]


@pytest.mark.parametrize("body", BAD)
@pytest.mark.gen_test
async def test_bad_json_is_a_problem_and_ends_nothing(operator: Browser, parts: Parts, body: bytes) -> None:
    token = await parts.tokens.create("script", scopes_of(Role.OPERATOR))
    response = await operator.send(
        "POST", "/admin/api/sessions/destroy", body.decode("latin1"), Authorization=f"Bearer {token}"
    )
    assert response.code == 400
    assert response.headers["Content-Type"] == "application/problem+json"
    assert json.loads(response.body)["status"] == 400


@pytest.mark.gen_test
async def test_a_viewers_bearer_may_not_end_and_a_made_up_one_is_nobody(operator: Browser, parts: Parts) -> None:
    viewer = await parts.tokens.create("looker", scopes_of(Role.VIEWER))
    body = json.dumps({"user": "ada"})
    for token, code in (
        (viewer, 403),
        (viewer[:-1] + ("y" if viewer[-1] == "x" else "x"), 401),
        ("ts_x", 401),
        ("", 401),
    ):
        response = await operator.send("POST", "/admin/api/sessions/destroy", body, Authorization=f"Bearer {token}")
        assert response.code == code
        assert response.headers["Content-Type"] == "application/problem+json"


@pytest.mark.parametrize("query", ["cursor=nonsense", "limit=0", "limit=x", "limit=9999", "cursor=%ff"])
@pytest.mark.gen_test
async def test_a_bad_query_is_a_problem(operator: Browser, parts: Parts, query: str) -> None:
    token = await parts.tokens.create("looker", scopes_of(Role.VIEWER))
    response = await operator.get(f"/admin/api/sessions?{query}", Authorization=f"Bearer {token}")
    assert response.code == 400
    assert response.headers["Content-Type"] == "application/problem+json"


@pytest.mark.gen_test
async def test_the_api_ends_what_a_filter_matches_and_everybody(operator: Browser, parts: Parts) -> None:
    token = await parts.tokens.create("robot", scopes_of(Role.OPERATOR))
    await fill_store(parts, 3, "192.0.2.7")
    await fill_store(parts, 2, "192.0.2.8")
    bearer = {"Authorization": f"Bearer {token}"}
    for path, asked, code, told in (
        ("destroy", {"where": {"ip": "192.0.2.7"}}, 400, None),
        ("destroy", {"where": {}, "reason": "leak"}, 400, None),
        ("destroy", {"where": {"ip": "192.0.2.7"}, "reason": "leak"}, 200, {"destroyed": 3}),
        ("destroy-all", {}, 400, None),
        ("destroy-all", {"reason": "breach"}, 200, {"destroyed": 2}),
    ):
        response = await operator.send("POST", f"/admin/api/sessions/{path}", json.dumps(asked), **bearer)
        assert (response.code, told or json.loads(response.body)["status"]) == (code, told or code), asked
        assert told is None or json.loads(response.body) == told
    assert (await parts.sessions.count()).total == 0


@pytest.mark.gen_test
async def test_a_token_ends_when_its_time_is_over_or_when_it_is_revoked(
    browser: Browser, parts: Parts, clock: Clock
) -> None:
    short = await parts.tokens.create("short", scopes_of(Role.VIEWER), lifetime=60)
    long = await parts.tokens.create("long", scopes_of(Role.VIEWER))
    listed = await parts.tokens.all()
    assert [token.name for token in listed if isinstance(token, ApiToken)] == ["short", "long"]

    async def works(token: str) -> bool:
        return (await browser.get("/admin/api/sessions", Authorization=f"Bearer {token}")).code == 200

    assert [await works(short), await works(long)] == [True, True]
    clock.ahead += 61
    assert [await works(short), await works(long)] == [False, True]
    assert [await parts.tokens.revoke(listed[1].handle) for _ in range(2)] == [True, False]
    assert not await works(long)


@pytest.mark.gen_test(timeout=30)
async def test_a_number_below_the_true_one_is_409_with_the_job_that_waits_for_the_true_one(
    operator: Browser, parts: Parts, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(paging, "MAX_EXAMINED_BY_COUNT", 10)
    await fill_store(parts, 40, "192.0.2.7", agent="Firefox/140.0")
    bearer = f"Bearer {await parts.tokens.create('script', scopes_of(Role.OPERATOR))}"

    async def post(path: str, **fields: object) -> tuple[int, dict[str, object]]:
        response = await operator.send("POST", f"/admin/api/{path}", json.dumps(fields), Authorization=bearer)
        return response.code, json.loads(response.body)

    ends = {"where": {"device": "Firefox"}, "reason": "leak"}
    for few in (0, 5):
        code, problem = await post("sessions/destroy", **ends, expected=few)
        assert (code, "job" in problem) == (409, False), "more than a tenth more match at once"
    code, problem = await post("sessions/destroy", **ends, expected=20)
    assert (code, problem["expected"], problem["destroyed"]) == (409, 40, 0)
    job = f"jobs/{problem['job']}"
    shown = json.loads((await operator.get(f"/admin/api/{job}", Authorization=bearer)).body)
    assert (shown["state"], shown["expected"], shown["confirmed"], shown["ended"]) == ("paused", 40, 20, 0)
    assert (await post(f"{job}/resume", expected=20))[0] == 409
    assert (await post(f"{job}/resume"))[0] == 400
    assert (await parts.sessions.count()).total == 40
    code, item = await post(f"{job}/resume", expected=40)
    assert (code, item["state"], item["ended"], item["progress"]) == (200, "done", 40, 1.0)
    assert (await post("jobs/unknown/resume", expected=1))[0] == 404
