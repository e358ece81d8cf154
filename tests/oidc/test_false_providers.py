"""Tokens and answers that must sign nobody in or out: forged, old, for somebody else, too large, or none at all."""

from __future__ import annotations

import base64
import json
import re
import time
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlencode

import pytest
from support.browser import Browser
from support.clock import Clock
from support.false_provider import CLIENT, EVENTS, FalseProvider
from tornado.httpclient import AsyncHTTPClient, HTTPResponse
from tornado.web import Application

from tornado_sessions import ConfigError, Sessions
from tornado_sessions.oidc import OpenIDConnect


@pytest.fixture
def provider(io_loop: Any) -> Iterator[FalseProvider]:
    made = FalseProvider()
    yield made
    made.stop()


@pytest.fixture
def browser(
    app: Application, provider: FalseProvider, http_client: AsyncHTTPClient, base_url: str, clock: Clock
) -> Browser:
    app.settings["oidc"] = OpenIDConnect(
        provider.issuer, CLIENT, "s", redirect_url=f"{base_url}/callback", clock=clock, timeout=2
    )
    return Browser(http_client, base_url)


async def sign_in(browser: Browser, provider: FalseProvider, more: str = "", path: str = "/sign-in") -> HTTPResponse:
    started = await browser.get(path)
    assert started.code == 302, started.body
    return await browser.get(f"/callback?{provider.asked_for(started.headers['Location'])}{more}")


async def send_logout(browser: Browser, token: str) -> HTTPResponse:
    stranger = Browser(browser.client, browser.base)
    body = urlencode({"logout_token": token})
    return await stranger.send("POST", "/back-channel", body, Content_Type="application/x-www-form-urlencoded")


async def users(sessions: Sessions) -> list[str]:
    return [session.user for session in (await sessions.find()).items if session.user]


NOW = int(time.time())


def named(claims: object) -> str:
    """The name of a test: without the time, which is another one in each worker of pytest-xdist."""
    return re.sub(r"\b1\d{9}\b", lambda found: f"now{int(found[0]) - NOW:+}", str(claims))


WRONG_CLAIMS: list[dict[str, Any]] = [
    {"iss": "https://other.example"}, {"iss": None}, {"aud": "other"}, {"aud": None}, {"aud": []}, {"aud": 7},
    {"aud": [CLIENT, "other"]}, {"aud": [CLIENT, "other"], "azp": "other"}, {"azp": "other"}, {"nonce": "n"}, {"nonce": None},
    {"nonce": 7}, {"exp": NOW - 61}, {"exp": None}, {"exp": "9999999999"}, {"exp": True}, {"iat": NOW + 3600}, {"iat": NOW - 3600},
    {"iat": None}, {"sub": None}, {"sub": ""}, {"sub": 7}, {"sub": "a" * 256}, {"sub": "a\n"}, {"at_hash": "x"},
    {"nbf": NOW + 3600}, {"events": {}},
]  # fmt: skip


@pytest.mark.gen_test
@pytest.mark.parametrize("claims", WRONG_CLAIMS, ids=named)
async def test_an_id_token_with_a_wrong_claim_signs_nobody_in(
    browser: Browser, provider: FalseProvider, sessions: Sessions, claims: dict[str, Any]
) -> None:
    provider.claims = claims
    assert (await sign_in(browser, provider)).code == 400
    assert await users(sessions) == []


@pytest.mark.gen_test
@pytest.mark.parametrize(
    "header", [{"alg": "none"}, {"alg": "HS256"}, {"typ": "logout+jwt"}, {"kid": "unknown"}], ids=str
)
async def test_an_id_token_with_another_algorithm_key_or_type_signs_nobody_in(
    browser: Browser, provider: FalseProvider, sessions: Sessions, header: dict[str, Any]
) -> None:
    provider.header = header
    assert (await sign_in(browser, provider)).code == 400
    assert await users(sessions) == []


