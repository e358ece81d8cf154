"""The rules of operations: every bad value meets the same refusal on the page, in the API and as a command."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from stores.urls import url_of
from web.pages.people import Browser, fill_store, make_operator

from tornado_sessions.accounts.user import User
from tornado_sessions.app import Parts
from tornado_sessions.arguments import add_parsers
from tornado_sessions.commands import COMMANDS
from tornado_sessions.roles import Role

TOKENS = "/admin/operators/tokens"
LIFETIME = "a token lives for at least one second and at most 3650 days"
DURATION = "log-ins can be blocked for at least one second and at most 366 days"
NAME = "the name of a token has at most 64 characters, all of them printable"


@pytest.fixture(params=["memory", "sqlite"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return url_of(request.param, request, tmp_path)


class Case(NamedTuple):
    """One bad value, as each face takes it; ``None`` where a face cannot send it."""

    says: str
    page: tuple[str, dict[str, Any]] | None
    api: tuple[str, dict[str, Any]] | None
    command: list[str] | None


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
    "token without a name": token("a token needs a name", name=""),
    "token with a blank name": token("a token needs a name", name="   "),
    "token with a long name": token(NAME, name="x" * 65),
    "token with a control character": token(NAME, name="ro\x1bbot"),
    "token that writes backwards": token(NAME, name="ro\u202ebot"),
    "token without a scope": token("a token needs at least one scope", scopes=()),
    **{f"block for {hours} hours": block(hours) for hours in (-1, 1e-9, 8785, 1e300)},
    **{f"block for {hours} hours": block(float(hours)) for hours in ("nan", "inf", "-inf")},
    "block for no time": Case(DURATION, None, None, ["block", "--hours=0", "ada"]),
    "look without a reason": Case(
        "say why; it goes into the audit log",
        ("/admin/sessions/HANDLE/values", {"reason": "  "}),
        ("sessions/HANDLE/values", {"reason": "  "}),
        None,
    ),
}


async def written(parts: Parts) -> tuple[object, ...]:
    """Everything that an operation could change."""
    ada = await parts.accounts.get("ada")
    assert isinstance(ada, User)
    entries = await parts.audit.entries()
    count = await parts.sessions.count()
    return len(entries), await parts.tokens.all(), ada, count, await parts.jobs.listed()


async def run(parts: Parts, arguments: list[str]) -> int:
    parser = argparse.ArgumentParser()
    add_parsers(parser.add_subparsers(dest="command"))
    given = parser.parse_args(arguments)
    return await COMMANDS[given.command](parts, given)


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
        shown = await page_says(operator, case.page[0].replace("HANDLE", handle), case.page[1])
        assert case.says[0].upper() + case.says[1:] + "." in shown
    if case.api is not None:
        path = "/admin/api/" + case.api[0].replace("HANDLE", handle)
        answer = await operator.send("POST", path, json.dumps(case.api[1]), X_XSRFToken=form)
        problem = json.loads(answer.body)
        assert (answer.code, problem["status"], problem["detail"]) == (400, 400, case.says)
        assert answer.headers["Content-Type"] == "application/problem+json"
    if case.command is not None:
        assert await run(parts, case.command) == 1
        assert capsys.readouterr() == ("", f"error: {case.says}\n")
    assert await written(parts) == before
