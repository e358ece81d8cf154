"""The dashboard in an application of somebody else: with its users, its settings, its sign-in and below its path."""

from __future__ import annotations

import asyncio
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from argon2.profiles import CHEAPEST
from support.clock import Clock
from support.mounted import FullPeople, People, delete, made, mounted, rows, signed_in
from support.passwords import SECRET
from tornado.web import RequestHandler, UIModule

from tornado_sessions import SessionConfig, Sessions, UsageError
from tornado_sessions.errors import StoreUnavailable
from tornado_sessions.server import Dashboard, Person
from tornado_sessions.server.accounts.passwords import Passwords
from tornado_sessions.server.operations.tokens import Scope
from tornado_sessions.server.parts import Parts
from tornado_sessions.server.roles import Role
from tornado_sessions.server.settings import ServerOptions
from tornado_sessions.server.web.application import make_application
from tornado_sessions.server.web.server_routes import server_routes
from tornado_sessions.stores.memory import MemoryStore


class Own(RequestHandler):
    """The application's answer to paths that it does not have."""

    def prepare(self) -> None:
        self.set_status(418)
        self.finish("the application's own")


class Field(UIModule):
    """Of the name of a component of ours."""

    def render(self, *_: Any, **__: Any) -> str:
        raise AssertionError("the application's component in our page")


def hostile(tmp_path: Path) -> dict[str, Any]:
    """Settings that would break pages that looked at them."""
    (tmp_path / "base.html").write_text("of the application")
    return {
        "template_path": str(tmp_path),
        "static_path": str(tmp_path),
        "static_url_prefix": "/files/",
        "xsrf_cookies": True,
        "cookie_secret": "of the application",
        "default_handler_class": Own,
        "ui_modules": {"Field": Field, "MainLinks": Field, "Checks": Field},
        "ui_methods": {
            "url": lambda *_: "of the application",
            "icon": lambda *_: "of the application",
            "_": lambda *_: "of the application",
        },
        "autoescape": None,
        "compiled_template_cache": False,
        "static_hash_cache": False,
        "login_url": "/login",
    }


PAGES = (
    "/",
    "/?state=ended",
    "/overview",
    "/users",
    "/user?name=1",
    "/audit",
    "/jobs",
    "/operators",
    "/settings",
    "/api/sessions",
)


@pytest.mark.gen_test
async def test_no_setting_of_the_application_reaches_a_page(tmp_path: Path) -> None:
    async with mounted(made(FullPeople()), **hostile(tmp_path)) as browser:
        admin = await signed_in(browser, "4")
        for path in PAGES:
            page = await admin.get(f"/ops{path}")
            assert page.code == 200, path
            assert b"of the application" not in page.body, path
            assert page.headers["Content-Security-Policy"].startswith("default-src 'none'"), path
            for link in re.findall(r'(?:href|src|action)="(/[^"]*)"', page.body.decode()):
                assert link.startswith("/ops/"), (path, link)
        style = re.findall(r'href="(/ops/static/style[^"]*)"', (await admin.get("/ops/")).body.decode())[0]
        assert (await admin.get(style)).headers["Content-Type"] == "text/css"
        missing = await admin.get("/ops/nowhere")
        assert missing.code == 404
        assert b"We can" in missing.body
        # And the application keeps its own answers.
        assert (await admin.get("/nowhere")).body == b"the application's own"
        assert (await admin.get("/opsnowhere")).code == 418


@pytest.mark.parametrize(
    ("prefix", "base"), [("/ops", "/ops"), ("/ops/", "/ops"), ("/a.b/c-d", "/a.b/c-d"), ("", ""), ("/", "")]
)
@pytest.mark.gen_test
async def test_it_works_below_any_path(prefix: str, base: str) -> None:
    async with mounted(made(FullPeople(), prefix=prefix)) as browser:
        admin = await signed_in(browser, "4")
        page = (await admin.get(f"{base}/")).body.decode()
        assert f'href="{base}/users"' in page
        assert (await admin.get(f"{base}/language/zh", Referer=f"{admin.base}{base}/users")).headers["Location"] == (
            f"{base}/users"
        )
        assert "用户" in (await admin.get(f"{base}/users")).body.decode()
        assert (await admin.get(f"{base}/api/openapi.json")).code == 200
        assert (await admin.get(f"{base}/nowhere")).code == 404