@pytest.mark.gen_test
async def test_usual_tokens_sign_in_also_with_clocks_that_differ_by_less_than_a_minute(
    browser: Browser, provider: FalseProvider, sessions: Sessions
) -> None:
    for claims in ({}, {"iat": NOW + 50}, {"exp": int(time.time()) - 50}, {"aud": [CLIENT, "api"], "azp": CLIENT}):
        provider.claims = claims
        assert (await sign_in(browser, provider)).code == 302
    assert await users(sessions) == [f"{provider.issuer} ada"]


@pytest.mark.gen_test
async def test_a_changed_token_and_a_token_of_another_key_of_the_same_name_sign_nobody_in(
    browser: Browser, provider: FalseProvider, sessions: Sessions
) -> None:
    other = provider.new_key("another").as_dict(private=False)
    provider.answers["/jwks"] = (200, json.dumps({"keys": [{**other, "kid": "first"}]}).encode())
    assert (await sign_in(browser, provider)).code == 400
    for answer in (b"a.b", b"a.b.c", b"", b"\xff", b"." * 10, b"A" * 70_000):
        provider.answers["/token"] = (200, json.dumps({"id_token": base64.b64encode(answer).decode()}).encode())
        assert (await sign_in(browser, provider)).code == 400
    assert await users(sessions) == []


@pytest.mark.gen_test
async def test_a_replaced_key_is_fetched_again_but_made_up_keys_do_not_flood_the_provider(
    browser: Browser, provider: FalseProvider, clock: Clock
) -> None:
    assert (await sign_in(browser, provider)).code == 302
    clock.now += 11
    provider.key = provider.new_key("second")
    provider.published.append(provider.key)
    assert (await sign_in(browser, provider)).code == 302
    before = provider.asked["/jwks"]
    for number in range(20):
        provider.header = {"kid": f"made-up-{number}"}
        assert (await send_logout(browser, provider.logout_token(provider.header))).code == 400
    assert provider.asked["/jwks"] == before == 2


@pytest.mark.gen_test
async def test_a_withdrawn_key_stops_working(browser: Browser, provider: FalseProvider, clock: Clock) -> None:
    assert (await sign_in(browser, provider)).code == 302
    provider.published = [provider.new_key("second")]
    clock.now += 540  # the token of the false provider is as old, then
    clock.now += 61
    provider.claims = {"iat": int(clock()), "exp": int(clock()) + 60}
    assert (await sign_in(browser, provider)).code == 400


@pytest.mark.gen_test
async def test_weak_private_and_broken_keys_are_left_out_and_cost_nothing_else(
    browser: Browser, provider: FalseProvider
) -> None:
    good, weak = provider.key.as_dict(private=False), {"kty": "RSA", "e": "AQAB", "n": "u" * 171, "kid": "first"}
    keys = [weak, {"kty": "RSA", "kid": "x"}, {}, {"kty": 7}, {"kty": "oct", "k": "AA"}, {**good, "use": "enc"}, good]
    provider.answers["/jwks"] = (200, json.dumps({"keys": keys}).encode())
    assert (await sign_in(browser, provider)).code == 302


@pytest.mark.gen_test
@pytest.mark.parametrize("more", ["&iss=https://other.example", "&code=d", "&error=access_denied", "&error=<script>"])
async def test_an_answer_of_another_provider_or_with_two_codes_is_refused(
    browser: Browser, provider: FalseProvider, sessions: Sessions, more: str
) -> None:
    answer = await sign_in(browser, provider, more)
    assert answer.code == 400
    assert b"script" not in answer.body
    assert "/token" not in provider.asked
    assert await users(sessions) == []


@pytest.mark.gen_test
async def test_a_sign_in_at_one_provider_cannot_be_finished_at_the_callback_of_another(
    app: Application, browser: Browser, provider: FalseProvider, base_url: str, clock: Clock
) -> None:
    """Mix-up (RFC 9700, section 4.4): each of an application's clients knows its own sign-ins only."""
    first = app.settings["oidc"]
    started = await browser.get("/sign-in")
    others = [
        OpenIDConnect("https://other.example", CLIENT, redirect_url=f"{base_url}/callback", clock=clock),
        OpenIDConnect(provider.issuer, "client-2", redirect_url=f"{base_url}/callback", clock=clock),
        OpenIDConnect(provider.issuer, CLIENT, redirect_url=f"{base_url}/callback/2", clock=clock),
    ]
    back = f"/callback?{provider.asked_for(started.headers['Location'])}"
    for other in others:
        app.settings["oidc"] = other
        assert (await browser.get(back)).code == 400
    assert "/token" not in provider.asked
    app.settings["oidc"] = first
    assert (await browser.get(back)).code == 302


