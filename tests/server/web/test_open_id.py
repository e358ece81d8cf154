"""The server with sign-in at a real OpenID provider: accounts, roles, proofs, and sign-out in both directions."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from argon2.profiles import CHEAPEST
from support.browser import Browser
from support.clock import Clock
from support.oidc_provider import OIDCProvider, Person, path_of
from support.passwords import PASSWORD, SECRET
from tornado.httpclient import AsyncHTTPClient, HTTPResponse

from tornado_sessions import ConfigError
from tornado_sessions.server.accounts.passwords import Passwords
from tornado_sessions.server.accounts.user import User
from tornado_sessions.server.open_id import open_id_of
from tornado_sessions.server.operations.action_names import Action
from tornado_sessions.server.operations.audit import SERVER
from tornado_sessions.server.operations.entries import AuditQuery
from tornado_sessions.server.operations.errors import NotPermitted
from tornado_sessions.server.parts import Parts
from tornado_sessions.server.roles import Role
from tornado_sessions.server.settings import ServerOptions, load


@pytest.fixture
def clock() -> Clock:
    return Clock(now=None)


@pytest.fixture
def more() -> dict[str, Any]:
    """Further settings."""
    return {}


@pytest.fixture
def parts(
    url: str, clock: Clock, base_url: str, oidc_provider: OIDCProvider, tmp_path: Path,
    io_loop: Any, more: dict[str, Any],
) -> Iterator[Parts]:  # fmt: skip
    async def register() -> dict[str, str]:
        return await oidc_provider.register(
            AsyncHTTPClient(),
            f"{base_url}/login/oidc/callback",
            backchannel_logout_uri=f"{base_url}/login/oidc/logout",
            backchannel_logout_session_required=True,
            post_logout_redirect_uris=[f"{base_url}/login/oidc/signed-out"],
        )

    client = io_loop.run_sync(register)
    secret = tmp_path / "client-secret"
    secret.write_text(client["client_secret"] + "\n")
    options = ServerOptions(
        store=url, secret=[SECRET], public_url=base_url, oidc_issuer=oidc_provider.issuer, oidc_client_id=client["client_id"],
        oidc_client_secret_file=str(secret), oidc_roles="admins=admin,ops=operator", **more,
    )  # fmt: skip
    made = Parts(options, passwords=Passwords(CHEAPEST), clock=clock)
    io_loop.run_sync(made.open)
    yield made
    io_loop.run_sync(made.close)


@pytest.fixture
def person(http_client: AsyncHTTPClient, oidc_provider: OIDCProvider) -> Person:
    return Person(http_client, oidc_provider.issuer, f"ada-{uuid4().hex[:8]}")


def account_of(person: Person) -> str:
    return person.browser.headers["X-Account"]


async def sign_in(browser: Browser, person: Person, path: str = "/login/oidc") -> HTTPResponse:
    started = await browser.get(path)
    assert started.code == 303, started.body
    return await browser.get(
        path_of(await person.follow(started.headers["Location"])),
        Sec_Fetch_Site="cross-site",
        Sec_Fetch_Mode="navigate",
    )


async def set_groups(person: Person, groups: str) -> None:
    """Change the groups at the provider, where the person has to sign in again."""
    person.browser.headers["X-Groups"] = groups
    person.browser.cookies.clear()


async def user_of(parts: Parts, person: Person) -> User:
    user = await parts.accounts.get(account_of(person))
    assert user is not None
    return user


@pytest.mark.gen_test
async def test_the_first_sign_in_makes_an_account_and_leads_to_the_wanted_page(
    parts: Parts, browser: Browser, person: Person
) -> None:
    page = (await browser.get("/login")).body.decode()
    assert "Sign in with 127.0.0.1" in page
    answer = await sign_in(browser, person, "/login/oidc?next=/account/security")
    assert (answer.code, answer.headers["Location"]) == (303, "/account/security")
    user = await user_of(parts, person)
    assert (user.issuer, user.subject, user.role) == (parts.options.oidc_issuer, account_of(person), Role.USER)
    security = (await browser.get("/account/security")).body.decode()
    assert "Single sign-on" in security
    assert "/account/password" not in security


@pytest.mark.gen_test
async def test_an_account_belongs_to_the_identity_and_not_to_its_name_or_email(
    parts: Parts, browser: Browser, other: Browser, person: Person
) -> None:
    name = account_of(person)
    await parts.accounts.register(name, f"{name}@example.org", PASSWORD, role=Role.ADMIN)
    await sign_in(browser, person)
    (found,) = (await parts.sessions.find()).items
    assert found.user == f"{name}-2"
    user = await parts.identities.find(parts.options.oidc_issuer or "", name)
    assert user is not None
    assert (user.name, user.role) == (f"{name}-2", Role.USER)
    assert (await other.log_in(name)).code == 303


@pytest.mark.gen_test
@pytest.mark.parametrize("password", ["", "x", PASSWORD])
async def test_no_password_signs_in_to_an_account_of_the_provider(
    parts: Parts, browser: Browser, other: Browser, person: Person, password: str
) -> None:
    await sign_in(browser, person)
    assert (await other.log_in(account_of(person), password)).code == 401


@pytest.mark.gen_test
async def test_roles_follow_the_groups_and_a_withdrawn_one_ends_the_sessions(
    parts: Parts, browser: Browser, other: Browser, person: Person
) -> None:
    await set_groups(person, "ops,admins,others")
    await sign_in(browser, person)
    assert (await user_of(parts, person)).role is Role.ADMIN
    assert (await browser.get("/admin/")).code == 200
    await set_groups(person, "-")
    await sign_in(other, person)
    assert (await user_of(parts, person)).role is Role.USER
    assert (await other.get("/admin/")).code == 403
    assert (await browser.get("/admin/")).code == 302
    found = await parts.audit.entries(AuditQuery(who=account_of(person), act=Action.CHANGE_ROLE))
    assert [(entry.actor, entry.target) for entry in found] == [("server", "user")]


@pytest.mark.gen_test
async def test_a_blocked_account_does_not_sign_in(parts: Parts, browser: Browser, person: Person, clock: Clock) -> None:
    await sign_in(browser, person)
    await parts.accounts.block(account_of(person), clock() + 60)
    other = Browser(browser.client, browser.base)
    answer = await sign_in(other, person)
    assert answer.code == 403
    assert b"This account is blocked" in answer.body
    assert (await other.get("/account")).code == 302


@pytest.mark.gen_test
async def test_force_needs_a_proof_at_the_provider_instead_of_a_password(
    parts: Parts, browser: Browser, person: Person, clock: Clock
) -> None:
    await set_groups(person, "admins")
    await sign_in(browser, person)
    await parts.accounts.register("bob", "bob@example.org", PASSWORD)
    clock.now += 301
    fields = {"user": "bob", "role": "viewer", "reason": "because"}
    page = (await browser.get("/admin/operators/role?user=bob")).body.decode()
    assert "/login/oidc?prove=1&amp;next=%2Fadmin%2Foperators%2Frole" in page
    assert 'name="password"' not in page
    refused = await browser.post("/admin/operators/role", fields)
    assert refused.code == 400
    assert b"First confirm" in refused.body
    clock.now -= 301  # the provider's clock is the real one
    answer = await sign_in(browser, person, "/login/oidc?prove=1&next=/admin/operators")
    assert answer.headers["Location"] == "/admin/operators"
    done = await browser.post("/admin/operators/role", fields)
    assert done.code == 303, done.body
    bob = await parts.accounts.get("bob")
    assert bob is not None
    assert bob.role is Role.VIEWER


@pytest.mark.gen_test
async def test_a_proof_of_somebody_else_counts_for_nothing(parts: Parts, browser: Browser, person: Person) -> None:
    await sign_in(browser, person)
    (session,) = (await parts.sessions.find()).items
    before = (await parts.sessions.values_of(session.handle) or {})["proved_at"]
    eve = Person(browser.client, person.browser.base, f"eve-{uuid4().hex[:8]}")
    await sign_in(browser, eve, "/login/oidc?prove=1&next=/account/security")
    (session,) = (await parts.sessions.find()).items
    assert session.user == account_of(person)
    assert (await parts.sessions.values_of(session.handle) or {})["proved_at"] == before
    assert await parts.accounts.get(account_of(eve)) is None


@pytest.mark.gen_test
async def test_pages_of_the_account_offer_only_what_works_without_a_password(
    parts: Parts, browser: Browser, person: Person
) -> None:
    await sign_in(browser, person)
    forms = ("/account/password", "/account/email", "/account/two-steps", "/account/two-steps/off")
    for path in ("/account", "/account/security", "/account/profile", "/account/remove"):
        page = (await browser.get(path)).body.decode()
        assert not any(f'"{form}"' in page for form in forms), path
        assert 'type="password"' not in page, path
    for path in forms:
        for answer in (await browser.get(path), await browser.post(path, {"old_password": "", "off": "1"})):
            assert answer.code == 403
            assert b"This account has no password. It signs in with single sign-on." in answer.body
    user = await user_of(parts, person)
    assert (user.password_hash, user.totp_secret, user.email) == ("", None, f"{account_of(person)}@example.org")


@pytest.mark.gen_test
async def test_an_account_is_deleted_only_with_a_new_proof_at_the_provider(
    parts: Parts, browser: Browser, other: Browser, person: Person, clock: Clock
) -> None:
    await sign_in(browser, person)
    await sign_in(other, person.elsewhere())
    clock.now += 301
    page = (await browser.get("/account/remove")).body.decode()
    assert "/login/oidc?prove=1&amp;next=%2Faccount%2Fremove" in page
    assert "btn destroy" not in page
    refused = await browser.post("/account/remove", {"remove_password": PASSWORD})
    assert (refused.code, b"First confirm that it" in refused.body) == (400, True)
    await user_of(parts, person)
    clock.now -= 301  # the provider's clock is the real one
    started = await browser.get("/login/oidc?prove=1&next=/account/remove")
    assert "prompt=login&max_age=0" in started.headers["Location"]
    await browser.get(path_of(await person.follow(started.headers["Location"])))
    assert b"btn destroy" in (await browser.get("/account/remove")).body
    assert (await browser.post("/account/remove", {}, page="/account/remove")).code == 200
    assert await parts.accounts.get(account_of(person)) is None
    assert (await parts.sessions.find()).items == []
    # Who signs in again gets a new account.
    assert (await sign_in(browser, person)).code == 303


@pytest.mark.gen_test
async def test_an_admin_is_not_offered_to_reset_a_password_that_does_not_exist(
    parts: Parts, browser: Browser, other: Browser, person: Person
) -> None:
    await set_groups(person, "admins")
    await sign_in(browser, person)
    ada = Person(browser.client, person.browser.base, f"ada-{uuid4().hex[:8]}")
    await sign_in(other, ada)
    for page in ("/admin/users", f"/admin/user?tab=security&name={account_of(ada)}"):
        assert b"/admin/reset?user=" + account_of(ada).encode() not in (await browser.get(page)).body
    answer = await browser.get(f"/admin/reset?user={account_of(ada)}")
    assert (answer.code, b"has no password" in answer.body) == (400, True)


@pytest.mark.gen_test
async def test_signing_out_leads_to_the_provider_which_ends_the_other_sessions_of_that_browser(
    parts: Parts, browser: Browser, other: Browser, person: Person
) -> None:
    await set_groups(person, "ops")
    await sign_in(browser, person)
    await sign_in(other, person)
    phone = Browser(browser.client, browser.base)
    await sign_in(phone, person.elsewhere())
    out = await browser.post("/logout", {})
    leave_to = out.headers["Refresh"].removeprefix("0; url=")
    for part in ("id_token_hint=", "post_logout_redirect_uri=", "state="):
        assert part in leave_to
    back = path_of((await person.sign_out(leave_to)).headers["Location"])
    assert (await other.get("/account")).code == 302
    assert (await phone.get("/account")).code == 200
    assert b"You&#x27;ve signed out" in (await browser.get(back)).body.replace(b"&#39;", b"&#x27;")
    # Once, and with the state that we have sent.
    assert (await browser.get(back)).code == 302


@pytest.mark.gen_test
async def test_a_request_that_is_no_logout_token_is_refused_and_ends_nothing(
    parts: Parts, browser: Browser, person: Person
) -> None:
    await sign_in(browser, person)
    for body in ("", "logout_token=a.b.c", "logout_token=%00", "x" * 1000):
        answer = await Browser(browser.client, browser.base).send(
            "POST", "/login/oidc/logout", body, Content_Type="application/x-www-form-urlencoded"
        )
        assert (answer.code, answer.headers["Cache-Control"]) == (400, "no-store")
    assert (await browser.get("/account")).code == 200


@pytest.mark.gen_test
async def test_a_response_that_was_not_asked_for_signs_nobody_in_and_says_how_to_go_on(
    browser: Browser, parts: Parts
) -> None:
    answer = await browser.get("/login/oidc/callback?state=x&code=y")
    assert answer.code == 400
    assert b"failed. Please try again." in answer.body
    assert (await parts.sessions.find()).items == []


@pytest.mark.gen_test
async def test_another_site_cannot_start_a_sign_in(browser: Browser) -> None:
    answer = await browser.get("/login/oidc", Sec_Fetch_Site="cross-site", Sec_Fetch_Mode="navigate")
    assert answer.code == 403


@pytest.mark.gen_test
@pytest.mark.parametrize("more", [{"oidc_only": True}], ids=["only"])
async def test_passwords_and_registration_can_be_switched_off(parts: Parts, browser: Browser, person: Person) -> None:
    page = (await browser.get("/login")).body
    assert b'name="password"' not in page
    assert b"/reg" not in page
    assert (await browser.log_in("ada")).code == 403
    assert [(await browser.get(path)).code for path in ("/reg", "/invite/x", "/forgot")] == [404] * 3
    await set_groups(person, "admins")
    assert (await sign_in(browser, person)).code == 303
    # Nor is an admin offered to give anybody a password.
    for path in ("/admin/operators", "/admin/users", f"/admin/user?tab=security&name={account_of(person)}"):
        page = (await browser.get(path)).body
        assert b"/admin/operators/invite" not in page
        assert b"/admin/reset" not in page
    with pytest.raises(NotPermitted):
        await parts.credentials.invite(SERVER, Role.VIEWER, "because")


@pytest.mark.gen_test
async def test_an_outage_of_the_provider_signs_nobody_out_and_keeps_nobody_from_signing_out(
    parts: Parts, browser: Browser, person: Person, clock: Clock
) -> None:
    await sign_in(browser, person)
    # Nobody listens there.
    parts.open_id = open_id_of(parts.options.model_copy(update={"oidc_issuer": "http://127.0.0.1:1"}), clock)
    answer = await browser.get("/login/oidc")
    assert (answer.code, answer.headers["Retry-After"]) == (503, "5")
    assert (await browser.get("/account")).code == 200
    assert (await browser.post("/logout", {})).code == 200
    assert (await browser.get("/account")).code == 302


@pytest.mark.gen_test
async def test_sessions_at_the_provider_are_forgotten_when_they_have_ended(
    parts: Parts, clock: Clock, browser: Browser
) -> None:
    for number in range(3):
        await parts.identities.bind("https://id.example", f"s{number}", f"h{number}", clock() + 100 * (number + 1))
    assert await parts.identities.handles_of("https://id.example", "s1") == ["h1"]
    clock.now += 250
    await parts.identities.bind("https://id.example", "s9", "h9", clock() + 100)
    kept = [await parts.identities.handles_of("https://id.example", f"s{number}") for number in (0, 1, 2, 9)]
    assert kept == [[], [], ["h2"], ["h9"]]


@pytest.mark.parametrize(
    ("flags", "fault"),
    [
        ({"oidc_issuer": "https://id.example"}, "needs --oidc-client-id and --public-url"),
        ({"oidc_only": True}, "needs --oidc-issuer"),
        ({"oidc_roles": "admins=king"}, "roles are viewer"),
        ({"oidc_roles": "admin"}, "roles are viewer"),
    ],
)
def test_settings_that_cannot_work_are_refused(flags: dict[str, Any], fault: str) -> None:
    with pytest.raises(ConfigError, match=fault):
        load({"store": "memory://", **flags})
