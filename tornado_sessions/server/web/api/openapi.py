"""``/admin/api/openapi.json``: the OpenAPI 3.1 document, generated from routes, signatures and docstrings.

It must not know what the resources do.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import msgspec

from tornado_sessions import __version__
from tornado_sessions.server.operations.schema import Problem
from tornado_sessions.server.operations.tokens import Scope
from tornado_sessions.server.web.api import audit, jobs, session_export, sessions, stats, suggest, tokens, users
from tornado_sessions.server.web.api.base import HANDLE, NAME, ApiHandler, Endpoint

__all__ = ["OPERATIONS", "document", "routes"]

_METHODS = ("get", "post", "put", "delete")


class Operation(NamedTuple):
    """An endpoint with its method in lower case, its path, and the scope that a token needs (``None``: tokens are refused)."""

    method: str
    path: str
    scope: Scope | None
    endpoint: Endpoint


_RESOURCES: tuple[tuple[str, type[ApiHandler]], ...] = (
    (r"/api/sessions", sessions.SessionsResource),
    (r"/api/sessions/export", session_export.SessionExportResource),
    (r"/api/sessions/destroy", sessions.DestroyResource),
    (r"/api/sessions/destroy-all", sessions.DestroyAllResource),
    (rf"/api/sessions/{HANDLE}", sessions.SessionResource),
    (rf"/api/sessions/{HANDLE}/values", sessions.ValuesResource),
    (r"/api/users", users.UsersResource),
    (rf"/api/users/{NAME}", users.UserResource),
    (rf"/api/users/{NAME}/block", users.BlockResource),
    (rf"/api/users/{NAME}/role", users.RoleResource),
    (r"/api/stats", stats.StatsResource),
    (r"/api/suggest", suggest.SuggestResource),
    (r"/api/jobs", jobs.JobsResource),
    (rf"/api/jobs/{HANDLE}", jobs.JobResource),
    (rf"/api/jobs/{HANDLE}/resume", jobs.ResumeResource),
    (r"/api/audit", audit.AuditResource),
    (r"/api/audit/verify", audit.AuditCheckResource),
    (r"/api/tokens", tokens.TokensResource),
    (rf"/api/tokens/{HANDLE}", tokens.TokenResource),
)


def _operations(pattern: str, handler: type[ApiHandler]) -> list[Operation]:
    path = pattern.replace(HANDLE, "{handle}").replace(NAME, "{name}")
    return [
        Operation(method, path, handler.read_scope if method == "get" else handler.write_scope, described)
        for method in _METHODS
        if (described := getattr(getattr(handler, method), "endpoint", None)) is not None
    ]


#: All endpoints of the API.
OPERATIONS = tuple(operation for route in _RESOURCES for operation in _operations(*route))


def document(prefix: str = "", cookie: str = "sid", dashboard: str = "/admin") -> dict[str, Any]:
    """Return the OpenAPI document.

    Args:
        prefix: the path of the site.
        cookie: the name of the session cookie.
        dashboard: the path of the dashboard below it.
    """
    types = {kind for item in OPERATIONS for kind in (item.endpoint.gives, item.endpoint.takes) if kind} | {Problem}
    ordered = sorted(types, key=lambda kind: kind.__name__)
    schemas, components = msgspec.json.schema_components(ordered, ref_template="#/components/schemas/{name}")
    named = dict(zip(ordered, schemas, strict=True))
    paths: dict[str, dict[str, Any]] = {}
    for item in OPERATIONS:
        paths.setdefault(dashboard + item.path, {})[item.method] = _described(item, named)
    return {
        "openapi": "3.1.0",
        "info": {"title": "tornado_sessions", "version": __version__, "description": "The API of the dashboard."},
        "servers": [{"url": prefix or "/"}],
        "paths": paths,
        "components": {
            "schemas": components,
            "securitySchemes": {
                "token": {"type": "http", "scheme": "bearer", "description": "an API token, created with create-token"},
                "session": {
                    "type": "apiKey",
                    "in": "cookie",
                    "name": cookie,
                    "description": "unsafe requests also need X-XSRFToken",
                },
            },
        },
    }


def _described(item: Operation, schemas: dict[type, Any]) -> dict[str, Any]:
    summary, takes, gives, query, statuses, media = item.endpoint
    parts = item.path.removeprefix("/api/").replace("-", "/").split("/")
    found: dict[str, Any] = {
        "summary": summary,
        "operationId": item.method + "".join(part.strip("{}").title() for part in parts),
        "security": [{"session": []}, *([{"token": [item.scope.value]}] if item.scope is not None else [])],
        "parameters": [
            *(_parameter(part.strip("{}"), "path") for part in parts if part.startswith("{")),
            *(_parameter(name, "query", description=text) for name, text in query.items()),
        ],
        "responses": {
            **{str(status): _response("done", gives and schemas[gives]) for status in statuses},
            "default": _response("a problem", schemas[Problem], "application/problem+json"),
        },
    }
    if media:
        content = {kind.partition(";")[0]: {"schema": {"type": "string"}} for kind in media}
        found["responses"]["200"] = {"description": "a file", "content": content}
    if takes is not None:
        found["requestBody"] = {"required": True, "content": {"application/json": {"schema": schemas[takes]}}}
    return found


def _parameter(name: str, where: str, **more: str) -> dict[str, Any]:
    return {"name": name, "in": where, "required": where == "path", "schema": {"type": "string"}, **more}


def _response(text: str, schema: Any, kind: str = "application/json") -> dict[str, Any]:
    return {"description": text, "content": {kind: {"schema": schema}}} if schema else {"description": text}


class OpenApiResource(ApiHandler):
    """The OpenAPI document."""

    def get(self) -> None:
        """Send the document, for example to tools that generate clients."""
        cookie = self.sessions.cookies.name(secure=self.is_secure)
        self.answer(document(self.site.prefix, cookie, self.site.dashboard))


def routes() -> list[Any]:
    """Return the paths and handlers of the API."""
    return [*_RESOURCES, (r"/api/openapi\.json", OpenApiResource)]