@pytest.mark.gen_test
async def test_a_provider_that_promises_to_name_itself_must_do_so(browser: Browser, provider: FalseProvider) -> None:
    provider.metadata = {"authorization_response_iss_parameter_supported": True}
    assert (await sign_in(browser, provider)).code == 400
    assert (await sign_in(browser, provider, f"&iss={provider.issuer}")).code == 302


@pytest.mark.gen_test
async def test_the_user_info_of_another_user_signs_nobody_in(browser: Browser, provider: FalseProvider) -> None:
    provider.metadata = {"userinfo_endpoint": f"{provider.issuer}/userinfo"}
    assert (await sign_in(browser, provider)).code == 400


DISCOVERY = "/.well-known/openid-configuration"
BROKEN = [
    (500, b""),
    (200, b""),
    (200, b"[]"),
    (200, b"\xff"),
    (404, b"{}"),
    (302, b""),
    (200, b"{" * 100_000),
    (200, b" " * 300_000),
]


@pytest.mark.gen_test
@pytest.mark.parametrize("answer", BROKEN, ids=lambda answer: f"{answer[0]}-{len(answer[1])}")
@pytest.mark.parametrize("path", [DISCOVERY, "/jwks", "/token"])
async def test_an_answer_that_cannot_be_used_is_an_outage_and_not_a_sign_out(
    browser: Browser, provider: FalseProvider, clock: Clock, path: str, answer: tuple[int, bytes]
) -> None:
    provider.answers[path] = answer
    started = await browser.get("/sign-in")
    if path != DISCOVERY:
        started = await browser.get(f"/callback?{provider.asked_for(started.headers['Location'])}")
    assert (started.code, started.headers["Retry-After"]) == (503, "5")
    provider.answers.clear()
    clock.now += 3
    assert (await sign_in(browser, provider)).code == 302


@pytest.mark.gen_test
async def test_a_provider_that_is_down_is_an_outage_and_who_is_signed_in_stays_so(
    browser: Browser, provider: FalseProvider, clock: Clock
) -> None:
    await sign_in(browser, provider)
    provider.stop()
    clock.now += 601
    for _ in range(3):
        assert (await browser.get("/sign-in")).code == 503
    assert (await browser.data())["oidc"]["subject"] == "ada"


@pytest.mark.gen_test
@pytest.mark.parametrize(
    "metadata",
    [
        {"issuer": "https://other.example"},
        {"token_endpoint": "http://other.example/token"},
        {"jwks_uri": "file:///etc/passwd"},
    ],
    ids=named,
)
async def test_the_metadata_of_another_provider_are_not_used(
    browser: Browser, provider: FalseProvider, metadata: dict[str, str]
) -> None:
    provider.metadata = metadata
    code = (await browser.get("/sign-in")).code
    assert code == (302 if "token_endpoint" in metadata else 503)


@pytest.mark.gen_test
async def test_a_secret_of_the_client_is_in_no_message_and_no_log(
    browser: Browser, provider: FalseProvider, caplog: pytest.LogCaptureFixture
) -> None:
    provider.answers["/token"] = (401, b'{"error": "invalid_client", "error_description": "the secret s3cr3t"}')
    answer = await sign_in(browser, provider)
    assert answer.code == 503
    assert "s3cr3t" not in caplog.text + answer.body.decode()
    assert "invalid_client" in caplog.text


