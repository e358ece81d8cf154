"""The library's client at a real provider: who signs in, who does not, and how the provider signs people out."""

from __future__ import annotations

import base64
import re
from urllib.parse import parse_qs, urlsplit

import pytest
from oidc.conftest import sign_in
from support.browser import Browser
from support.clock import Clock
from support.oidc_provider import Person, path_of
from support.passwords import SECRET
from tornado.httpclient import AsyncHTTPClient, HTTPRequest
from tornado.websocket import websocket_connect

from tornado_sessions import SessionConfig, Sessions
from tornado_sessions.oidc import OpenIDConnect


@pytest.mark.gen_test
async def test_who_signs_in_at_the_provider_is_signed_in_with_their_groups(
    browser: Browser, person: Person, sessions: Sessions, oidc: OpenIDConnect
) -> None:
    await sign_in(browser, person)
    (found,) = (await sessions.find()).items
    account = person.browser.headers["X-Account"]
    assert found.user == f"{oidc.issuer} {account}"
    kept = await browser.data()
    assert kept["groups"] == ["staff"]
    assert kept.keys() == {"groups", "oidc"}


@pytest.mark.gen_test
async def test_a_response_is_accepted_once_and_in_the_browser_that_asked_for_it(
    browser: Browser, person: Person
) -> None:
    started = await browser.get("/sign-in")
    back = path_of(await person.follow(started.headers["Location"]))
    thief = Browser(browser.client, browser.base)
    await thief.get("/sign-in")
    assert (await thief.get(back)).code == 400
    assert (await browser.get(back)).code == 302
    repeated = await browser.get(back)
    assert repeated.code == 400
    assert b"started in another browser" in repeated.body


@pytest.mark.gen_test
async def test_each_tab_finishes_its_own_sign_in(browser: Browser, person: Person) -> None:
    first, second = await browser.get("/sign-in?next=/first"), await browser.get("/sign-in?next=/second")
    for started, path in ((second, "/second"), (first, "/first")):
        answer = await browser.get(path_of(await person.follow(started.headers["Location"])))
        assert answer.headers["Location"] == path


@pytest.mark.gen_test
async def test_a_sign_in_that_takes_too_long_has_expired(browser: Browser, person: Person, clock: Clock) -> None:
    started = await browser.get("/sign-in")
    back = path_of(await person.follow(started.headers["Location"]))
    clock.now += 901
    assert (await browser.get(back)).code == 400


def flows(browser: Browser) -> list[str]:
    return [name for name in browser.cookies if name.removeprefix("__Host-").startswith("oidc_")]


@pytest.mark.gen_test
async def test_whoever_starts_sign_ins_stores_nothing_and_keeps_a_bounded_number_of_cookies(
    browser: Browser, person: Person, sessions: Sessions
) -> None:
    for _ in range(30):
        started = await browser.get(f"/sign-in?next=/{'a' * 700}")
        assert started.headers["Cache-Control"] == "no-store"
    assert (await sessions.find()).items == []
    assert 3 <= len(flows(browser)) < 10
    assert sum(len(name) + len(browser.cookies[name]) for name in flows(browser)) <= 4096
    # The newest one is among them.
    back = path_of(await person.follow(started.headers["Location"]))
    assert (await browser.get(back)).headers["Location"] == f"/{'a' * 700}"


@pytest.mark.gen_test
async def test_the_cookie_of_a_flow_hides_it_and_cannot_be_changed_or_used_for_another(
    browser: Browser, person: Person
) -> None:
    first, second = await browser.get("/sign-in"), await browser.get("/sign-in")
    assert all(word in first.headers["Set-Cookie"] for word in ("HttpOnly", "SameSite=Lax", "Max-Age=900", "Path=/"))
    values = [browser.cookies[name] for name in flows(browser)]
    decoded = base64.urlsafe_b64decode(values[0] + "===")
    assert b"nonce" not in decoded
    for forged in (
        values[1],
        values[0][:-2],
        values[0][:-1] + ("A" if values[0][-1] != "A" else "Q"),
        "",
        "e30",
        "\u00e9",
    ):
        browser.cookies[flows(browser)[0]] = forged
        back = path_of(await person.follow(first.headers["Location"]))
        assert (await browser.get(back)).code == 400
    assert (await browser.get(path_of(await person.follow(second.headers["Location"])))).code == 302


