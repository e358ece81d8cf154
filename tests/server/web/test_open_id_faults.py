"""The server with an OpenID provider that is wrong, slow or hostile, and logout tokens that must end no more than they say."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

import pytest
from argon2.profiles import CHEAPEST
from support.browser import Browser
from support.clock import Clock
from support.false_provider import CLIENT, SECRET, FalseProvider
from support.passwords import SECRET as SERVER_SECRET
from support.server_process import ServerProcess
from support.urls import COMMON_BACKENDS, url_of
from support.waiting import until
from tornado.httpclient import HTTPResponse
from tornado.simple_httpclient import HTTPStreamClosedError

from tornado_sessions.oidc import OpenIDConnect
from tornado_sessions.request import RequestInfo
from tornado_sessions.server.accounts.passwords import Passwords
from tornado_sessions.server.open_id import OpenID
from tornado_sessions.server.operations.action_names import Action
from tornado_sessions.server.operations.entries import AuditQuery
from tornado_sessions.server.parts import Parts
from tornado_sessions.server.roles import Role
from tornado_sessions.server.settings import ServerOptions

#: A flag separates several keys by commas.
KEY = SERVER_SECRET.replace(",", "")
DISCOVERY = "/.well-known/openid-configuration"


@pytest.fixture
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Most of what is tested here knows no store."""
    return url_of(getattr(request, "param", "memory"), request, tmp_path)


@pytest.fixture
def provider(io_loop: Any) -> Iterator[FalseProvider]:
    made = FalseProvider()
    yield made
    made.stop()


@pytest.fixture
def parts(
    url: str, clock: Clock, base_url: str, provider: FalseProvider, tmp_path: Path, io_loop: Any
) -> Iterator[Parts]:
    secret = tmp_path / "client-secret"
    secret.write_text(SECRET)
    options = ServerOptions(
        store=url, secret=[KEY], public_url=base_url, oidc_issuer=provider.issuer, oidc_client_id=CLIENT,
        oidc_client_secret_file=str(secret), oidc_roles="admins=admin",
    )  # fmt: skip
    made = Parts(options, passwords=Passwords(CHEAPEST), clock=clock)
    io_loop.run_sync(made.open)
    yield made
    io_loop.run_sync(made.close)


async def sign_in(browser: Browser, provider: FalseProvider, more: str = "", path: str = "/login/oidc") -> HTTPResponse:
    started = await browser.get(path)
    assert started.code == 303, started.body
    back = f"/login/oidc/callback?{provider.asked_for(started.headers['Location'])}{more}"
    return await browser.get(back, Sec_Fetch_Site="cross-site", Sec_Fetch_Mode="navigate")


async def send_logout(browser: Browser, token: str) -> HTTPResponse:
    stranger = Browser(browser.client, browser.base)
    body = urlencode({"logout_token": token})
    return await stranger.send("POST", "/login/oidc/logout", body, Content_Type="application/x-www-form-urlencoded")


async def is_in(browser: Browser) -> bool:
    return (await browser.get("/account")).code == 200


def give_patience(parts: Parts, browser: Browser, seconds: float) -> None:
    """Change how long the server waits for the provider."""
    callback, options = f"{browser.base}/login/oidc/callback", parts.options
    clock = parts.sessions.clock
    client = OpenIDConnect(
        options.oidc_issuer or "", CLIENT, SECRET, redirect_url=callback, clock=clock, timeout=seconds
    )
    parts.open_id = OpenID(client, options)


# --- strangers -----------------------------------------------------------------------------------------------------------


@pytest.mark.gen_test
async def test_strangers_store_nothing_by_starting_and_failing_to_sign_in(
    parts: Parts, browser: Browser, provider: FalseProvider
) -> None:
    for _ in range(30):
        await Browser(browser.client, browser.base).get("/login/oidc?next=/account")
    provider.header = {"alg": "none"}
    for more in ("", "&error=access_denied", "&code=second"):
        assert (await sign_in(browser, provider, more)).code == 400
    assert (await parts.sessions.count()).total == 0


