"""A damaged session is a row that says so and can be ended, on every page, in the API and the commands."""

from __future__ import annotations

import json

import pytest
from support.browser import Browser
from support.clock import Clock
from support.people import fill_store, make_operator
from support.record_damage import answer_damaged, spoil_session

from tornado_sessions.record import Damaged
from tornado_sessions.server import commands
from tornado_sessions.server.cli import make_parser
from tornado_sessions.server.operations.schema import session_item
from tornado_sessions.server.parts import Parts
from tornado_sessions.server.roles import Role


async def damaged_of(parts: Parts, monkeypatch: pytest.MonkeyPatch, user: str = "ada") -> str:
    """The handle of one damaged session among three of a user."""
    await fill_store(parts, 3, "192.0.2.7", user=user)
    handle = (await parts.sessions.find(user=user)).items[1].handle
    await spoil_session(parts, handle, monkeypatch)
    return handle


@pytest.mark.gen_test(timeout=60)
async def test_every_page_shows_a_damaged_session_as_such(
    operator: Browser, parts: Parts, monkeypatch: pytest.MonkeyPatch
) -> None:
    await make_operator(parts, operator, Role.ADMIN)
    handle = await damaged_of(parts, monkeypatch)
    found = await parts.sessions.inspect(handle)
    assert isinstance(found, Damaged)
    for path in (
        "/admin/",
        "/admin/?user=ada",
        f"/admin/?handle={handle}",
        "/admin/user?name=ada",
        f"/admin/sessions/{handle}",
    ):
        english, chinese = await operator.get(path), await operator.get(path, Accept_Language="zh-CN")
        assert (english.code, chinese.code) == (200, 200), path
        text = english.body.decode()
        assert ">damaged</span>" in text, path
        assert ">已损坏</span>" in chinese.body.decode(), path
        assert found.why in text, path
        assert "1970" not in text, path
        assert handle in text, path
    for path in ("/admin/overview", "/metrics", "/admin/?sort=user", "/admin/?sort=expires"):
        assert (await operator.get(path)).code == 200, path
    figures = await parts.census.figures(wait=5)
    assert figures is not None
    assert sum(number for _, number in figures.tops.devices) == 3, "what is not known of it is not what most have"
    assert figures.active == 4, "it can be ended, so it counts"
    refused = await operator.post(f"/admin/sessions/{handle}/values", {"reason": "look"})
    assert refused.code == 404


@pytest.mark.gen_test(timeout=60)
async def test_a_damaged_session_is_ended_by_its_handle(
    operator: Browser, parts: Parts, monkeypatch: pytest.MonkeyPatch
) -> None:
    await make_operator(parts, operator)
    handle = await damaged_of(parts, monkeypatch)
    asked = (await operator.post("/admin/end", {"handle": handle})).body.decode()
    assert "End 1 session?" in asked
    assert ">damaged</span>" in asked
    done = await operator.post("/admin/end", {"handle": handle, "confirm": "1", "reason": "x", "expected": "1"})
    assert done.code == 303
    assert "1 session ended." in (await operator.get("/admin/")).body.decode()
    monkeypatch.undo()
    assert handle not in [item.handle for item in (await parts.sessions.find(user="ada")).items]
    assert (await parts.sessions.count(user="ada")).total == 2
    assert (await operator.get("/admin/?state=ended")).code == 200
    assert (await operator.get(f"/admin/sessions/{handle}")).code == 200


@pytest.mark.gen_test(timeout=60)
async def test_a_bulk_end_ends_a_damaged_session_as_well(
    operator: Browser, parts: Parts, monkeypatch: pytest.MonkeyPatch
) -> None:
    await make_operator(parts, operator)
    await damaged_of(parts, monkeypatch)
    page = await operator.post("/admin/end", {"user": "ada"})
    assert (page.code, ">damaged</span>" in page.body.decode()) == (200, True)
    done = await operator.post("/admin/end", {"user": "ada", "confirm": "1", "reason": "x", "expected": "3"})
    assert done.code == 303
    monkeypatch.undo()
    assert (await parts.sessions.find(user="ada")).items == []


