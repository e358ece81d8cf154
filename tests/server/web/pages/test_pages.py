"""Accounts, dashboard and API over HTTP, on the real application and every back end."""

from __future__ import annotations

import csv
import io
import json
import re
import time
from urllib.parse import urlencode

import pytest
from support.browser import Browser
from support.clock import Clock
from support.passwords import PASSWORD
from support.people import fill_store, make_operator
from support.role_matrix import MATRIX
from tornado.web import Application

from tornado_sessions.server.operations.action_names import Action
from tornado_sessions.server.operations.audit import Actor
from tornado_sessions.server.operations.tokens import ApiToken, scopes_of
from tornado_sessions.server.parts import Parts
from tornado_sessions.server.roles import Role


@pytest.mark.gen_test
async def test_people_register_log_in_and_log_out(browser: Browser) -> None:
    assert "Account created" in (await browser.register()).body.decode()
    response = await browser.log_in()
    assert (response.code, response.headers["Location"]) == (303, "/account")
    assert "Hello ada" in (await browser.get("/account")).body.decode()
    assert "Hello ada" in (await browser.get("/home")).body.decode()
    assert "You&#x27;ve signed out" in (await browser.post("/logout", {})).body.decode()
    assert (await browser.get("/account")).headers["Location"] == "/login?next=%2Faccount"


@pytest.mark.gen_test
async def test_pages_speak_chinese_to_who_asks_for_it(browser: Browser) -> None:
    browser.headers["Accept-Language"] = "zh-CN,zh;q=0.9"
    assert "注册成功" in (await browser.register()).body.decode()
    assert "登录失败" in (await browser.log_in(password="wrong")).body.decode()
    await browser.log_in()
    page = (await browser.get("/account")).body.decode()
    assert "你好 ada" in page
    assert "登录成功" in page
    assert "成功退出" in (await browser.post("/logout", {})).body.decode()


@pytest.mark.gen_test
async def test_a_wrong_password_and_an_unknown_name_get_the_same_answer(browser: Browser) -> None:
    await browser.register()
    wrong, unknown = await browser.log_in(password="wrong"), await browser.log_in("nobody", "wrong")
    assert wrong.code == unknown.code == 401
    first, second = (re.sub(rb"2\|[0-9a-f|]+", b"TOKEN", response.body) for response in (wrong, unknown))
    assert first.replace(b"ada", b"nobody") == second


@pytest.mark.parametrize(
    ("fields", "fault"),
    [
        ({"username": "ADA"}, "That username is taken."),
        ({"email": "Ada@Example.ORG"}, "An account with this email already exists."),
        ({"username": "a b"}, "Use 2 to 64 letters"),
        ({"email": "nonsense"}, "Enter a valid email address, like name@example.com."),
        ({"password": "short"}, "Use at least 8 characters."),
        ({"password": "password1"}, "very common password"),
    ],
)
@pytest.mark.gen_test
async def test_a_refused_registration_says_what_is_wrong(browser: Browser, fields: dict[str, str], fault: str) -> None:
    await browser.register()
    good = {"username": "eve", "email": "eve@example.org", "password": PASSWORD}
    response = await browser.post("/reg", {**good, **fields})
    assert response.code == 400
    assert fault in response.body.decode()


@pytest.mark.gen_test
async def test_failures_are_throttled_and_success_is_not(browser: Browser) -> None:
    await browser.register()
    for _ in range(12):
        assert (await browser.log_in()).code == 303
        await browser.post("/logout", {})
    codes = [(await browser.log_in(password="wrong")).code for _ in range(11)]
    assert codes == [401] * 10 + [429]
    assert int((await browser.log_in()).headers["Retry-After"]) > 0


@pytest.mark.parametrize(
    "following", ["//evil.example", "https://evil.example", "/\\evil.example", "javascript:x", "/a\tb"]
)
@pytest.mark.gen_test
async def test_a_login_goes_on_to_our_own_pages_only(browser: Browser, following: str) -> None:
    await browser.register()
    assert (await browser.log_in(next=following)).headers["Location"] == "/account"


@pytest.mark.gen_test
async def test_a_form_without_its_token_is_refused_kindly(browser: Browser) -> None:
    await browser.register()
    await browser.log_in()
    body = urlencode({"old_password": PASSWORD, "new_password": PASSWORD})
    for path in ("/account/password", "/account/password?_xsrf=" + await browser.token()):
        response = await browser.send("POST", path, body, Content_Type="application/x-www-form-urlencoded")
        assert response.code == 403
        assert "This page expired" in response.body.decode()


