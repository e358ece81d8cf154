"""The API takes JSON and nothing that a form of another site could send."""

from __future__ import annotations

import json

import pytest
from support.browser import Browser
from support.people import fill_store, make_operator

from tornado_sessions.server.operations.tokens import scopes_of
from tornado_sessions.server.parts import Parts
from tornado_sessions.server.roles import Role
from tornado_sessions.server.web.api.openapi import OPERATIONS

UNSAFE = [item for item in OPERATIONS if item.method != "get"]
#: What forms and simple scripts of another site send, and what is missing or odd.
REFUSED = [
    "text/plain", "text/plain; charset=utf-8", "application/x-www-form-urlencoded", "multipart/form-data; boundary=a", "text/json",
    "", "application/octet-stream", "application/jsonx", "application/json, text/plain", "x/application/json",
    "text/plain; application/json",
]  # fmt: skip
GOOD = ["application/json", "application/json; charset=utf-8", "Application/JSON", "application/merge-patch+json"]


@pytest.fixture
def url() -> str:
    """What is tested here knows no store."""
    return "memory://"


@pytest.mark.parametrize("with_token", [True, False], ids=["token", "session"])
@pytest.mark.gen_test(timeout=60)
async def test_every_route_refuses_a_body_of_another_type(operator: Browser, parts: Parts, with_token: bool) -> None:
    await make_operator(parts, operator, Role.ADMIN)
    bearer = {"Authorization": f"Bearer {await parts.tokens.create('robot', scopes_of(Role.OPERATOR))}"}
    session = {"X_XSRFToken": await operator.token()}
    before = (await parts.audit.entries())[0].id
    for item in UNSAFE:
        path = "/admin" + item.path.replace("{handle}", "x").replace("{name}", "ada")
        if with_token and item.scope is None:
            continue
        for kind in REFUSED:
            headers = {"Content_Type": kind, **(bearer if with_token else session)}
            # Tornado refuses a multipart body that is none before the API sees it.
            body = "--a--\r\n" if "multipart" in kind else '{"user": "ada"}'
            answer = await operator.send(item.method.upper(), path, body, **headers)
            assert (answer.code, json.loads(answer.body)["status"]) == (415, 415), (item, kind)
            assert answer.headers["Content-Type"] == "application/problem+json"
    assert (await parts.audit.entries())[0].id == before


@pytest.mark.parametrize("kind", GOOD)
@pytest.mark.gen_test
async def test_json_is_taken_by_every_usual_name(operator: Browser, parts: Parts, kind: str) -> None:
    await make_operator(parts, operator)
    body, token = json.dumps({"user": "nobody"}), await operator.token()
    answer = await operator.send("POST", "/admin/api/sessions/destroy", body, Content_Type=kind, X_XSRFToken=token)
    assert (answer.code, answer.body) == (200, b'{"destroyed":0}')


@pytest.mark.gen_test
async def test_a_request_without_a_body_needs_no_type(operator: Browser, parts: Parts) -> None:
    await make_operator(parts, operator)
    await fill_store(parts, 1, "192.0.2.7", user="ada")
    [item] = (await parts.sessions.find(user="ada")).items
    answer = await operator.send("DELETE", f"/admin/api/sessions/{item.handle}", X_XSRFToken=await operator.token())
    assert answer.code == 204