@pytest.mark.gen_test(timeout=60)
async def test_its_holder_is_a_visitor_and_can_end_it_from_another_device(
    browser: Browser, other: Browser, parts: Parts, monkeypatch: pytest.MonkeyPatch
) -> None:
    await browser.register()
    await browser.log_in()
    handle = (await parts.sessions.find(user="ada")).items[0].handle
    await other.log_in()
    await spoil_session(parts, handle, monkeypatch)
    assert (await browser.get("/account")).code == 302
    page = await other.get("/account")
    assert (page.code, ">damaged</span>" in page.body.decode()) == (200, True)
    assert (await other.post("/account/end", {"handle": handle})).code == 303
    monkeypatch.undo()
    assert (await parts.sessions.count(user="ada")).total == 1
    assert (await browser.log_in()).code == 303


@pytest.mark.gen_test(timeout=60)
async def test_the_api_marks_a_damaged_session_and_ends_it(
    operator: Browser, parts: Parts, monkeypatch: pytest.MonkeyPatch
) -> None:
    await make_operator(parts, operator)
    handle = await damaged_of(parts, monkeypatch)
    items = json.loads((await operator.get("/admin/api/sessions?user=ada")).body)["items"]
    marked = [item for item in items if item.get("damaged")]
    assert [item["handle"] for item in marked] == [handle]
    one = json.loads((await operator.get(f"/admin/api/sessions/{handle}")).body)
    assert (one["damaged"], one["current"], bool(one["why"])) == (True, False, True)
    assert {"user", "ip", "user_agent", "created_at", "last_seen_at", "expires_at", "signed_in_at"} <= set(one)
    gone = await operator.send("DELETE", f"/admin/api/sessions/{handle}", X_XSRFToken=await operator.token())
    assert gone.code == 204
    monkeypatch.undo()
    assert (await parts.sessions.count(user="ada")).total == 2


def test_times_that_cannot_be_read_are_null() -> None:
    item = session_item(Damaged(handle="h", why="x"), None)
    assert (item.created_at, item.last_seen_at, item.expires_at, item.damaged) == (None, None, None, True)


@pytest.mark.gen_test(timeout=60)
async def test_a_damaged_tombstone_is_a_row_among_the_ended(
    operator: Browser, parts: Parts, monkeypatch: pytest.MonkeyPatch
) -> None:
    await make_operator(parts, operator)
    await fill_store(parts, 2, "192.0.2.7", user="ada")
    handles = [item.handle for item in (await parts.sessions.find(user="ada")).items]
    await parts.sessions.destroy_many(handles)
    answer_damaged(parts.sessions.store, handles[0], monkeypatch)
    for path in ("/admin/?state=ended", "/admin/user?name=ada", f"/admin/sessions/{handles[0]}"):
        page = await operator.get(path)
        assert (page.code, ">damaged</span>" in page.body.decode()) == (200, True), path
    items = json.loads((await operator.get("/admin/api/sessions?state=ended")).body)["items"]
    assert {item["handle"] for item in items if item.get("damaged")} == {handles[0]}


@pytest.mark.gen_test(timeout=60)
async def test_commands_list_show_and_end_a_damaged_session(
    parts: Parts, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], clock: Clock
) -> None:
    handle = await damaged_of(parts, monkeypatch)

    async def run(*arguments: str) -> str:
        assert await commands.run(parts, make_parser().parse_args(arguments)) == 0
        return capsys.readouterr().out

    lines = (await run("list")).splitlines()
    assert ["damaged: " in line for line in lines if handle in line] == [True]
    assert "1970" not in "".join(lines)
    items = [json.loads(line) for line in (await run("list", "--json")).splitlines()]
    assert [item["handle"] for item in items if item.get("damaged")] == [handle]
    shown = await run("show", handle)
    assert "damaged" in shown
    assert "1970" not in shown
    assert "Ended: 1" in await run("destroy", handle)