@pytest.mark.gen_test
async def test_a_post_from_another_site_is_refused(browser: Browser) -> None:
    await browser.register()
    body = urlencode({"_xsrf": await browser.token(), "username": "ada", "password": PASSWORD})
    kind = "application/x-www-form-urlencoded"
    response = await browser.send("POST", "/login", body, Content_Type=kind, Sec_Fetch_Site="cross-site")
    assert response.code == 403


@pytest.mark.gen_test
async def test_one_of_my_other_devices_is_ended(browser: Browser, other: Browser, parts: Parts) -> None:
    await browser.register()
    await browser.log_in()
    await other.log_in()
    page = (await browser.get("/account")).body.decode()
    assert "Firefox on Linux" in page
    handle = re.findall(r'name="handle" value="(\w+)"', page)
    assert len(handle) == 1
    await browser.post("/account/end", {"handle": handle[0]})
    assert (await other.get("/account")).code == 302
    assert "You were signed out from another device" in (await other.get("/login")).body.decode()
    assert (await browser.get("/account")).code == 200


@pytest.mark.gen_test
async def test_a_changed_password_ends_the_other_sessions(browser: Browser, other: Browser) -> None:
    await browser.register()
    await browser.log_in()
    await other.log_in()
    new = "an entirely different phrase"
    response = await browser.post("/account/password", {"old_password": PASSWORD, "new_password": new})
    assert response.code == 303
    assert (await browser.get("/account")).code == 200
    assert (await other.get("/account")).code == 302
    assert (await other.log_in()).code == 401
    assert (await other.log_in(password=new)).code == 303


@pytest.mark.gen_test
async def test_visitors_and_failed_logins_store_nothing(browser: Browser, parts: Parts) -> None:
    for path in ("/", "/home", "/login", "/reg", "/account", "/nowhere"):
        await browser.get(path)
    await browser.log_in(password="wrong")
    await browser.post("/logout", {})
    assert (await parts.sessions.count()).total == 0


@pytest.mark.gen_test
async def test_a_setup_link_makes_one_operator_and_no_second(browser: Browser, parts: Parts) -> None:
    link = "/setup/" + parts.setup.make()
    fields = {"username": "root", "email": "root@example.org", "password": PASSWORD}
    assert (await browser.get(link)).code == 200
    assert "Account created" in (await browser.post(link, fields)).body.decode()
    assert (await browser.get(link)).code == 404
    await browser.log_in("root")
    assert (await browser.get("/admin/")).code == 200


@pytest.mark.gen_test
async def test_a_logout_link_on_another_site_asks_first(browser: Browser) -> None:
    await browser.register()
    await browser.log_in()
    assert "Another site asked" in (await browser.get("/logout", Sec_Fetch_Site="cross-site")).body.decode()
    assert (await browser.get("/account")).code == 200
    await browser.get("/logout", Sec_Fetch_Site="same-origin")
    assert (await browser.get("/account")).code == 302


PRIVATE = ["/admin/", "/admin/audit", "/admin/sessions/x", "/admin/api/sessions"]


@pytest.mark.parametrize("path", PRIVATE)
@pytest.mark.gen_test
async def test_the_dashboard_is_for_operators_only(browser: Browser, path: str) -> None:
    assert (await browser.get(path)).code in (302, 401)
    await browser.register()
    await browser.log_in()
    assert (await browser.get(path)).code == 403


@pytest.mark.gen_test
async def test_an_operator_ends_a_session_and_it_is_in_the_audit_log(
    browser: Browser, operator: Browser, parts: Parts
) -> None:
    await browser.register()
    await browser.log_in()
    await make_operator(parts, operator)
    page = (await operator.get("/admin/?user=ada")).body.decode()
    handle = re.findall(r"/admin/sessions/(\w+)", page)[0]
    detail = (await operator.get(f"/admin/sessions/{handle}")).body.decode()
    assert "notice" in detail
    assert "You&#x27;re signed in." not in detail
    asked = await operator.post("/admin/end", {"handle": handle})
    assert "End 1 session?" in asked.body.decode()
    assert (await browser.get("/account")).code == 200
    act = {"handle": handle, "confirm": "1", "reason": "stolen <laptop>", "tell": "1"}
    done = await operator.post("/admin/end", act)
    assert done.code == 303
    assert (await browser.get("/account")).code == 302
    assert "An administrator ended your session" in (await browser.get("/login")).body.decode()
    audit = (await operator.get("/admin/audit")).body.decode()
    assert "stolen &lt;laptop&gt;" in audit
    assert "root" in audit
    assert "stolen" in (await operator.get("/admin/?state=ended")).body.decode()