@pytest.mark.gen_test
async def test_cookies_of_other_servers_of_the_host_are_left_alone(browser: Browser) -> None:
    browser.cookies |= {f"oidc_{number}": "x" * 900 for number in range(6)}
    for _ in range(30):
        await browser.get("/sign-in")
    assert all(f"oidc_{number}" in browser.cookies for number in range(6))


@pytest.mark.gen_test
async def test_a_copy_of_a_browser_cannot_finish_its_sign_in_once_more(
    browser: Browser, person: Person, sessions: Sessions
) -> None:
    started = await browser.get("/sign-in")
    thief = browser.copy()
    back = path_of(await person.follow(started.headers["Location"]))
    assert (await browser.get(back)).code == 302
    assert flows(browser) == []
    assert (await thief.get(back)).code == 400
    assert len((await sessions.find()).items) == 1


@pytest.mark.gen_test
async def test_a_code_that_is_injected_into_another_sign_in_signs_nobody_in(
    browser: Browser, person: Person, http_client: AsyncHTTPClient, oidc: OpenIDConnect, sessions: Sessions
) -> None:
    """The code of one browser is worth nothing in another (PKCE, RFC 9700 section 4.5)."""
    eve = Person(http_client, oidc.issuer, "eve")
    thief = Browser(browser.client, browser.base)
    stolen = parse_qs(urlsplit(await eve.follow((await thief.get("/sign-in")).headers["Location"])).query)["code"][0]
    back = path_of(await person.follow((await browser.get("/sign-in")).headers["Location"]))
    assert (await browser.get(re.sub(r"code=[^&]+", f"code={stolen}", back))).code == 400
    assert (await sessions.find()).items == []


@pytest.mark.gen_test
@pytest.mark.parametrize(
    "path", ["//evil.example", "https://evil.example", "/\\evil.example", "/a%0d%0ab", "javascript:x"]
)
async def test_a_sign_in_leads_to_paths_of_this_site_only(browser: Browser, person: Person, path: str) -> None:
    started = await browser.get(f"/sign-in?next={path}")
    answer = await browser.get(path_of(await person.follow(started.headers["Location"])))
    assert answer.headers["Location"] == "/home"


@pytest.mark.gen_test
async def test_who_is_refused_at_the_provider_is_told_so_and_is_not_signed_in(
    browser: Browser, person: Person, sessions: Sessions
) -> None:
    person.browser.headers["X-Account"] = ""
    started = await browser.get("/sign-in")
    answer = await browser.get(path_of(await person.follow(started.headers["Location"])))
    assert (answer.code, answer.body) == (400, b"the provider has refused access")
    assert all(session.user is None for session in (await sessions.find()).items)


@pytest.mark.gen_test
async def test_the_request_uses_pkce_and_a_nonce_and_a_state_of_its_own(browser: Browser) -> None:
    asked = [parse_qs(urlsplit((await browser.get("/sign-in")).headers["Location"]).query) for _ in range(2)]
    for name in ("state", "nonce", "code_challenge"):
        assert asked[0][name] != asked[1][name]
        assert len(asked[0][name][0]) >= 43
    assert asked[0]["code_challenge_method"] == ["S256"]


@pytest.mark.gen_test
async def test_a_proof_asks_again_and_says_when_it_was_given(browser: Browser, person: Person, clock: Clock) -> None:
    await sign_in(browser, person)
    started = await browser.get("/sign-in?prove")
    query = parse_qs(urlsplit(started.headers["Location"]).query)
    assert (query["prompt"], query["max_age"]) == (["login"], ["0"])
    await browser.get(path_of(await person.follow(started.headers["Location"])))
    assert abs((await browser.data())["proved_at"] - clock()) < 60


