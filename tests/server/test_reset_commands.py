"""The commands for users who have lost the password or the second step."""

from __future__ import annotations

import io
import logging
import sys

import pytest
from support.amount import knows_no_store
from support.browser import Browser
from support.clock import Clock
from support.passwords import PASSWORD
from support.second_step import make_two_step_user
from tornado.web import Application

from tornado_sessions.server import commands
from tornado_sessions.server.cli import make_parser
from tornado_sessions.server.operations.entries import AuditQuery
from tornado_sessions.server.parts import Parts

pytestmark = knows_no_store

NEW = "an entirely different phrase"


async def run(parts: Parts, capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str, str]:
    code = await commands.run(parts, make_parser().parse_args(words))
    printed = capsys.readouterr()
    return code, printed.out, printed.err


@pytest.mark.gen_test
async def test_a_reset_password_ends_the_sessions_and_appears_nowhere(
    browser: Browser,
    parts: Parts,
    capsys: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    caplog.set_level(logging.DEBUG)
    await browser.register()
    await browser.log_in()
    monkeypatch.setattr(sys, "stdin", io.StringIO(NEW + "\n"))
    code, out, told = await run(parts, capsys, "reset-password", "ADA")
    assert (code, out) == (0, "")
    assert "Ended: 1" in told
    assert (await browser.get("/account")).code == 302
    assert (await browser.log_in()).code == 401
    assert (await browser.log_in(password=NEW)).code == 303
    entry = (await parts.audit.entries(AuditQuery(act="reset password of")))[0]
    assert (entry.actor, entry.user) == ("cli", "ada")
    kept = f"{caplog.text}{await parts.audit.entries()}{told}"
    assert NEW not in kept


@pytest.mark.gen_test
async def test_without_a_password_the_command_prints_a_link_that_sets_one(
    browser: Browser,
    other: Browser,
    parts: Parts,
    capsys: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    caplog.set_level(logging.DEBUG)
    await browser.register()
    await browser.log_in()
    monkeypatch.setattr(sys, "stdin", io.StringIO(""))
    code, out, told = await run(parts, capsys, "reset-password", "ada")
    assert (code, out[:31]) == (0, "http://127.0.0.1:3000/password/")
    assert "Ended: 1" in told
    assert (await browser.get("/account")).code == 302
    path = out.strip().removeprefix("http://127.0.0.1:3000")
    assert (await other.post(path, {"password": NEW})).code == 200
    assert (await other.get(path)).code == 404, "once"
    assert (await browser.log_in(password=NEW)).code == 303
    token = path.rpartition("/")[2]
    assert token not in f"{caplog.text}{await parts.audit.entries()}{told}{await parts.documents.all('link')}"


@pytest.mark.gen_test
async def test_reset_two_steps_prints_a_link_that_lets_the_password_alone_in(
    browser: Browser, other: Browser, parts: Parts, capsys: pytest.CaptureFixture[str], clock: Clock
) -> None:
    phone = await make_two_step_user(parts, clock)
    assert (await browser.log_in()).code == 200, "a code is asked for"
    code, out, _ = await run(parts, capsys, "reset-two-steps", "ADA")
    path = out.strip().removeprefix("http://127.0.0.1:3000")
    assert (code, path[:11]) == (0, "/two-steps/")
    assert (await browser.log_in()).code == 200, "it is on until the link is used"
    assert (await other.post(path, {"password": PASSWORD})).code == 200
    assert (await browser.log_in()).code == 303
    entry = (await parts.audit.entries(AuditQuery(act="reset two steps of")))[0]
    assert (entry.actor, entry.user) == ("cli", "ada")
    assert phone.recovery
    assert b"An administrator turned off two-step verification" in (await browser.get("/account/security")).body


@pytest.mark.gen_test
async def test_a_reset_password_keeps_the_second_step(
    browser: Browser,
    parts: Parts,
    capsys: pytest.CaptureFixture[str],
    clock: Clock,
    monkeypatch: pytest.MonkeyPatch,
    app: Application,
) -> None:
    await make_two_step_user(parts, clock)
    monkeypatch.setattr(sys, "stdin", io.StringIO("kwy3 zu8\n"))
    assert (await run(parts, capsys, "reset-password", "ada"))[0] == 0
    page = (await browser.log_in(password="kwy3 zu8")).body
    assert b"Enter your code" in page


@pytest.mark.parametrize("command", ["reset-password", "reset-two-steps"])
@pytest.mark.gen_test
async def test_a_reset_of_nobody_is_an_error_and_no_entry(
    parts: Parts, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO(NEW + "\n"))
    assert await run(parts, capsys, command, "nobody") == (1, "", "error: This account doesn't exist.\n")
    assert await parts.audit.entries() == []


@pytest.mark.parametrize("weak", ["short", "passwordpassword", "ada-tornado-sessions"])
@pytest.mark.gen_test
async def test_a_weak_password_is_refused(
    parts: Parts, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, weak: str
) -> None:
    await parts.accounts.register("ada", "ada@example.org", PASSWORD)
    monkeypatch.setattr(sys, "stdin", io.StringIO(weak + "\n"))
    code, out, told = await run(parts, capsys, "reset-password", "ada")
    assert (code, out, told[:17]) == (1, "", "error: password: ")
    assert weak not in told
    assert (await parts.accounts.log_in("ada", PASSWORD, "::1")).name == "ada"