@pytest.mark.gen_test
async def test_without_a_proof_no_recent_sign_in_is_accepted_as_one(browser: Browser, provider: FalseProvider) -> None:
    await sign_in(browser, provider)
    for claims in (
        {},
        {"auth_time": int(time.time()) - 120},
        {"auth_time": "now"},
        {"auth_time": int(time.time()) + 3600},
    ):
        provider.claims = claims
        assert (await sign_in(browser, provider, path="/sign-in?prove")).code == 400
    provider.claims = {"auth_time": int(time.time())}
    assert (await sign_in(browser, provider, path="/sign-in?prove")).code == 302


# --- back-channel logout -------------------------------------------------------------------------------------------------

WRONG_LOGOUTS: list[dict[str, Any]] = [
    {"iss": "https://other.example"}, {"aud": "other"}, {"exp": NOW - 61}, {"exp": None}, {"iat": None}, {"iat": NOW + 3600},
    {"exp": NOW + 10**6}, {"jti": None}, {"jti": ""}, {"jti": 7}, {"sub": None, "sid": None}, {"sub": 7}, {"events": None},
    {"events": {}}, {"events": [*EVENTS]}, {"nonce": "n"}, {"header": {"typ": "at+jwt"}},
    {"header": {"alg": "none"}}, {"header": {"alg": "HS256"}}, {"header": {"kid": "other"}},
]  # fmt: skip


@pytest.mark.gen_test
@pytest.mark.parametrize("claims", WRONG_LOGOUTS, ids=named)
async def test_a_logout_token_that_is_wrong_ends_nothing(
    browser: Browser, provider: FalseProvider, sessions: Sessions, claims: dict[str, Any]
) -> None:
    await sign_in(browser, provider)
    answer = await send_logout(browser, provider.logout_token(**claims))
    assert (answer.code, answer.headers["Cache-Control"]) == (400, "no-store")
    assert json.loads(answer.body)["error"] == "invalid_request"
    assert len(await users(sessions)) == 1


@pytest.mark.gen_test
async def test_an_id_token_is_no_logout_token(browser: Browser, provider: FalseProvider, sessions: Sessions) -> None:
    await sign_in(browser, provider)
    assert (await send_logout(browser, provider.id_token())).code == 400
    assert len(await users(sessions)) == 1


@pytest.mark.gen_test
async def test_a_logout_token_of_a_subject_ends_all_of_its_sessions_once(
    browser: Browser, provider: FalseProvider, sessions: Sessions
) -> None:
    other = Browser(browser.client, browser.base)
    for each in (browser, other):
        await sign_in(each, provider)
    token = provider.logout_token(sid=None)
    answer = await send_logout(browser, token)
    assert (answer.code, answer.body, answer.headers["Cache-Control"]) == (200, b"", "no-store")
    assert await users(sessions) == []
    await sign_in(browser, provider)
    assert (await send_logout(browser, token)).code == 400
    assert len(await users(sessions)) == 1


@pytest.mark.gen_test
async def test_a_logout_token_of_a_session_leaves_others_of_the_subject(
    browser: Browser, provider: FalseProvider, sessions: Sessions
) -> None:
    other = Browser(browser.client, browser.base)
    await sign_in(browser, provider)
    provider.claims = {"sid": "s2"}
    await sign_in(other, provider)
    assert (await send_logout(browser, provider.logout_token(sid="s2"))).code == 200
    assert (await other.get("/read")).body == b'{"user": null, "data": {}}'
    assert (await browser.data())["oidc"]["sid"] == "s1"


@pytest.mark.gen_test
async def test_a_logout_token_of_somebody_unknown_is_obeyed_without_effect(
    browser: Browser, provider: FalseProvider
) -> None:
    assert (await send_logout(browser, provider.logout_token(sub="nobody"))).code == 200


@pytest.mark.parametrize(
    "issuer", ["http://id.example.com", "id.example.com", "https://", "https://a@b.example", "https://x?y", "file:///x"]
)
def test_an_issuer_without_https_is_refused_at_the_start(issuer: str) -> None:
    with pytest.raises(ConfigError, match="issuer"):
        OpenIDConnect(issuer, "c", redirect_url="https://app.example/callback")