@pytest.mark.gen_test
async def test_a_viewer_looks_and_does_not_touch(browser: Browser, operator: Browser, parts: Parts) -> None:
    await browser.register()
    await browser.log_in()
    await make_operator(parts, operator, Role.VIEWER)
    assert (await operator.get("/admin/")).code == 200
    handle = (await parts.sessions.find(user="ada")).items[0].handle
    assert (await operator.post("/admin/end", {"handle": handle, "confirm": "1"})).code == 403
    assert (await browser.get("/account")).code == 200


@pytest.mark.gen_test
async def test_the_list_pages_by_cursor_without_loss(operator: Browser, parts: Parts) -> None:
    await make_operator(parts, operator)
    names = [f"user{number:02}" for number in range(5)]
    for name in names:
        browser = Browser(operator.client, operator.base)
        await browser.register(name)
        await browser.log_in(name)
    seen: list[str] = []
    cursor = ""
    while True:
        response = await operator.get("/admin/api/sessions?limit=2" + (f"&cursor={cursor}" if cursor else ""))
        answer = json.loads(response.body)
        seen += [item["user"] for item in answer["items"]]
        cursor = answer["next_cursor"]
        if not cursor:
            break
    assert sorted(seen) == sorted([*names, "root"])


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
async def test_every_page_forbids_framing_and_foreign_code(browser: Browser) -> None:
    for path in ("/home", "/login", "/nowhere"):
        headers = (await browser.get(path)).headers
        assert "default-src 'none'" in headers["Content-Security-Policy"]
        assert "Tornado" not in headers["Server"]


@pytest.mark.gen_test
async def test_health_and_metrics_answer(browser: Browser) -> None:
    assert (await browser.get("/healthz")).code == 200
    assert (await browser.get("/readyz")).code == 200
    assert b"tornado_sessions_live" in (await browser.get("/metrics")).body


@pytest.mark.gen_test
async def test_an_operators_session_ends_after_a_quarter_of_an_hour_unused(
    browser: Browser, operator: Browser, parts: Parts, clock: Clock
) -> None:
    await browser.register()
    await browser.log_in(remember="1")
    await make_operator(parts, operator)
    clock.ahead += 850
    assert (await operator.get("/admin/")).code == 200
    clock.ahead += 901
    assert (await operator.get("/admin/")).headers["Location"].startswith("/login")
    assert (await browser.get("/account")).code == 200


@pytest.mark.gen_test
async def test_an_operators_session_ends_after_eight_hours_of_use(
    operator: Browser, parts: Parts, clock: Clock
) -> None:
    await make_operator(parts, operator)
    for _ in range(39):
        clock.ahead += 720
        assert (await operator.get("/admin/")).code == 200
    clock.ahead += 721
    assert (await operator.get("/admin/")).code == 302


@pytest.mark.gen_test
async def test_a_stolen_token_that_comes_back_is_in_the_audit_log(
    browser: Browser, operator: Browser, parts: Parts, clock: Clock
) -> None:
    await browser.register()
    await browser.log_in()
    old = browser.cookies["sid"]
    clock.ahead += 901
    await browser.get("/account")
    assert browser.cookies["sid"] != old
    await browser.get("/account")
    clock.ahead += 300
    await operator.send("GET", "/home", Cookie=f"sid={old}")
    acts = [entry.act for entry in await parts.audit.entries()]
    assert acts == ["old token presented", "log-in", "account made"]


@pytest.mark.gen_test
async def test_all_of_a_filter_end_and_nobody_else(operator: Browser, parts: Parts) -> None:
    await make_operator(parts, operator)
    await fill_store(parts, 3, "192.0.2.7")
    await fill_store(parts, 2, "192.0.2.8")
    fields = {"where": json.dumps({"ip": "192.0.2.7", "created_until": time.time() + 60})}
    asked = await operator.post("/admin/end", fields)
    assert b"End all 3 matching sessions?" in asked.body
    confirmed = {**fields, "confirm": "1", "expected": "3"}
    assert b"Enter a reason." in (await operator.post("/admin/end", confirmed)).body
    await fill_store(parts, 1, "192.0.2.7")
    assert b"more session matches now" in (await operator.post("/admin/end", {**confirmed, "reason": "leak"})).body
    done = await operator.post("/admin/end", {**confirmed, "reason": "leak", "expected": "4"})
    assert done.code == 303
    assert b"4 sessions ended." in (await operator.get("/admin/")).body
    assert (await parts.sessions.count(ip="192.0.2.8")).total == 2
    entry = (await parts.audit.entries())[0]
    assert (entry.act, entry.target, entry.reason, entry.ended) == (
        "end all sessions matching",
        "ip=192.0.2.7",
        "leak",
        4,
    )


