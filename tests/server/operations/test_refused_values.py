"""Pages, API and commands refuse each bad value with the same message."""

from __future__ import annotations

import json
from html import unescape
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlencode

import pytest
from support.amount import knows_no_store
from support.browser import Browser
from support.people import fill_store, make_operator
from support.urls import url_of

from tornado_sessions.query import Where
from tornado_sessions.server import commands
from tornado_sessions.server.accounts.user import User
from tornado_sessions.server.cli import make_parser
from tornado_sessions.server.operations.action_names import Action
from tornado_sessions.server.operations.audit import Actor
from tornado_sessions.server.operations.entries import AuditQuery
from tornado_sessions.server.operations.errors import NotPermitted
from tornado_sessions.server.operations.rules import cut_off
from tornado_sessions.server.operations.selections import Everybody, Handles, Matching, OfUser, preview, select
from tornado_sessions.server.operations.tokens import Scope
from tornado_sessions.server.parts import Parts
from tornado_sessions.server.roles import Role

pytestmark = knows_no_store

TOKENS = "/admin/operators/tokens"
LIFETIME = "A token must be valid for at least 1 second and at most 3650 days."
DURATION = "Sign-ins can be blocked for at least 1 second and at most 366 days."
WHY = "Enter a reason."
MANY = [f"h{number}" for number in range(501)]
NAME = "A token name can have at most 64 characters, all of them printable."


