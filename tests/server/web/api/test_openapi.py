"""The API's description: every route, every answer, every action in the audit log."""

from __future__ import annotations

import json
from typing import Any

import jsonschema
import pytest
from openapi_spec_validator import OpenAPIV31SpecValidator
from support.browser import Browser
from support.people import fill_store, make_operator
from support.role_matrix import MATRIX

from tornado_sessions.server.operations.entries import AuditQuery
from tornado_sessions.server.operations.tokens import scopes_of
from tornado_sessions.server.parts import Parts
from tornado_sessions.server.roles import Role
from tornado_sessions.server.web.api.openapi import OPERATIONS, document


def test_the_api_is_described_and_every_route_is_told() -> None:
    told = document()
    OpenAPIV31SpecValidator(told).validate()
    routes = {pattern for pattern in MATRIX if pattern.startswith("/admin/api/") and "openapi" not in pattern}
    shapes = {
        pattern.replace("([A-Za-z0-9]{1,64})", "{handle}").replace("([^/]{1,200})", "{name}") for pattern in routes
    }
    assert set(told["paths"]) == shapes
    assert len({(item.method, item.path) for item in OPERATIONS}) == len(OPERATIONS)


@pytest.mark.gen_test(timeout=30)
async def test_the_api_answers_as_it_is_described(browser: Browser, operator: Browser, parts: Parts) -> None:
    """Each answer is valid by its schema, and every act is in the audit log."""
    await browser.register()
    await browser.log_in()
    await make_operator(parts, operator, Role.ADMIN)
    handle = (await parts.sessions.find(user="ada")).items[0].handle
    await parts.tokens.create("old", scopes_of(Role.VIEWER))
    token = (await parts.tokens.all())[0].handle
    bodies: dict[tuple[str, str], Any] = {
        ("post", "/sessions/{handle}/values"): {"reason": "ticket"},
        ("post", "/sessions/destroy"): {"where": {"user": "nobody"}, "reason": "x", "expected": 0},
        ("post", "/users/{name}/block"): {"seconds": 0},
        ("put", "/users/{name}/role"): {"role": "viewer"},
        ("post", "/tokens"): {"name": "new", "scopes": ["audit:read"], "days": 3},
        ("post", "/sessions/destroy-all"): {"reason": "drill"},
    }
    told = json.loads((await operator.get("/admin/api/openapi.json")).body)
    form = await operator.token()
    last = ("/sessions/destroy-all",)
    for item in sorted(OPERATIONS, key=lambda item: (item.path.endswith(last), item.method == "delete")):
        job = (await parts.jobs.all())[0].id if "/jobs/" in item.path else ""
        name = job or (token if "/tokens" in item.path else handle)
        path = "/admin" + item.path.replace("{handle}", name).replace("{name}", "ada")
        body = bodies.get((item.method, item.path.removeprefix("/api")))
        before = (await parts.audit.entries(AuditQuery(limit=1)))[0].id
        response = await operator.send(
            item.method.upper(), path, json.dumps(body) if body is not None else None, X_XSRFToken=form
        )
        assert response.code in item.endpoint.statuses, (item, response.body)
        if item.endpoint.gives is not None:
            described = told["paths"]["/admin" + item.path][item.method]["responses"][str(response.code)]
            schema = {**described["content"]["application/json"]["schema"], "components": told["components"]}
            jsonschema.validate(json.loads(response.body), schema)
        if item.method != "get":
            assert (await parts.audit.entries(AuditQuery(limit=1)))[0].id > before, item


@pytest.mark.gen_test
async def test_the_api_asks_again_when_more_match_than_were_seen(operator: Browser, parts: Parts) -> None:
    token = await parts.tokens.create("robot", scopes_of(Role.OPERATOR))
    await fill_store(parts, 5, "192.0.2.7")
    asked = {"where": {"ip": "192.0.2.0/24"}, "reason": "leak", "expected": 4}
    bearer = {"Authorization": f"Bearer {token}"}
    refused = await operator.send("POST", "/admin/api/sessions/destroy", json.dumps(asked), **bearer)
    assert refused.code == 409
    assert "1 more session matches" in json.loads(refused.body)["detail"]
    done = await operator.send("POST", "/admin/api/sessions/destroy", json.dumps({**asked, "expected": 5}), **bearer)
    assert json.loads(done.body) == {"destroyed": 5}