@pytest.mark.gen_test
async def test_many_sessions_end_only_after_their_number_is_typed(operator: Browser, parts: Parts) -> None:
    await make_operator(parts, operator)
    await fill_store(parts, 101, "192.0.2.7")
    fields = {"where": '{"ip": "192.0.2.7"}', "confirm": "1", "reason": "leak", "expected": "101"}
    assert b"Type 101 to confirm" in (await operator.post("/admin/end", fields)).body
    assert (await operator.post("/admin/end", {**fields, "number": "101"})).code == 303
    assert (await parts.sessions.count()).total == 1


@pytest.mark.gen_test
async def test_everybody_is_out_with_one_button_the_operator_as_well(
    browser: Browser, operator: Browser, parts: Parts
) -> None:
    await browser.register()
    await browser.log_in()
    await make_operator(parts, operator)
    asked = await operator.post("/admin/end", {"everybody": "1"})
    assert b"This ends all 2 sessions, yours included." in asked.body
    fields = {"everybody": "1", "confirm": "1", "reason": "breach", "expected": "2"}
    assert (await operator.post("/admin/end", fields)).code == 303
    assert (await browser.get("/account")).code == 302
    assert (await operator.get("/admin/")).code == 302
    assert (await parts.sessions.count()).total == 0
    await browser.log_in()
    assert (await browser.get("/account")).code == 200


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
async def test_the_audit_log_is_exported_without_formulas(operator: Browser, parts: Parts) -> None:
    await make_operator(parts, operator)
    for number in range(3):
        await parts.audit.ended(Actor("=cmd()", "::1"), Action.END_SESSION, f"h{number}", '@SUM(1,"2")', one)
    lines = [json.loads(line) for line in (await operator.get("/admin/audit.jsonl?act=end+session")).body.splitlines()]
    assert [(line["target"], line["actor"]) for line in lines] == [(f"h{number}", "=cmd()") for number in (2, 1, 0)]
    rows = list(csv.DictReader(io.StringIO((await operator.get("/admin/audit.csv?act=end+session")).body.decode())))
    assert [(row["actor"], row["reason"]) for row in rows] == [("'=cmd()", '\'@SUM(1,"2")')] * 3


async def one() -> int:
    return 1


def staff_routes(app: Application) -> list[str]:
    found = [str(getattr(rule.matcher, "regex").pattern) for rule in app.wildcard_router.rules]  # noqa: B009
    return [pattern.removesuffix("$") for pattern in found if pattern.startswith("/admin")]


def test_every_route_of_the_dashboard_is_in_the_matrix(app: Application) -> None:
    assert set(staff_routes(app)) == MATRIX.keys()


@pytest.mark.gen_test(timeout=60)
async def test_each_role_gets_what_is_its_own(browser: Browser, parts: Parts) -> None:
    people = [Browser(browser.client, browser.base) for _ in range(5)]
    names = dict(zip(("ada", "vera", "oscar", "alice"), Role, strict=True))
    for (name, role), person in zip(names.items(), people[1:], strict=True):
        await parts.accounts.register(name, f"{name}@example.org", PASSWORD, role=role)
        await person.log_in(name)
    handle = (await parts.sessions.find(user="ada")).items[0].handle
    tokens = [await person.token() for person in people]
    for pattern, expected in MATRIX.items():
        told: dict[str, list[int]] = {method: [] for method in expected}
        for person, token in zip(people, tokens, strict=True):
            path = pattern.replace("/?", "/").replace(r"\.(jsonl|csv)", ".csv").replace(r"\.", ".")
            path = re.sub(r"\(\[.*?\)", "ada" if "/users/" in path else handle, path)
            path += "?name=ada" if path == "/admin/user" else ""
            headers = {"X_XSRFToken": token, "Content_Type": "application/x-www-form-urlencoded"}
            for method, codes in told.items():
                answer = await person.send(method, path, None if method == "GET" else "", **headers)
                codes.append(answer.code)
        assert {method: tuple(codes) for method, codes in told.items()} == expected, pattern
    assert (await parts.sessions.count()).total == 4


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