@pytest.fixture(params=["memory", "sqlite"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return url_of(request.param, request, tmp_path)


class Case(NamedTuple):
    """One bad value, as each face takes it; ``None`` where a face cannot send it."""

    says: str
    page: tuple[str, dict[str, Any]] | None
    api: tuple[str, dict[str, Any]] | None
    command: list[str] | None
    status: int = 400


def end(
    says: str,
    form: dict[str, Any] | None,
    body: dict[str, Any] | None,
    command: list[str] | None = None,
    status: int = 400,
) -> Case:
    return Case(
        says,
        ("/admin/end", {"confirm": "1", "expected": "1", **form}) if form is not None else None,
        ("sessions/destroy", body) if body is not None else None,
        command,
        status,
    )


def token(says: str, *, name: str = "robot", days: float = 7, scopes: tuple[str, ...] = ("sessions:read",)) -> Case:
    is_json = days == days and abs(days) != float("inf")
    return Case(
        says,
        (TOKENS, {"name": name, "days": str(days), "scope": scopes}),
        ("tokens", {"name": name, "days": days, "scopes": scopes}) if is_json else None,
        # A command without scopes gives those of a role.
        ["create-token", f"--days={days}", *(f"--scope={scope}" for scope in scopes), "--", name] if scopes else None,
    )


def block(hours: float) -> Case:
    is_json = hours == hours and abs(hours) != float("inf")
    return Case(
        DURATION,
        ("/admin/block", {"user": "ada", "seconds": str(hours * 3600)}),
        # In the API and on the page, 0 seconds allow log-ins again.
        ("users/ada/block", {"seconds": hours * 3600}) if is_json else None,
        ["block", f"--hours={hours}", "ada"],
    )


CASES = {
    **{f"token for {days} days": token(LIFETIME, days=days) for days in (0, -5, 1e-9, 3651, 1e300)},
    **{f"token for {days} days": token(LIFETIME, days=float(days)) for days in ("nan", "inf", "-inf")},
    "token without a name": token("Enter a name for the token.", name=""),
    "token with a blank name": token("Enter a name for the token.", name="   "),
    "token with a long name": token(NAME, name="x" * 65),
    "token with a control character": token(NAME, name="ro\x1bbot"),
    "token that writes backwards": token(NAME, name="ro\u202ebot"),
    "token without a scope": token("Choose at least one scope.", scopes=()),
    **{f"block for {hours} hours": block(hours) for hours in (-1, 1e-9, 8785, 1e300)},
    **{f"block for {hours} hours": block(float(hours)) for hours in ("nan", "inf", "-inf")},
    "block for no number": Case(
        "seconds must be a number.", ("/admin/block", {"user": "ada", "seconds": "an hour"}), None, None
    ),
    "block for no time": Case(DURATION, None, None, ["block", "--hours=0", "ada"]),
    "look without a reason": Case(
        WHY,
        ("/admin/sessions/HANDLE/values", {"reason": "  "}),
        ("sessions/HANDLE/values", {"reason": "  "}),
        None,
    ),
    "all of a filter without a reason": end(
        WHY,
        {"where": '{"ip": "192.0.2.7"}', "reason": " "},
        {"where": {"ip": "192.0.2.7"}, "reason": " "},
        ["destroy-where", "--ip=192.0.2.7", "--reason= "],
    ),
    "everybody without a reason": Case(
        WHY,
        ("/admin/end", {"everybody": "1", "confirm": "1", "expected": "9"}),
        ("sessions/destroy-all", {"reason": ""}),
        ["destroy-all", "--reason="],
    ),
    "a filter that filters nothing": end(
        "Enter at least one filter.",
        {"where": "{}", "reason": "leak"},
        {"where": {}, "reason": "leak"},
        ["destroy-where", "--reason=leak"],
    ),
    "more handles than at once": end(
        "You can end at most 500 selected sessions at once.",
        {"handle": MANY, "reason": "leak"},
        {"handles": MANY, "reason": "leak"},
        ["destroy", *MANY],
    ),
    "no handle at all": end("Select at least one session.", None, {"handles": []}),
    "a user without a name": end("Select at least one session.", None, {"user": ""}, ["destroy-user", ""]),
    "two selections at once": end(
        "Choose one of: sessions, a user, a filter, or everyone.",
        {"user": "ada", "where": '{"ip": "192.0.2.7"}', "reason": "leak"},
        {"user": "ada", "where": {"ip": "192.0.2.7"}, "reason": "leak"},
    ),
    "more than were shown": end(
        "1 more session matches now. Review before you continue.",
        {"where": '{"ip": "192.0.2.7"}', "reason": "leak", "expected": "0"},
        {"where": {"ip": "192.0.2.7"}, "reason": "leak", "expected": 0},
        status=409,
    ),
    "more of a user's than were shown": end(
        "1 more session matches now. Review before you continue.",
        {"user": "ada", "reason": "leak", "expected": "0"},
        {"user": "ada", "reason": "leak", "expected": 0},
        status=409,
    ),
}


#: Each selection, and which of the sessions of ada (2), bob (1) and visitors (1) it ends.
SELECTIONS: dict[str, tuple[dict[str, Any], int]] = {
    "user": ({"user": "ada"}, 2),
    "matching": ({"where": Where(ip="192.0.2.7")}, 3),
    "everybody": ({"everybody": Everybody()}, 4),
}


async def written(parts: Parts) -> tuple[object, ...]:
    """Everything that an operation could change."""
    ada = await parts.accounts.get("ada")
    assert isinstance(ada, User)
    entries = await parts.audit.entries()
    count = await parts.sessions.count()
    return len(entries), await parts.tokens.all(), ada, count, await parts.jobs.listed()


async def run(parts: Parts, arguments: list[str]) -> int:
    return await commands.run(parts, make_parser().parse_args(arguments))


async def page_says(operator: Browser, path: str, fields: dict[str, Any]) -> str:
    """The page that answers a form, or the one that it leads to."""
    answer = await operator.post(path, fields)
    if answer.code == 303:
        answer = await operator.get(answer.headers["Location"])
    else:
        assert answer.code in (400, 409)
    return answer.body.decode()


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
@pytest.mark.gen_test(timeout=30)
async def test_every_face_refuses_a_bad_value_in_the_same_words_and_writes_nothing(
    operator: Browser, parts: Parts, capsys: pytest.CaptureFixture[str], case: Case
) -> None:
    await parts.accounts.register("ada", "ada@example.org", "correct horse battery staple")
    await make_operator(parts, operator, Role.ADMIN)
    await fill_store(parts, 1, "192.0.2.7", user="ada")
    handle = (await parts.sessions.find(user="ada")).items[0].handle
    form = await operator.token()
    before = await written(parts)
    if case.page is not None:
        shown = unescape(await page_says(operator, case.page[0].replace("HANDLE", handle), case.page[1]))
        assert case.says in shown
    if case.api is not None:
        path = "/admin/api/" + case.api[0].replace("HANDLE", handle)
        answer = await operator.send("POST", path, json.dumps(case.api[1]), X_XSRFToken=form)
        problem = json.loads(answer.body)
        assert (answer.code, problem["status"], problem["detail"]) == (case.status, case.status, case.says)
        assert answer.headers["Content-Type"] == "application/problem+json"
    if case.command is not None:
        assert await run(parts, case.command) == 1
        assert capsys.readouterr() == ("", f"error: {case.says}\n")
    assert await written(parts) == before


@pytest.mark.parametrize(("asked", "ended"), SELECTIONS.values(), ids=SELECTIONS)
@pytest.mark.gen_test(timeout=30)
async def test_a_selection_ends_what_it_shows(parts: Parts, asked: dict[str, Any], ended: int) -> None:
    await fill_store(parts, 2, "192.0.2.7", user="ada")
    await fill_store(parts, 1, "192.0.2.8", user="bob")
    await fill_store(parts, 1, "192.0.2.7")
    selection = select(parts.sessions.clock(), **asked)
    items, count = await preview(selection, parts.sessions)
    assert (len(items), count.total) == (ended, ended)
    outcome = await parts.actions.end(Actor("root", "::1"), selection, "leak")
    assert outcome.ended == ended
    assert (await parts.sessions.count()).total == 4 - ended


@pytest.mark.gen_test(timeout=30)
async def test_selected_handles_end_and_no_others(parts: Parts) -> None:
    await fill_store(parts, 3, "192.0.2.7", user="ada")
    handles = [item.handle for item in (await parts.sessions.find()).items[:2]]
    selection = select(parts.sessions.clock(), handles=handles)
    outcome = await parts.actions.end(Actor("root", "::1"), selection)
    assert (outcome.ended, (await parts.sessions.count()).total) == (2, 1)


@pytest.mark.parametrize("role", [Role.USER, Role.VIEWER])
@pytest.mark.gen_test(timeout=30)
async def test_an_operation_asks_for_a_role_whatever_calls_it(parts: Parts, role: Role) -> None:
    await fill_store(parts, 1, "192.0.2.7", user="ada")
    await parts.accounts.register("ada", "ada@example.org", "correct horse battery staple")
    actor, before = Actor("eve", "::1", role), await written(parts)
    calls = (
        parts.actions.end(actor, Handles(["h"]), "x"),
        parts.actions.end(actor, OfUser("ada"), "x"),
        parts.actions.end(actor, Matching(Where(user="ada")), "x"),
        parts.actions.end(actor, Everybody(), "x"),
        parts.actions.cancel(actor, "j"),
        parts.actions.block(actor, "ada", 60),
        parts.actions.set_role(actor, "ada", Role.ADMIN),
        parts.actions.create_token(actor, "robot", list(Scope), 60),
        parts.actions.revoke_token(actor, "t"),
        parts.actions.reveal(actor, "h", "x"),
    )
    for call in calls:
        with pytest.raises(NotPermitted):
            await call
    assert await written(parts) == before


@pytest.mark.parametrize(("given", "held"), [(None, 100.0), (50.0, 50.0), (150.0, 100.0), (float("nan"), 100.0)])
def test_the_cut_off_is_what_was_shown_and_never_ahead(given: float | None, held: float) -> None:
    assert cut_off(Where(ip="::1", created_until=given), 100.0) == Where(ip="::1", created_until=held)


@pytest.mark.gen_test(timeout=30)
async def test_an_action_that_there_is_not_is_refused_and_every_other_is_a_filter(
    operator: Browser, parts: Parts, capsys: pytest.CaptureFixture[str]
) -> None:
    await make_operator(parts, operator)
    for action in Action:
        await parts.audit.note(Actor("zoe"), action)
        found = await parts.audit.entries(AuditQuery(who="zoe", act=action))
        assert [entry.act for entry in found] == [action.value]
        query = urlencode({"who": "zoe", "act": action.value})
        assert len(json.loads((await operator.get(f"/admin/api/audit?{query}")).body)["items"]) == 1
    for path in ("/admin/audit", "/admin/audit.csv", "/admin/api/audit"):
        answer = await operator.get(path + "?act=end+sesion")
        assert (answer.code, "There is no action" in unescape(answer.body.decode())) == (400, True)
    assert await run(parts, ["audit", "--act", "end sesion"]) == 1
    assert "'end sesion'" in capsys.readouterr().err


OTHER_ENCODINGS = [
    ["destroy", "\udcff"],
    ["destroy", "h", "--reason=\udcff"],
    ["destroy-user", "\udcff"],
    ["destroy-where", "--user=\udcff", "--reason=x"],
    ["destroy-all", "--reason=\udcff"],
    ["block", "\udcff"],
    ["set-role", "\udcff", "viewer"],
    ["create-token", "\udcff"],
    ["revoke-token", "\udcff"],
    ["cancel-job", "\udcff"],
    ["audit", "--who=\udcff"],
]


@pytest.mark.parametrize("arguments", OTHER_ENCODINGS, ids=lambda arguments: arguments[0])
@pytest.mark.gen_test(timeout=30)
async def test_an_argument_in_another_encoding_is_refused(
    parts: Parts, capsys: pytest.CaptureFixture[str], arguments: list[str]
) -> None:
    await fill_store(parts, 1, "192.0.2.7", user="ada")
    assert await run(parts, arguments) == 1
    assert capsys.readouterr().err == "error: An argument is not valid UTF-8.\n"
    assert (await parts.audit.entries(), await parts.tokens.all()) == ([], [])
    assert (await parts.sessions.count()).total == 1


@pytest.mark.parametrize("number", ["nan", "inf", "-1", "1e99"])
@pytest.mark.parametrize("flag", ["--days", "--most"])
def test_a_list_is_asked_for_a_number_that_makes_sense(flag: str, number: str) -> None:
    with pytest.raises(SystemExit) as stopped:
        make_parser().parse_args(["audit", f"{flag}={number}"])
    assert stopped.value.code == 2