@pytest.mark.parametrize("prefix", ["ops", "/a b", "/a/../b", "//evil", "/ä", "/ops?x"])
def test_a_prefix_that_is_no_path_is_refused(prefix: str) -> None:
    with pytest.raises(UsageError, match="prefix"):
        made(People(), prefix=prefix)


@pytest.mark.gen_test
async def test_roles_decide_as_in_the_server() -> None:
    async with mounted(made(FullPeople()), login_url="/login?from=x") as browser:
        asked = await browser.get("/ops/users?q=a")
        assert (asked.code, asked.headers["Location"]) == (302, "/login?from=x&next=%2Fops%2Fusers%3Fq%3Da")
        assert (await browser.get("/ops/api/sessions")).code == 401
        for user, expected in {"1": (403, 403), "2": (200, 403), "3": (200, 403), "4": (200, 200)}.items():
            person = await signed_in(browser, user)
            codes = (await person.get("/ops/")).code, (await person.get("/ops/operators/tokens")).code
            assert codes == expected, user
        viewer, operator = await signed_in(browser, "2"), await signed_in(browser, "3")
        handle = (await rows(viewer, own=True))[0]["handle"]
        assert (await delete(viewer, f"/ops/api/sessions/{handle}")).code == 403
        assert (await delete(operator, f"/ops/api/sessions/{handle}")).code == 204
        assert (await viewer.get("/ops/")).code == 302


@pytest.mark.gen_test
async def test_without_a_page_to_sign_in_visitors_get_401() -> None:
    async with mounted(made(People())) as browser:
        assert (await browser.get("/ops/")).code == 401


@pytest.mark.parametrize(
    ("fault", "code"),
    [
        (ConnectionRefusedError("db.internal"), 503),
        (TimeoutError(), 503),
        (StoreUnavailable("users", "x"), 503),
        (ValueError("secret"), 500),
    ],
)
@pytest.mark.gen_test
async def test_an_outage_of_the_users_signs_nobody_out(fault: Exception, code: int) -> None:
    people = FullPeople()
    async with mounted(made(people)) as browser:
        admin = await signed_in(browser, "4")
        people.fault = fault
        failed = await admin.get("/ops/")
        assert failed.code == code
        assert b"secret" not in failed.body
        assert b"db.internal" not in failed.body
        assert ("Retry-After" in failed.headers) == (code == 503)
        assert "Set-Cookie" not in failed.headers
        people.fault = None
        assert (await admin.get("/ops/")).code == 200


@pytest.mark.gen_test
async def test_users_that_take_too_long_are_an_outage() -> None:
    people = FullPeople()
    async with mounted(made(people, store_timeout=0.5)) as browser:
        admin = await signed_in(browser, "4")
        people.seconds = 60
        assert (await admin.get("/ops/")).code == 503


@pytest.mark.gen_test
async def test_what_the_application_returns_is_checked() -> None:
    people = People()
    async with mounted(made(people)) as browser:
        admin = await signed_in(browser, "4")
        for wrong in ("ada", Person(4, "Ada"), Person("", "Ada")):  # type: ignore[arg-type]

            async def current(_handler: Any, found: Any = wrong) -> Any:
                return found

            people.current = current  # type: ignore[method-assign, assignment]
            async with mounted(made(people, prefix="/b")) as other:
                assert (await other.get("/b/")).code == 500
        assert (await admin.get("/ops/")).code == 200


@pytest.mark.parametrize("missing", ["current", "get"])
def test_people_without_a_required_method_are_refused(missing: str) -> None:
    methods = {name: getattr(People, name) for name in ("current", "get") if name != missing}
    with pytest.raises(UsageError, match=f"a method {missing}"):
        made(type("Half", (), methods)())


@pytest.mark.gen_test
async def test_a_password_is_asked_for_five_minutes_after_the_sign_in() -> None:
    clock = Clock(now=None)
    people = FullPeople()
    async with mounted(made(people, clock=clock)) as browser:
        admin, target = await signed_in(browser, "4"), await signed_in(browser, "1")
        clock.now += 301
        [handle] = [item["handle"] for item in await rows(admin) if item["user"] == "1"]
        page = (await admin.post("/ops/end", {"handle": handle}, page="/ops/")).body.decode()
        assert "Your password" in page
        assert "Name 4" in page
        assert (await delete(admin, f"/ops/api/sessions/{handle}")).code == 403
        fields = {"handle": handle, "confirm": "1", "reason": "test", "why": ""}
        wrong = await admin.post("/ops/end", {**fields, "password": "no"}, page="/ops/")
        assert wrong.code == 400
        before = admin.cookie
        assert (await admin.post("/ops/end", {**fields, "password": "password of 4"}, page="/ops/")).code == 303
        assert admin.cookie != before
        assert (await target.get("/ops/")).code == 401
        # It is kept for five minutes in the session, whose other values belong to the application.
        assert (await admin.get("/ops/operators/tokens")).body.decode().count("Your password") == 0
        clock.now += 301
        assert (await admin.get("/ops/operators/tokens")).body.decode().count("Your password") >= 1