@pytest.mark.gen_test
async def test_an_old_sign_in_at_the_provider_is_no_proof(browser: Browser, person: Person, clock: Clock) -> None:
    await sign_in(browser, person)
    # The provider would say that it has asked, but some time before we did.
    clock.now += 120
    started = await browser.get("/sign-in?prove")
    answer = await browser.get(path_of(await person.follow(started.headers["Location"])))
    assert answer.code == 400


@pytest.mark.gen_test
async def test_signing_out_here_signs_out_at_the_provider_and_everywhere_else(
    browser: Browser, person: Person, sessions: Sessions
) -> None:
    await sign_in(browser, person)
    elsewhere = Browser(browser.client, browser.base)
    await sign_in(elsewhere, person)
    request = HTTPRequest(f"ws{browser.base[4:]}/socket", headers={"Cookie": f"sid={elsewhere.cookie}"})
    socket = await websocket_connect(request)
    out = await browser.get("/sign-out")
    assert "id_token_hint=" in out.headers["Location"]
    await person.sign_out(out.headers["Location"])
    assert (await sessions.find()).items == []
    assert await socket.read_message() is None
    socket.close()


@pytest.mark.gen_test
async def test_a_session_of_another_sign_in_at_the_provider_goes_on(
    browser: Browser, person: Person, sessions: Sessions
) -> None:
    """A logout token with a sid ends the sessions of that browser, not those of the same user's phone."""
    await sign_in(browser, person)
    phone = Browser(browser.client, browser.base)
    await sign_in(phone, person.elsewhere())
    await person.sign_out((await browser.get("/sign-out")).headers["Location"])
    assert len((await sessions.find()).items) == 1
    assert (await phone.data())["groups"] == ["staff"]


@pytest.mark.gen_test
@pytest.mark.parametrize(
    "registered",
    [
        {"token_endpoint_auth_method": "none"},
        {"token_endpoint_auth_method": "client_secret_post"},
        {"id_token_signed_response_alg": "ES256"},
        {"id_token_signed_response_alg": "Ed25519"},
    ],
    ids=lambda given: " ".join(given.values()),
)
async def test_clients_that_are_registered_differently_sign_in_and_out(
    browser: Browser, person: Person, sessions: Sessions
) -> None:
    await sign_in(browser, person)
    await person.sign_out((await browser.get("/sign-out?stay")).headers["Location"])
    assert (await sessions.find()).items == []


@pytest.mark.gen_test
@pytest.mark.parametrize("registered", [{"id_token_signed_response_alg": "HS256"}], ids=["HS256"])
async def test_tokens_that_are_signed_with_the_secret_of_the_client_sign_nobody_in(
    browser: Browser, person: Person, sessions: Sessions
) -> None:
    started = await browser.get("/sign-in")
    assert (await browser.get(path_of(await person.follow(started.headers["Location"])))).code == 400
    assert (await sessions.find()).items == []


@pytest.mark.gen_test
@pytest.mark.parametrize("config", [SessionConfig(secret=SECRET, secure=True)], ids=["secure"])
async def test_no_other_host_can_set_the_cookie_of_a_secure_application(browser: Browser, person: Person) -> None:
    started = await browser.get("/sign-in")
    assert re.match(r"__Host-oidc_[\w-]{43}=.*; Path=/; SameSite=Lax; Secure", started.headers["Set-Cookie"])
    back = path_of(await person.follow(started.headers["Location"]))
    twin = browser.copy()
    twin.cookies = {name.removeprefix("__Host-"): value for name, value in browser.cookies.items()}
    assert (await twin.get(back)).code == 400
    done = await browser.get(back)
    removed = next(line for line in done.headers.get_list("Set-Cookie") if line.startswith("__Host-oidc"))
    assert "oidc_" in removed
    assert "Secure" in removed
    assert flows(browser) == []
