"""Every page: languages, cross-site requests, headers, and that visitors store nothing."""

from __future__ import annotations

from urllib.parse import urlencode

import pytest
from support.amount import knows_no_store
from support.browser import Browser
from support.passwords import PASSWORD

from tornado_sessions.server.parts import Parts

pytestmark = knows_no_store


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
async def test_a_form_without_its_token_is_refused_kindly(browser: Browser) -> None:
    await browser.register()
    await browser.log_in()
    body = urlencode({"old_password": PASSWORD, "new_password": PASSWORD})
    for path in ("/account/password", "/account/password?_xsrf=" + await browser.token()):
        response = await browser.send("POST", path, body, Content_Type="application/x-www-form-urlencoded")
        assert response.code == 403
        assert "<h1>This page expired</h1>" in response.body.decode()


@pytest.mark.gen_test
async def test_a_post_from_another_site_is_refused(browser: Browser) -> None:
    await browser.register()
    body = urlencode({"_xsrf": await browser.token(), "username": "ada", "password": PASSWORD})
    kind = "application/x-www-form-urlencoded"
    response = await browser.send("POST", "/login", body, Content_Type=kind, Sec_Fetch_Site="cross-site")
    assert response.code == 403


@pytest.mark.gen_test
async def test_visitors_and_failed_logins_store_nothing(browser: Browser, parts: Parts) -> None:
    for path in ("/", "/home", "/login", "/reg", "/account", "/nowhere"):
        await browser.get(path)
    await browser.log_in(password="wrong")
    await browser.post("/logout", {})
    assert (await parts.sessions.count()).total == 0


@pytest.mark.gen_test
async def test_every_page_forbids_framing_and_foreign_code(browser: Browser) -> None:
    for path in ("/home", "/login", "/nowhere"):
        headers = (await browser.get(path)).headers
        assert "default-src 'none'" in headers["Content-Security-Policy"]
        assert "Tornado" not in headers["Server"]
