"""Tokens and answers that must sign nobody in or out: forged, old, for somebody else, too large, or none at all."""

from __future__ import annotations

import base64
import json
import re
import time
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote, urlencode

import pytest
from support.amount import only_long
from support.browser import Browser
from support.clock import Clock
from support.false_provider import CLIENT, EVENTS, SECRET, FalseProvider
from tornado.httpclient import AsyncHTTPClient, HTTPResponse
from tornado.web import Application

from tornado_sessions import ConfigError, Sessions
from tornado_sessions.oidc import OpenIDConnect
from tornado_sessions.request import RequestInfo


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
        provider.issuer, CLIENT, SECRET, redirect_url=f"{base_url}/callback", clock=clock, timeout=2
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
    {"nbf": NOW + 3600}, {"events": {}}, {"sid": 7}, {"sid": "s" * 256}, {"sid": "s\n"},
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
@pytest.mark.parametrize("algorithm", ["ES256", "ES384", "ES512", "Ed25519", "EdDSA", "PS256", "RS512"])
@pytest.mark.filterwarnings("ignore:EdDSA is deprecated")
async def test_tokens_of_every_accepted_algorithm_sign_in_and_out(
    browser: Browser, provider: FalseProvider, sessions: Sessions, algorithm: str
) -> None:
    provider.replace_key("other", algorithm)
    assert (await sign_in(browser, provider)).code == 302
    assert (await send_logout(browser, provider.logout_token())).code == 200
    assert await users(sessions) == []


@pytest.mark.gen_test
async def test_a_provider_may_change_to_a_key_of_another_kind_between_two_sign_ins(
    browser: Browser, provider: FalseProvider, clock: Clock
) -> None:
    for number, algorithm in enumerate(("RS256", "ES256", "Ed25519", "ES384", "RS256")):
        # All of them with the same name, so that only the kind of key tells them apart.
        provider.replace_key(f"k{number % 2}", algorithm)
        provider.claims = {"iat": int(clock())}
        assert (await sign_in(browser, provider)).code == 302, algorithm
        clock.now += 11


@pytest.mark.gen_test
async def test_a_key_is_used_with_its_own_algorithm_only(
    browser: Browser, provider: FalseProvider, sessions: Sessions
) -> None:
    provider.header = {"alg": "RS384"}
    assert (await sign_in(browser, provider)).code == 400
    assert await users(sessions) == []


@pytest.mark.gen_test
@pytest.mark.parametrize("secret", ["", SECRET], ids=["public", "secret"])
@pytest.mark.parametrize("registered", ["none", "client_secret_basic", "client_secret_post"])
async def test_the_client_proves_who_it_is_in_the_way_that_it_is_registered_with(
    app: Application,
    browser: Browser,
    provider: FalseProvider,
    base_url: str,
    clock: Clock,
    secret: str,
    registered: str,
) -> None:
    app.settings["oidc"] = OpenIDConnect(
        provider.issuer, CLIENT, secret, redirect_url=f"{base_url}/callback", clock=clock
    )
    both = ["private_key_jwt", "client_secret_post", "client_secret_basic"]
    provider.metadata = {"token_endpoint_auth_methods_supported": both}
    provider.authentication = registered
    is_right = (registered == "none") is not bool(secret)
    assert (await sign_in(browser, provider)).code == (302 if is_right else 503)
    if is_right:
        # The right way is known from now on.
        before = provider.asked["/token"]
        assert (await sign_in(browser, provider)).code == 302
        assert provider.asked["/token"] == before + 1


@pytest.mark.gen_test
async def test_a_hostile_description_of_an_error_reaches_no_page_and_no_log(
    browser: Browser, provider: FalseProvider, caplog: pytest.LogCaptureFixture
) -> None:
    hostile = quote("<script>alert(1)</script>\r\nSet-Cookie: a=b" + "x" * 8000)
    for error in ("server_error", "login_required", hostile):
        answer = await sign_in(browser, provider, f"&error={error}&error_description={hostile}&error_uri=javascript:1")
        assert answer.code == 400
        assert len(answer.body) < 200
        assert "a" not in browser.cookies
        assert not any(word in answer.body.decode() + caplog.text for word in ("script", "xxx", "Set-Cookie: a"))


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
    provider.userinfo = {"sub": "eve"}
    assert (await sign_in(browser, provider)).code == 400
    provider.answers["/userinfo"] = (401, b'{"error": "invalid_token"}')
    assert (await sign_in(browser, provider)).code == 400


DISCOVERY = "/.well-known/openid-configuration"
#: The requests for these are sent and read like the others.
MORE_PATHS = [pytest.param(path, marks=only_long) for path in ("/jwks", "/userinfo")]
BROKEN = [
    (500, b""),
    (200, b""),
    (200, b"[]"),
    (200, b"\xff"),
    (404, b"{}"),
    (302, b""),
    (200, b"{" * 100_000),
    (200, b" " * 300_000),
    (200, b"<html>Please sign in</html>"),
    (200, b"null"),
    (307, b""),
]


@pytest.mark.gen_test
@pytest.mark.parametrize("answer", BROKEN, ids=lambda answer: f"{answer[0]}-{len(answer[1])}")
@pytest.mark.parametrize("path", [DISCOVERY, "/token", *MORE_PATHS])
async def test_an_answer_that_cannot_be_used_is_an_outage_and_not_a_sign_out(
    browser: Browser, provider: FalseProvider, clock: Clock, path: str, answer: tuple[int, bytes]
) -> None:
    provider.answers[path] = answer
    provider.metadata = {"userinfo_endpoint": f"{provider.issuer}/userinfo"}
    started = await browser.get("/sign-in")
    if path != DISCOVERY:
        started = await browser.get(f"/callback?{provider.asked_for(started.headers['Location'])}")
    assert (started.code, started.headers["Retry-After"]) == (503, "5")
    provider.answers.clear()
    clock.now += 3
    assert (await sign_in(browser, provider)).code == 302