@pytest.mark.gen_test
async def test_wrong_passwords_have_a_limit() -> None:
    clock = Clock(now=None)
    async with mounted(made(FullPeople(), clock=clock)) as browser:
        admin = await signed_in(browser, "4")
        clock.now += 301
        fields = {"name": "x", "scope": Scope.READ.value, "days": "1", "once": "a"}

        async def attempt(password: str) -> int:
            return (await admin.post("/ops/operators/tokens", {**fields, "password": password}, page="/ops/")).code

        assert {await attempt("no") for _ in range(10)} == {400}
        assert await attempt("no") == 429
        assert await attempt("password of 4") == 429
        clock.now += 901
        assert await attempt("password of 4") == 200


@pytest.mark.gen_test
async def test_without_verify_people_sign_in_again() -> None:
    clock = Clock(now=None)
    async with mounted(made(People(), clock=clock, reauthenticate_url="/sso?again=1")) as browser:
        admin = await signed_in(browser, "4")
        clock.now += 301
        page = (await admin.get("/ops/operators/tokens")).body.decode()
        assert "/sso?again=1&amp;next=%2Fops%2Foperators%2Ftokens" in page
        assert "password" not in page.lower().replace("password entered", "")
        fields = {"name": "x", "scope": Scope.READ.value, "days": "1", "once": "a"}
        assert (await admin.post("/ops/operators/tokens", fields, page="/ops/")).code == 400
        await admin.get("/login?user=4")
        assert (await admin.post("/ops/operators/tokens", fields, page="/ops/")).code == 200


@pytest.mark.parametrize(
    ("proved", "is_asked"), [(10, False), (299, False), (301, True), (-30, False), (-90, True), (None, False)]
)
@pytest.mark.gen_test
async def test_the_application_may_know_better_when_somebody_proved_who_they_are(
    proved: float | None, is_asked: bool
) -> None:
    """``proved_at``, such as ``auth_time`` of OpenID Connect, counts instead of the sign-in; the future counts only as a skew."""
    clock, people = Clock(now=None), People()
    known = people.get

    async def get(user_id: str) -> Person | None:
        person = await known(user_id)
        return person and replace(person, proved_at=None if proved is None else clock() - proved)

    people.get = get  # type: ignore[method-assign]
    async with mounted(made(people, clock=clock, reauthenticate_url="/sso?again=1")) as browser:
        admin = await signed_in(browser, "4")
        page = (await admin.get("/ops/operators/tokens")).body.decode()
        assert ("/sso?again=1&amp;next=%2Fops%2Foperators%2Ftokens" in page) == is_asked
        fields = {"name": "x", "scope": Scope.READ.value, "days": "1", "once": "a"}
        code = (await admin.post("/ops/operators/tokens", fields, page="/ops/")).code
        assert code == (400 if is_asked else 200)


class WithoutPasswords(FullPeople):
    """Checks passwords, but nobody has one."""

    reauthenticate_url = "/of-people"

    async def get(self, user_id: str) -> Person | None:
        person = await super().get(user_id)
        return person and replace(person, has_password=False)


@pytest.mark.parametrize(
    ("given", "settings", "leads_to"),
    [
        ({"reauthenticate_url": "/given"}, {"login_url": "/login"}, "/given?next="),
        ({}, {"login_url": "/login"}, "/of-people?next="),
    ],
)
@pytest.mark.gen_test
async def test_people_without_a_password_sign_in_again(
    given: dict[str, Any], settings: dict[str, Any], leads_to: str
) -> None:
    clock = Clock(now=None)
    async with mounted(made(WithoutPasswords(), clock=clock, **given), **settings) as browser:
        admin = await signed_in(browser, "4")
        clock.now += 301
        page = (await admin.get("/ops/operators/tokens")).body.decode()
        assert f'href="{leads_to}%2Fops%2Foperators%2Ftokens"' in page
        assert "Your password" not in page
        await admin.get("/login?user=4")
        assert leads_to not in (await admin.get("/ops/operators/tokens")).body.decode()


