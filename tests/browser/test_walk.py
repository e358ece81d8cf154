"""What people and operators do, in a real browser, on a real server with its default store."""

from __future__ import annotations

import re
from collections.abc import Iterator
from urllib.parse import quote

import pytest
from browser.tools import context, fill, log_in
from playwright.sync_api import Browser, Page, expect
from support.amount import only_long
from support.passwords import PASSWORD
from support.server_process import ServerProcess


@pytest.fixture(scope="module", params=["", pytest.param("/ops", marks=only_long)])
def prefix(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, prefix: str) -> Iterator[ServerProcess]:
    made = ServerProcess(tmp_path_factory.mktemp("server"), "--prefix", prefix)
    yield made
    assert made.stop() == 0


@pytest.fixture(params=["en-US", "zh-CN", "en-US without script"])
def words(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def operator(server: ServerProcess, chromium: Browser) -> Iterator[Page]:
    """The first operator, made by the link that the server printed."""
    page = context(chromium).new_page()
    page.goto(server.url + server.setup_path)
    fill(page, username="root", email="root@example.org", password=PASSWORD)
    page.goto(server.url + "/admin/overview")
    yield page
    page.context.close()


def test_a_newcomer_registers_logs_in_ends_another_device_and_logs_out(
    server: ServerProcess, chromium: Browser, words: str, prefix: str
) -> None:
    chinese = words.startswith("zh")
    name = "ada" + "".join(letter for letter in words if letter.isalpha())
    page = context(chromium, words).new_page()
    page.goto(server.url + "/reg")
    fill(page, username=name, email=f"{name}@example.org", password=PASSWORD)
    expect(page.locator("h1")).to_have_text("注册成功" if chinese else "Account created")
    log_in(page, server.url, name, "wrong password")
    expect(page.get_by_role("alert")).to_contain_text("登录失败" if chinese else "Incorrect username or password.")
    log_in(page, server.url, name)
    expect(page).to_have_url(server.url + "/account")
    expect(page.locator("main")).to_contain_text(f"你好 {name}" if chinese else f"Hello {name}")

    second = context(chromium, words).new_page()
    log_in(second, server.url, name)
    page.reload()
    page.get_by_role("button", name=re.compile("上的登录" if chinese else "Sign out of .* on")).click()
    expect(page.get_by_role("status")).to_have_text(
        "该设备已退出登录。" if chinese else "The device has been signed out."
    )
    second.reload()
    expect(second).to_have_url(server.url + "/login?next=" + quote(f"{prefix}/account", safe=""))

    page.goto(server.url + "/logout")
    page.locator("main form button").click()
    expect(page.get_by_role("status")).to_have_text("成功退出" if chinese else "You've signed out")
    page.goto(server.url + "/account")
    expect(page).to_have_url(server.url + "/login?next=" + quote(f"{prefix}/account", safe=""))


def test_an_operator_destroys_a_session_that_another_browser_uses(
    server: ServerProcess, chromium: Browser, operator: Page
) -> None:
    victim = context(chromium).new_page()
    victim.goto(server.url + "/reg")
    fill(victim, username="grace", email="grace@example.org", password=PASSWORD)
    log_in(victim, server.url, "grace")

    operator.goto(server.url + "/admin/")
    operator.get_by_role("link", name="Actions for grace").click()
    operator.get_by_role("link", name="View session").click()
    operator.get_by_role("button", name="End this session").click()
    operator.locator("[name=reason]").fill("stolen laptop")
    operator.get_by_role("button", name="End 1 session").click()
    expect(operator.get_by_role("status")).to_contain_text("1")

    victim.goto(server.url + "/account")
    expect(victim.get_by_role("status")).to_contain_text("An administrator ended your session")
    operator.goto(server.url + "/admin/audit")
    expect(operator.locator("tbody")).to_contain_text("stolen laptop")


def test_a_page_asks_nothing_of_another_host_and_breaks_no_policy(server: ServerProcess, operator: Page) -> None:
    hosts: list[str] = []
    faults: list[str] = []
    operator.on("request", lambda request: hosts.append(request.url))
    operator.on("console", lambda message: faults.append(message.text))
    for path in ("/account", "/admin/", "/admin/audit", "/home"):
        operator.goto(server.url + path)
    assert all(url.startswith(server.url) for url in hosts)
    assert faults == []
