"""An operator ends all other sessions, in a real browser. It leaves nothing for another test, so its server is its own."""

from __future__ import annotations

import re

from browser.tools import context, fill, log_in
from playwright.sync_api import Browser, Page, expect
from support.passwords import PASSWORD
from support.server_process import ServerProcess


def test_everybody_but_the_operator_is_out_and_what_is_left_is_removed_by_a_job(
    server: ServerProcess, chromium: Browser, state: Page
) -> None:
    victim = context(chromium).new_page()
    victim.goto(server.url + "/reg")
    fill(victim, username="victim", email="victim@example.org", password=PASSWORD)
    log_in(victim, server.url, "victim")
    state.goto(server.url + "/admin/")
    state.locator("summary", has_text="End everyone's sessions").click()
    state.get_by_role("button", name=re.compile("End everyone else's sessions")).click()
    state.get_by_label("Details (optional)").fill("breach")
    number = str(state.locator("[name=expected]").get_attribute("value"))
    state.locator("[name=number]").fill("1")
    state.locator("main .destroy").click()
    # What is wrong is focused and leads to the field, which keeps what was typed.
    expect(state.locator("main [role=alert]").first).to_be_focused()
    expect(state.locator("[name=number]")).to_have_value("1")
    expect(state.locator("[name=number]")).to_have_attribute("aria-invalid", "true")
    state.locator("main [role=alert] a").first.click()
    expect(state.locator("[name=number]")).to_be_focused()
    assert state.locator("[name=number]").evaluate("e => getComputedStyle(e).borderColor") != state.locator(
        "[name=reason]"
    ).evaluate("e => getComputedStyle(e).borderColor")
    state.locator("[name=number]").fill(number)
    state.locator("main .destroy").click()
    # One stands where one began, with links to the job and to the audit log.
    expect(state.get_by_role("status").first).to_contain_text("Everyone else has been signed out")
    assert state.url == server.url + "/admin/"
    state.get_by_role("link", name="View job").click()
    expect(state.locator("h1")).to_contain_text("Remove the records")
    victim.goto(server.url + "/account")
    expect(victim.get_by_role("status")).to_contain_text("An administrator ended your session")
    # Another tab: the job's page looks again by itself.
    other = state.context.new_page()
    other.goto(server.url + "/admin/")
    expect(other.locator("tbody tr")).to_have_count(1)
    expect(other.locator("tbody")).to_contain_text("This session")
    other.goto(server.url + "/admin/jobs")
    victim.context.close()
