"""What operators do, in a real browser, on twenty thousand sessions in SQLite, Redis and MongoDB."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from axe_playwright_python.sync_playwright import Axe
from browser.tools import PASSWORD, context, fill, log_in, shot
from playwright.sync_api import Browser, Page, expect
from server_process import ServerProcess
from stores.urls import url_of

from tornado_sessions.record import Create, Record
from tornado_sessions.stores import open_store

COUNT = 20_000
AGENTS = [
    "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0",
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 Safari/537.36",
    "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.0 Safari/605.1.15",
    "Mozilla/5.0 (iPhone; CPU iPhone OS 18_0 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.0 Mobile Safari/604.1",
    "curl/8.5.0",
]
NAMES = ["amelia", "bruno", "chiara", "dmitri", "elif", "farid", "greta", "hiro", "ines", "jonas", "名前", "zoë"]
HOSTILE = [
    "<img src=x onerror=alert(1)>",
    "'\"><script>alert(1)</script>",
    "\u202egnp.exe",
    "a\u0000b",
    "x" * 60_000,
    "{{ 7*7 }}",
    "%s%d",
]


def people(count: int) -> Iterator[Create]:
    """Sessions of people and visitors; mallory has some in two networks, and a few have names that want to be more."""
    chance, now = random.Random(3), time.time()
    for number in range(count):
        seen = now - 1 - 1200 * number / count
        user: str | None = f"{NAMES[number % len(NAMES)]}{number // len(NAMES)}"
        ip = f"198.51.{number % 100}.{number % 250}"
        if number % 9 == 8:
            user = None
        if number % (count // 60) == 7:
            user, ip = "mallory", f"203.0.113.{number % 200}" if number % 2 else f"192.0.2.{number % 200}"
        if 20 <= number < 20 + len(HOSTILE):
            user, ip = HOSTILE[number - 20], "192.0.2.66"
        yield Create(
            record=Record(
                handle=f"h{number:05x}{chance.getrandbits(80):020x}",
                user=user,
                ip=ip,
                user_agent=HOSTILE[number - 20] if 20 <= number < 20 + len(HOSTILE) else AGENTS[number % len(AGENTS)],
                created_at=seen - 600,
                signed_in_at=seen - 500 if user is not None else None,
                last_seen_at=seen,
                expires_at=seen + 7200,
                secret_hash=chance.randbytes(32),
                rotated_at=seen,
                confirmed_at=seen,
                absolute_at=seen + 40000,
                idle_timeout=7200.0,
                data={"cart": b'["book", 3]', "theme": b'"dark"'},
            )
        )


async def fill_store(url: str, count: int) -> None:
    store = open_store(url)
    await store.open()
    items = list(people(count))
    for start in range(0, count, 500):
        await store.save(items[start : start + 500])
    await store.close()


@pytest.fixture(scope="module", params=["sqlite", "redis", "mongo_motor"])
def server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    folder = tmp_path_factory.mktemp("server")
    url = url_of(request.param, request, folder)
    # In a thread: Playwright's own loop runs in this one.
    with ThreadPoolExecutor() as pool:
        pool.submit(asyncio.run, fill_store(url, COUNT)).result()
    made = ServerProcess(folder, "--store", url, "--secret", "a secret of the browser tests, long enough")
    made.environment["FILLED"] = request.param
    yield made
    assert made.stop() == 0
    assert "Traceback" not in (folder / "stderr").read_text()


@pytest.fixture(scope="module")
def state(server: ServerProcess, chromium: Browser) -> Iterator[Page]:
    """The first operator, logged in."""
    page = context(chromium).new_page()
    page.goto(server.url + server.setup_path)
    fill(page, username="root", email="root@example.org", password=PASSWORD)
    log_in(page, server.url, "root")
    yield page
    page.context.close()


@pytest.fixture(params=["with script", "without script"])
def operator(request: pytest.FixtureRequest, chromium: Browser, state: Page) -> Iterator[Page]:
    """The same operator in a browser with and without script."""
    words = "en-US" if request.param == "with script" else "en-US without script"
    found = context(chromium, words, storage_state=state.context.storage_state())
    yield found.new_page()
    found.close()


PAGES = [
    "overview",
    "",
    "?state=ended",
    "?kind=visitors&sort=user",
    "?user=nobody",
    "audit",
    "jobs",
    "operators",
    "settings",
    "user?name=mallory",
]


@pytest.mark.parametrize("path", PAGES)
def test_each_page_is_accessible_in_both_themes_and_narrow(
    server: ServerProcess, chromium: Browser, state: Page, path: str
) -> None:
    """axe-core finds nothing (WCAG 2.2 AA), nothing is wider than 320 px, and a first page is below 60 KB."""
    faults = []
    for theme, words in (("light", "en-US"), ("dark", "zh-CN")):
        seen = context(chromium, words, color_scheme=theme, storage_state=state.context.storage_state())
        page = seen.new_page()
        page.on("console", lambda message: faults.append(message.text))
        weight = []
        page.on(
            "response",
            lambda response: weight.append(len(response.body())) if "/admin/live" not in response.url else None,
        )
        page.goto(f"{server.url}/admin/{path}", wait_until="load")
        found = Axe().run(
            page, options={"runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]}
        )
        assert found.violations_count == 0, found.generate_report()
        assert sum(weight) < 60_000
        if server.environment["FILLED"] == "sqlite":
            shot(page, f"{path.split('?')[0] or 'sessions'}{len(path) if '?' in path else ''}-{theme}")
        page.set_viewport_size({"width": 320, "height": 700})
        assert page.evaluate("document.documentElement.scrollWidth") <= 320
        if server.environment["FILLED"] == "sqlite" and theme == "light":
            shot(page, f"{path.split('?')[0] or 'sessions'}{len(path) if '?' in path else ''}-narrow")
        seen.close()
    assert faults == []


def test_all_sessions_of_a_user_from_one_network_are_found_and_ended(
    server: ServerProcess, operator: Page, request: pytest.FixtureRequest
) -> None:
    """The task that a newcomer has to do in half a minute: two fields, two buttons."""
    network = "203.0.113.0/24" if "with script" in request.node.name else "192.0.2.0/24"
    operator.goto(server.url + "/admin/")
    operator.get_by_label("User", exact=True).fill("mallory")
    operator.get_by_label("Address or network").fill(network)
    operator.get_by_role("button", name="Filter", exact=True).click()
    button = operator.get_by_role("button", name="of this filter")
    count = int(button.inner_text().split()[2])
    assert count > 20
    rows = operator.locator("tbody tr")
    expect(rows).to_have_count(min(count, 50))
    button.click()
    expect(operator.locator("h1")).to_have_text(f"End {count} sessions of this filter?")
    operator.get_by_label("Reason").select_option("Compromised account")
    shot(operator, "end-filter")
    operator.get_by_role("button", name=f"End {count} sessions").click()
    expect(operator.get_by_role("status").first).to_contain_text(str(count))
    operator.goto(f"{server.url}/admin/?user=mallory&ip={network}")
    expect(operator.get_by_role("status")).to_contain_text("No sessions match.")
    operator.goto(f"{server.url}/admin/?user=mallory&ip={network}&state=ended")
    expect(operator.locator("tbody")).to_contain_text("Compromised account")


def test_names_that_want_to_be_more_are_only_names(server: ServerProcess, operator: Page) -> None:
    dialogs: list[str] = []
    operator.on("dialog", lambda dialog: dialogs.append(dialog.message))
    operator.goto(server.url + "/admin/?ip=192.0.2.66")
    expect(operator.locator("tbody tr")).to_have_count(len(HOSTILE))
    expect(operator.locator("tbody")).to_contain_text("<img src=x onerror=alert(1)>")
    expect(operator.locator("tbody")).to_contain_text("{{ 7*7 }}")
    for number in range(len(HOSTILE)):
        operator.goto(server.url + "/admin/?ip=192.0.2.66")
        operator.locator("tbody th a").nth(number).click()
        expect(operator.locator("h1")).to_contain_text("Session of")
        operator.locator("dd a").first.click()
        expect(operator.locator("main")).to_be_visible()
    assert dialogs == []


def test_the_numbers_of_the_overview_are_live_and_can_be_paused(
    server: ServerProcess, chromium: Browser, state: Page
) -> None:
    page = context(chromium, storage_state=state.context.storage_state()).new_page()
    page.goto(server.url + "/admin/overview")
    at = page.locator("[data-at]")
    before = at.inner_text()
    expect(at).not_to_have_text(before, timeout=15_000)
    page.get_by_role("button", name="Pause").click()
    expect(page.get_by_role("button", name="Go on")).to_be_visible()
    before = at.inner_text()
    page.wait_for_timeout(5000)
    assert at.inner_text() == before
    page.context.close()


def test_two_steps_are_switched_on_and_asked_for(server: ServerProcess, chromium: Browser) -> None:
    import pyotp

    page = context(chromium).new_page()
    page.goto(server.url + "/reg")
    fill(page, username="careful", email="careful@example.org", password=PASSWORD)
    log_in(page, server.url, "careful")
    page.get_by_role("link", name="Switch on").click()
    shot(page, "two-steps")
    found = Axe().run(page)
    assert found.violations_count == 0, found.generate_report()
    secret = str(page.locator("[name=secret]").get_attribute("value"))
    page.get_by_label("Code").fill(pyotp.TOTP(secret).now())
    page.get_by_role("button", name="Switch on").click()
    code = page.locator(".codes code").first.inner_text()
    page.get_by_role("button", name="Log out").click()
    log_in(page, server.url, "careful")
    page.locator("[name=code]").fill("000000")
    page.locator("main button").click()
    expect(page.get_by_role("alert")).to_contain_text("This code is wrong")
    page.locator("[name=code]").fill(code)
    page.locator("main button").click()
    expect(page).to_have_url(server.url + "/account")
    expect(page.locator("main")).to_contain_text("Recovery codes left: 9")
    shot(page, "account")
    page.context.close()


def test_everybody_but_the_operator_is_out_and_what_is_left_is_removed_by_a_job(
    server: ServerProcess, chromium: Browser, state: Page
) -> None:
    victim = context(chromium).new_page()
    victim.goto(server.url + "/reg")
    fill(victim, username="victim", email="victim@example.org", password=PASSWORD)
    log_in(victim, server.url, "victim")
    state.goto(server.url + "/admin/")
    state.get_by_role("button", name="End all but mine").click()
    state.get_by_label("In your own words").fill("breach")
    number = state.locator("[name=expected]").get_attribute("value")
    state.locator("[name=number]").fill(str(number))
    state.locator("main button").click()
    expect(state.locator("h1")).to_contain_text("end everybody's sessions")
    shot(state, "job")
    victim.goto(server.url + "/account")
    expect(victim.get_by_role("status")).to_contain_text("an operator ended this session")
    state.goto(server.url + "/admin/")
    expect(state.locator("tbody tr")).to_have_count(1)
    expect(state.locator("tbody")).to_contain_text("this is you")
    state.goto(server.url + "/admin/jobs")
    shot(state, "jobs")
    victim.context.close()