@pytest.mark.gen_test
async def test_the_server_has_the_dashboard_that_an_application_gets(tmp_path: Path) -> None:
    _, dashboard = made(People(), prefix="/admin")
    shared = re.compile(r"/admin(/(language|preferences|static)|\(\?:/)").match
    parts = Parts(ServerOptions(store="memory://", secret=[SECRET]), passwords=Passwords(CHEAPEST))
    own = [(pattern, handler) for pattern, handler, _ in server_routes(make_application(parts).settings["site"])]
    assert sorted(own_routes := [each for each in own if each[0].startswith("/admin")], key=str) == sorted(
        [(pattern, handler) for pattern, handler, _ in dashboard.routes() if not shared(pattern)], key=str
    )
    assert len(own_routes) > 30


@pytest.mark.gen_test
async def test_what_people_cannot_do_is_not_offered() -> None:
    async with mounted(made(People())) as browser:
        admin = await signed_in(browser, "4")
        await signed_in(browser, "1")
        user = (await admin.get("/ops/user?name=1")).body.decode()
        for path in ("/ops/block", "/ops/reset", "/ops/operators/role"):
            assert path not in user
        assert "/ops/operators/role" not in (await admin.get("/ops/operators")).body.decode()
        fields = {"user": "1", "seconds": "60", "reason": "x", "role": "admin"}
        for path in ("/ops/block", "/ops/operators/role", "/ops/reset", "/ops/operators/invite"):
            answer = await admin.post(path, fields, page="/ops/")
            assert answer.code in (400, 403), path
        assert (await admin.get("/ops/?role=admin")).code == 400
        assert (await admin.get("/ops/users?q=1")).code == 200
        for text in ("tornado-sessions", "/account", "/logout", "/reg"):
            for path in PAGES:
                page = (await admin.get(f"/ops{path}")).body.decode()
                assert f'"{text}' not in page, (path, text)


@pytest.mark.gen_test
async def test_search_and_block_reach_the_application() -> None:
    people = FullPeople()
    async with mounted(made(people)) as browser:
        operator, target = await signed_in(browser, "3"), await signed_in(browser, "1")
        assert "Name 1" in (await operator.get("/ops/users?q=Name")).body.decode()
        answer = await operator.post("/ops/block", {"user": "1", "seconds": "no end", "reason": "x"}, page="/ops/")
        assert answer.code == 303
        assert people.blocked["1"]
        assert (await target.get("/ops/")).code == 401
        await operator.post("/ops/block", {"user": "1", "seconds": "0", "reason": "x"}, page="/ops/")
        assert people.blocked["1"] is None


@pytest.mark.gen_test
async def test_ending_everybody_but_oneself_keeps_one_signed_in() -> None:
    async with mounted(made(FullPeople())) as browser:
        admin, other = await signed_in(browser, "4"), await signed_in(browser, "1")
        fields = {"everybody": "1", "but_mine": "1", "confirm": "1", "expected": "2", "reason": "x", "why": "x"}
        answer = await admin.post("/ops/end", fields, page="/ops/")
        assert answer.code == 303, answer.body
        assert (await admin.get("/ops/")).code == 200
        assert (await other.get("/ops/")).code == 401
        assert [item["user"] for item in await rows(admin)] == ["4"]


@pytest.mark.gen_test
async def test_a_dashboard_that_nobody_opened_opens_at_the_first_request(tmp_path: Path) -> None:
    sessions, dashboard = made(FullPeople(), url=f"sqlite:///{tmp_path}/sessions.db")
    async with mounted((sessions, dashboard), opens=False) as browser:
        admin, other = await signed_in(browser, "4"), await signed_in(browser, "1")
        codes = await asyncio.gather(*(admin.get(f"/ops{path}") for path in PAGES))
        assert {page.code for page in codes} == {200}
        fields = {"where": '{"user":"1"}', "confirm": "1", "why": "x", "expected": "1"}
        assert (await admin.post("/ops/end", fields, page="/ops/")).code == 303
        assert (await other.get("/visit")).body == b"nobody"
        await dashboard.open()
        await dashboard.close()
        assert (await admin.get("/ops/audit")).code == 503, "a late request starts nothing again"
        await dashboard.open()
        assert (await admin.get("/ops/audit")).code == 200


class ByHeader(FullPeople):
    """A proxy signs people in; the application has no sessions for them."""

    async def current(self, handler: Any) -> Person | None:
        user = handler.request.headers.get("X-User")
        return await self.get(user) if user else None

    async def verify(self, handler: Any, password: str) -> bool:
        return password == "right"