@pytest.mark.gen_test
@pytest.mark.parametrize("how", ["hanging", "dripping"])
@pytest.mark.parametrize("path", [DISCOVERY, "/token", *MORE_PATHS])
async def test_a_provider_that_is_too_slow_is_an_outage_after_a_bounded_time(
    app: Application, browser: Browser, provider: FalseProvider, base_url: str, clock: Clock, path: str, how: str
) -> None:
    provider.metadata = {"userinfo_endpoint": f"{provider.issuer}/userinfo"}
    app.settings["oidc"] = OpenIDConnect(
        provider.issuer, CLIENT, SECRET, redirect_url=f"{base_url}/callback", clock=clock, timeout=0.5
    )
    getattr(provider, how).add(path)
    began = time.monotonic()
    answer = await browser.get("/sign-in")
    if path != DISCOVERY:
        answer = await browser.get(f"/callback?{provider.asked_for(answer.headers['Location'])}")
    assert (answer.code, answer.headers["Retry-After"]) == (503, "5")
    assert time.monotonic() - began < 5


@pytest.mark.gen_test
async def test_a_response_can_be_tried_again_after_an_outage(
    browser: Browser, provider: FalseProvider, clock: Clock
) -> None:
    started = await browser.get("/sign-in")
    back = f"/callback?{provider.asked_for(started.headers['Location'])}"
    provider.answers["/token"] = (502, b"<h1>Bad gateway</h1>")
    assert (await browser.get(back)).code == 503
    provider.answers.clear()
    assert (await browser.get(back)).code == 302
    assert (await browser.get(back)).code == 400


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
        {"end_session_endpoint": "javascript:alert(1)"},
        {"end_session_endpoint": "https://id.example/\r\nSet-Cookie: a=b"},
        {"authorization_endpoint": "https://id.example/ x"},
        {"userinfo_endpoint": "https:///x"},
        {"userinfo_endpoint": "https://[x"},
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

_OTHER_EVENTS: list[Any] = [
    None,
    {},
    [*EVENTS],
    next(iter(EVENTS)),
    {"https://other.example/event": {}},
    dict.fromkeys(EVENTS),
]
WRONG_LOGOUTS: list[dict[str, Any]] = [
    {"iss": "https://other.example"}, {"iss": None}, {"aud": "other"}, {"aud": ["other"]}, {"aud": None}, {"azp": "other"},
    {"exp": NOW - 61}, {"exp": None}, {"iat": None}, {"iat": NOW + 3600}, {"exp": NOW + 10**6}, {"nbf": NOW + 3600},
    {"jti": None}, {"jti": ""}, {"jti": 7}, {"jti": "j" * 256}, {"sub": None, "sid": None}, {"sub": 7}, {"sid": 7},
    {"nonce": "n"}, {"nonce": ""}, *({"events": events} for events in _OTHER_EVENTS), {"header": {"typ": "at+jwt"}},
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
async def test_a_logout_token_without_a_subject_ends_the_sessions_of_its_sid(
    browser: Browser, provider: FalseProvider, sessions: Sessions
) -> None:
    twin, other, bob = (Browser(browser.client, browser.base) for _ in range(3))
    await sign_in(browser, provider)
    await sign_in(twin, provider)
    provider.claims = {"sid": "s2"}
    await sign_in(other, provider)
    provider.claims = {"sid": "s3", "sub": "bob"}
    await sign_in(bob, provider)
    assert (await send_logout(browser, provider.logout_token(sub=None))).code == 200
    assert sorted(await users(sessions)) == [f"{provider.issuer} ada", f"{provider.issuer} bob"]
    assert (await other.data())["oidc"]["sid"] == "s2"


@pytest.mark.gen_test
async def test_a_logout_token_ends_all_of_many_sessions(
    browser: Browser, provider: FalseProvider, sessions: Sessions
) -> None:
    """More than one page of a list."""
    user = f"{provider.issuer} ada"
    for name in (user, *[user] * 600, "bob"):
        await sessions.log_in(sessions.new_request_session(RequestInfo(sessions.clock())), name)
    assert (await send_logout(browser, provider.logout_token(sid=None))).code == 200
    assert await users(sessions) == ["bob"]


@pytest.mark.gen_test
async def test_a_logout_token_that_is_sent_again_to_another_process_ends_no_later_session(
    app: Application, browser: Browser, provider: FalseProvider, sessions: Sessions, base_url: str, clock: Clock
) -> None:
    tokens = [
        provider.logout_token(sid=None),
        provider.logout_token(jti="j2"),
        provider.logout_token(jti="j3", sub=None),
    ]
    for token in tokens:
        assert (await send_logout(browser, token)).code == 200
    clock.now += 61
    await sign_in(browser, provider)
    # Another process remembers none of them.
    app.settings["oidc"] = OpenIDConnect(provider.issuer, CLIENT, redirect_url=f"{base_url}/callback", clock=clock)
    for token in tokens:
        assert (await send_logout(browser, token)).code == 200
    assert len(await users(sessions)) == 1


@pytest.mark.gen_test
@pytest.mark.parametrize("size", [70_000, 1_000_000])
async def test_a_huge_logout_token_is_refused_before_its_key_is_looked_for(
    browser: Browser, provider: FalseProvider, size: int
) -> None:
    token = provider.logout_token(padding="x" * size)
    assert (await send_logout(browser, token)).code == 400
    assert (await send_logout(browser, "." * size)).code == 400
    assert provider.asked == {}


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