@pytest.mark.gen_test
async def test_a_hostile_description_of_an_error_reaches_no_page_and_no_log(
    browser: Browser, provider: FalseProvider, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG")
    hostile = quote("<script>alert(1)</script>\r\nSet-Cookie: a=b" + "x" * 8000)
    for error in ("server_error", hostile):
        answer = await sign_in(browser, provider, f"&error={error}&error_description={hostile}&error_uri=javascript:1")
        assert answer.code == 400
        assert b"Signing in with 127.0.0.1 failed. Please try again." in answer.body
        assert "a" not in browser.cookies
        assert not any(word in answer.body.decode() + caplog.text for word in ("alert(1)", "xxx", "Set-Cookie: a"))


# --- outages -------------------------------------------------------------------------------------------------------------


@pytest.mark.gen_test
@pytest.mark.parametrize(
    ("path", "fault"),
    [
        (DISCOVERY, "hanging"), (DISCOVERY, "html"), ("/jwks", "huge"), ("/token", "dripping"), ("/token", "redirect"),
        ("/userinfo", "html"), ("/userinfo", "error"),
    ],
)  # fmt: skip
async def test_an_outage_of_the_provider_is_a_page_with_a_way_to_try_again(
    parts: Parts, browser: Browser, other: Browser, provider: FalseProvider, clock: Clock, fault: str, path: str
) -> None:
    provider.metadata = {"userinfo_endpoint": f"{provider.issuer}/userinfo"}
    provider.userinfo["groups"] = ["admins"]
    assert (await sign_in(browser, provider)).code == 303
    clock.now += 601
    answers = {
        "html": (200, b"<html>internal-host</html>"),
        "huge": (200, b" " * 300_000),
        "redirect": (302, b""),
        "error": (500, b"internal-host"),
    }
    if fault in answers:
        provider.answers[path] = answers[fault]
    else:
        getattr(provider, fault).add(path)
        give_patience(parts, browser, 0.5)
    provider.claims = {"iat": int(clock()), "exp": int(clock()) + 60}
    began = time.monotonic()
    page = "/login/oidc?next=/account"
    answer = await other.get(page)
    if path.startswith("/."):
        # Whoever is signed in, and asked for a proof, reads the same.
        assert (await browser.get("/login/oidc?prove=1")).code == 503
    else:
        page = f"/login/oidc/callback?{provider.asked_for(answer.headers['Location'])}"
        answer = await other.get(page)
    assert (answer.code, answer.headers["Retry-After"]) == (503, "5")
    assert time.monotonic() - began < 5
    body = answer.body.decode()
    assert "127.0.0.1 doesn&#x27;t answer at the moment." in body.replace("&#39;", "&#x27;")
    assert f'href="{page.replace("&", "&amp;")}"' in body
    assert not any(word in body for word in (provider.issuer, "internal-host", "Traceback", path))
    # Nobody is signed out and no role is lost, and the way to try again works.
    assert (await browser.get("/admin/")).code == 200
    provider.answers.clear()
    provider.hanging.clear()
    provider.dripping.clear()
    give_patience(parts, browser, 5)
    clock.now += 3
    answer = await other.get(page)
    assert answer.code == 303
    if path.startswith("/."):
        return
    assert await is_in(other)


# --- logout tokens -------------------------------------------------------------------------------------------------------

NOW = int(time.time())


@pytest.mark.gen_test
async def test_a_logout_token_without_a_subject_ends_the_sessions_of_its_sid_and_is_recorded(
    parts: Parts, browser: Browser, other: Browser, provider: FalseProvider
) -> None:
    await sign_in(browser, provider)
    provider.claims = {"sid": "s2"}
    await sign_in(other, provider)
    user = (await parts.sessions.find()).items[0].user or ""
    assert (await send_logout(browser, provider.logout_token(sub=None))).code == 200
    assert (await is_in(browser), await is_in(other)) == (False, True)
    found = await parts.audit.entries(AuditQuery(who=user, act=Action.LOG_OUT))
    assert [entry.target for entry in found] == [provider.issuer]


@pytest.mark.gen_test
async def test_a_logout_token_of_a_subject_ends_all_of_many_sessions(
    parts: Parts, browser: Browser, provider: FalseProvider
) -> None:
    await sign_in(browser, provider)
    user = (await parts.sessions.find()).items[0].user or ""
    for name in ("bob", *[user] * 600):
        await parts.sessions.log_in(parts.sessions.new_request_session(RequestInfo(parts.sessions.clock())), name)
    assert (await send_logout(browser, provider.logout_token(sid=None))).code == 200
    assert [session.user for session in (await parts.sessions.find()).items] == ["bob"]


@pytest.mark.gen_test
async def test_a_session_that_the_provider_ends_during_the_sign_in_does_not_begin(
    parts: Parts, browser: Browser, provider: FalseProvider
) -> None:
    """The logout token arrives after the code was redeemed, and before there is a session to end."""
    assert (await send_logout(browser, provider.logout_token())).code == 200
    answer = await sign_in(browser, provider)
    assert (answer.code, answer.headers["Location"]) == (303, "/login")
    assert (await parts.sessions.find()).items == []
    provider.claims = {"sid": "s2"}
    await sign_in(browser, provider)
    assert await is_in(browser)


@pytest.mark.gen_test
@pytest.mark.parametrize(
    "wrong",
    [
        {"header": {"alg": "none"}}, {"header": {"alg": "HS256"}}, {"nonce": "n"}, {"events": {}}, {"iss": "https://other.example"},
        {"aud": "other"}, {"iat": NOW + 3600}, {"exp": NOW - 61}, {"jti": None},
    ],
    ids=lambda wrong: next(iter(wrong)),
)  # fmt: skip
async def test_a_wrong_logout_token_ends_nothing(
    browser: Browser, provider: FalseProvider, wrong: dict[str, Any]
) -> None:
    await sign_in(browser, provider)
    answer = await send_logout(browser, provider.logout_token(**wrong))
    assert (answer.code, answer.headers["Cache-Control"]) == (400, "no-store")
    assert await is_in(browser)


@pytest.mark.gen_test
@pytest.mark.parametrize("size", [60_000, 3_000_000])
async def test_a_huge_body_ends_nothing_and_asks_the_provider_nothing(
    browser: Browser, provider: FalseProvider, size: int
) -> None:
    await sign_in(browser, provider)
    asked = dict(provider.asked)
    answer = await send_logout(browser, provider.logout_token(padding="x" * size))
    assert answer.code in (400, 413)
    assert provider.asked == asked
    assert await is_in(browser)


@pytest.mark.gen_test
async def test_a_logout_token_is_obeyed_once_by_all_processes(
    parts: Parts, browser: Browser, provider: FalseProvider
) -> None:
    token = provider.logout_token()
    assert (await send_logout(browser, token)).code == 200
    # What the store remembers, no other process has in memory.
    give_patience(parts, browser, 5)
    assert (await send_logout(browser, token)).code == 400


@pytest.mark.gen_test
@pytest.mark.parametrize("url", COMMON_BACKENDS[1:], indirect=True)
async def test_a_logout_closes_the_streams_of_another_server_process_within_a_second(
    parts: Parts, browser: Browser, provider: FalseProvider, tmp_path: Path
) -> None:
    """The token is sent to one process only, and the other one refuses it afterwards."""
    provider.claims = {"groups": ["admins"]}
    await sign_in(browser, provider)
    flags = {
        "store": parts.options.store, "secret": KEY, "public-url": browser.base, "oidc-issuer": provider.issuer,
        "oidc-client-id": CLIENT, "oidc-client-secret-file": str(tmp_path / "client-secret"),
    }  # fmt: skip
    another = ServerProcess(tmp_path, *(text for name, value in flags.items() for text in (f"--{name}", value)))
    try:
        twin = browser.copy()
        twin.base, host = another.url, browser.base.removeprefix("http://")
        cookies = "; ".join(f"{name}={value}" for name, value in browser.cookies.items())
        chunks: list[bytes] = []
        stream = twin.client.fetch(
            f"{another.url}/admin/live",
            headers={"Cookie": cookies, "Host": host},
            streaming_callback=chunks.append,
            request_timeout=30,
        )
        await until(lambda: chunks, "the stream")
        token = provider.logout_token()
        assert (await send_logout(browser, token)).code == 200
        began = time.monotonic()
        with pytest.raises(HTTPStreamClosedError):
            await stream
        assert time.monotonic() - began < 1
        assert (await twin.get("/account", Host=host)).code == 302
        body = urlencode({"logout_token": token})
        form = "application/x-www-form-urlencoded"
        assert (await twin.send("POST", "/login/oidc/logout", body, Content_Type=form, Host=host)).code == 400
    finally:
        another.stop()


# --- the ID token --------------------------------------------------------------------------------------------------------


@pytest.mark.gen_test
async def test_the_id_token_and_what_it_says_are_in_no_page_log_or_export(
    parts: Parts, browser: Browser, provider: FalseProvider, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG")
    provider.metadata = {"end_session_endpoint": f"{provider.issuer}/end"}
    provider.claims = {"groups": ["admins"], "phone_number": "+31 6 canary", "auth_time": int(time.time())}
    assert (await sign_in(browser, provider)).code == 303
    raw = provider.id_token()
    payload = raw.split(".")[1]
    (session,) = (await parts.sessions.find()).items
    assert session.user is not None
    values = await parts.sessions.values_of(session.handle)
    user = await parts.accounts.get(session.user)
    assert user is not None
    assert user.role is Role.ADMIN
    said = [str(values), str(user), caplog.text]
    paths = ["/account", "/account/security", "/account/profile", "/account/remove", "/admin/", "/admin/audit"]
    paths += [f"/admin/sessions/{session.handle}", f"/admin/user?name={user.name}", "/admin/sessions.csv"]
    paths += [
        "/admin/sessions.jsonl",
        "/admin/audit.csv",
        "/admin/api/sessions",
        f"/admin/api/sessions/{session.handle}",
    ]
    for path in paths:
        answer = await browser.get(path)
        assert answer.code == 200, path
        said.append(answer.body.decode())
    revealed = await browser.post(f"/admin/sessions/{session.handle}/values", {"reason": "because"})
    assert revealed.code == 200
    assert b"oidc" in revealed.body
    out = await browser.post("/logout", {})
    said += [revealed.body.decode(), out.body.decode(), caplog.text]
    for text in said:
        assert not any(secret in text for secret in (raw, payload[:60], "canary")), text[:200]


@pytest.mark.gen_test
async def test_the_hint_goes_to_the_provider_in_a_header_and_not_on_the_page(
    browser: Browser, provider: FalseProvider
) -> None:
    provider.metadata = {"end_session_endpoint": f"{provider.issuer}/end"}
    await sign_in(browser, provider)
    out = await browser.post("/logout", {})
    hint = re.search(r"id_token_hint=([^&]+)", out.headers["Refresh"])
    assert hint is not None
    assert hint[1].encode() not in out.body
    assert b"post_logout_redirect_uri=" in out.body