@pytest.mark.gen_test
async def test_operators_may_be_signed_in_by_something_else_than_a_session() -> None:
    async with mounted(made(ByHeader())) as browser:
        target = await signed_in(browser, "1")
        browser.headers["X-User"] = "3"
        [handle] = [row["handle"] for row in await rows(browser)]
        fields = {"handle": handle, "confirm": "1", "why": "x"}
        for password, code in {"wrong": 400, "right": 303}.items():
            answer = await browser.post("/ops/end", {**fields, "password": password}, page="/ops/")
            assert answer.code == code
        assert (await target.get("/visit")).body == b"nobody"
        assert "Name 3" in (await browser.get("/ops/audit")).body.decode()
        del browser.headers["X-User"]
        assert (await browser.get("/ops/")).code == 401


@pytest.mark.gen_test
async def test_two_dashboards_in_one_application_do_not_mix() -> None:
    """Each has sessions, a log and cookies of its own; who looks, the first sessions decide for both."""
    first, people = made(FullPeople(), prefix="/one"), FullPeople()
    second_sessions = Sessions("memory://", secret=SECRET, config=SessionConfig(cookie_name="other"))
    second = second_sessions, Dashboard(second_sessions, people=people, prefix="/two")

    async def current(_handler: Any) -> Person | None:
        return Person("4", "Ada", Role.ADMIN)

    people.current = current  # type: ignore[method-assign, assignment]
    async with mounted(first, second) as browser:
        admin = await signed_in(browser, "4")
        one, two = (await admin.get("/one/")).body.decode(), (await admin.get("/two/")).body.decode()
        assert "/one/sessions/" in one
        assert "/two/sessions/" not in two
        assert await admin.token("/one/") != await admin.token("/two/")
        assert {"two_xsrf"} == {name for name in admin.cookies if name.endswith("_xsrf")}


def test_it_imports_no_account_of_ours_and_needs_no_library_of_theirs() -> None:
    program = """
import sys
BLOCKED = {"argon2", "confusable_homoglyphs", "prometheus_client", "pydantic", "pydantic_settings", "pyotp", "pythonjsonlogger",
           "segno", "tabulate", "tqdm", "zxcvbn"}
class Finder:
    def find_spec(self, name, *_):
        if name.partition(".")[0] in BLOCKED:
            raise ImportError(name)
sys.meta_path.insert(0, Finder())
from tornado_sessions import Sessions
from tornado_sessions.server import Dashboard, Person
from tornado_sessions.server.operations.tokens import Scope
from tornado_sessions.server.roles import Role
from tornado_sessions.stores.memory import MemoryStore
class People:
    async def current(self, handler): ...
    async def get(self, user_id): ...
Dashboard(Sessions("memory://", secret="x" * 40), people=People(), prefix="/ops").routes()
print([name for name in sys.modules if name.startswith(("tornado_sessions.server.account", "tornado_sessions.server.parts"))])
"""
    found = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False, timeout=60)
    assert (found.stdout, found.returncode) == ("[]\n", 0), found.stderr


@pytest.mark.parametrize("where", ["beside the sessions", "elsewhere"])
@pytest.mark.gen_test
async def test_its_log_lies_beside_the_sessions_unless_told(tmp_path: Path, where: str) -> None:
    url, elsewhere = f"sqlite:///{tmp_path}/sessions.db", f"sqlite:///{tmp_path}/dashboard.db"
    sessions = Sessions(url, secret=SECRET)
    store = elsewhere if where == "elsewhere" else None
    async with mounted((sessions, Dashboard(sessions, people=FullPeople(), prefix="/ops", store=store))) as browser:
        assert (await (await signed_in(browser, "4")).get("/ops/")).code == 200
    assert (tmp_path / "dashboard.db").exists() == (store is not None)


class OwnStore(MemoryStore):
    """A store that an application has written."""

    backend = "own"


@pytest.mark.parametrize("store", [OwnStore(), "dual://?primary=memory%3A%2F%2F&fallback=memory%3A%2F%2F"])
def test_where_no_log_can_lie_beside_the_sessions_the_error_names_the_remedy(store: Any) -> None:
    sessions = Sessions(store, secret=SECRET)
    with pytest.raises(UsageError, match="store="):
        Dashboard(sessions, people=People())
    assert Dashboard(sessions, people=People(), store="memory://").routes()
