"""``/admin/api/openapi.json``: the API as OpenAPI 3.1, made of the types that the handlers answer with.

It must not know handlers' code; that every route is told here, and nothing else, is a test.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import msgspec

from tornado_sessions import __version__
from tornado_sessions.server.operations import schema as answers
from tornado_sessions.server.operations.filters import NAMES
from tornado_sessions.server.operations.tokens import Scope
from tornado_sessions.server.web.api.base import ApiHandler
from tornado_sessions.stores.matching import DEVICES

__all__ = ["OPERATIONS", "document", "routes"]


class Operation(NamedTuple):
    """One thing that can be asked.

    Attributes:
        method, path: how.
        summary: what it does.
        gives: the type of the answer; ``None``: it is empty.
        takes: the type of the body, if there is one.
        query: names in the address.
        scope: what a token needs; ``None``: only people may.
        statuses: of success; the first has the answer.
    """

    method: str
    path: str
    summary: str
    gives: type | None
    takes: type | None = None
    query: tuple[str, ...] = ()
    scope: Scope | None = Scope.READ
    statuses: tuple[int, ...] = (200,)


_END = Scope.END
_GONE = (204,)
OPERATIONS = (
    Operation("get", "/sessions", "List sessions", answers.SessionPage, query=NAMES),
    Operation("get", "/sessions/{handle}", "Look at one live session", answers.SessionItem),
    Operation(
        "delete", "/sessions/{handle}", "End one session; harmless when it has ended", None, scope=_END, statuses=_GONE
    ),
    Operation(
        "post",
        "/sessions/{handle}/values",
        "Look into a session (admins, audited)",
        answers.Values,
        answers.Reason,
        scope=None,
    ),
    Operation(
        "post",
        "/sessions/destroy",
        "End a user's sessions, the named ones, or all that filters match; 202 while a job goes on",
        answers.Destroyed,
        answers.DestroyRequest,
        scope=_END,
        statuses=(200, 202),
    ),
    Operation(
        "post",
        "/sessions/destroy-all",
        "End everybody's sessions, at once",
        answers.Destroyed,
        answers.DestroyAllRequest,
        scope=_END,
    ),
    Operation("get", "/users/{name}", "Look at a user", answers.UserItem),
    Operation(
        "post",
        "/users/{name}/block",
        "Refuse log-ins for a while, or allow them",
        None,
        answers.BlockRequest,
        scope=_END,
        statuses=_GONE,
    ),
    Operation(
        "put", "/users/{name}/role", "Give a role (admins)", None, answers.RoleRequest, scope=None, statuses=_GONE
    ),
    Operation("get", "/stats", "Counts now, and the last hour", answers.Stats),
    Operation("get", "/jobs", "List bulk acts", answers.JobList),
    Operation("get", "/jobs/{handle}", "How far a bulk act is", answers.JobItem),
    Operation(
        "delete", "/jobs/{handle}", "Cancel a bulk act; harmless when it is over", None, scope=_END, statuses=_GONE
    ),
    Operation(
        "get",
        "/audit",
        "Read the audit log",
        answers.AuditPage,
        query=("who", "act", "days", "before"),
        scope=Scope.AUDIT,
    ),
    Operation(
        "get",
        "/audit/verify",
        "Whether the newest 10,000 entries are as they were written",
        answers.AuditCheck,
        query=("head",),
        scope=Scope.AUDIT,
    ),
    Operation("get", "/tokens", "List API tokens (people only)", answers.TokenList, scope=None),
    Operation(
        "post",
        "/tokens",
        "Make an API token (admins)",
        answers.MadeToken,
        answers.TokenRequest,
        scope=None,
        statuses=(201,),
    ),
    Operation("delete", "/tokens/{handle}", "Revoke an API token (admins)", None, scope=None, statuses=_GONE),
)
_TOLD = {
    "user": "exact, or a prefix with * at its end",
    "ip": "exact, or a network such as 192.0.2.0/24",
    "q": "how user, handle or address begin",
    "device": "one of " + ", ".join(DEVICES),
    "kind": "users or visitors",
    "role": "viewer, operator or admin",
    "signed_in_within": "seconds",
    "idle_for": "seconds",
    "state": "live or ended",
    "sort": "last_seen, signed_in, expires or user",
    "cursor": "next_cursor of the page before",
    "limit": "1 to 500",
    "head": "a hash that was noted before, to be found again",
}


def document() -> dict[str, Any]:
    """The whole description."""
    types = {kind for item in OPERATIONS for kind in (item.gives, item.takes) if kind is not None} | {answers.Problem}
    ordered = sorted(types, key=lambda kind: kind.__name__)
    schemas, components = msgspec.json.schema_components(ordered, ref_template="#/components/schemas/{name}")
    named = dict(zip(ordered, schemas, strict=True))
    paths: dict[str, dict[str, Any]] = {}
    for item in OPERATIONS:
        paths.setdefault("/admin/api" + item.path, {})[item.method] = _operation(item, named)
    return {
        "openapi": "3.1.0",
        "info": {"title": "tornado_sessions", "version": __version__, "description": (__doc__ or "").split("\n", 1)[0]},
        "paths": paths,
        "components": {
            "schemas": components,
            "securitySchemes": {
                "token": {"type": "http", "scheme": "bearer", "description": "an API token, made with create-token"},
                "session": {"type": "apiKey", "in": "cookie", "name": "sid", "description": "and X-XSRFToken to act"},
            },
        },
    }


def _operation(item: Operation, schemas: dict[type, Any]) -> dict[str, Any]:
    found: dict[str, Any] = {
        "summary": item.summary,
        "operationId": item.method
        + "".join(part.strip("{}").title() for part in item.path.replace("-", "/").split("/")),
        "security": [{"session": []}, *([{"token": [item.scope.value]}] if item.scope is not None else [])],
        "parameters": [
            *(_parameter(part.strip("{}"), "path") for part in item.path.split("/") if part.startswith("{")),
            *(_parameter(name, "query") for name in item.query),
        ],
        "responses": {
            **{str(status): _response("done", item.gives and schemas[item.gives]) for status in item.statuses},
            "default": _response("a problem", schemas[answers.Problem], "application/problem+json"),
        },
    }
    if item.takes is not None:
        found["requestBody"] = {"required": True, "content": {"application/json": {"schema": schemas[item.takes]}}}
    return found


def _parameter(name: str, where: str) -> dict[str, Any]:
    told = {"name": name, "in": where, "required": where == "path", "schema": {"type": "string"}}
    return {**told, "description": _TOLD[name]} if name in _TOLD else told


def _response(text: str, schema: Any, kind: str = "application/json") -> dict[str, Any]:
    return {"description": text, "content": {kind: {"schema": schema}}} if schema else {"description": text}


class OpenApiResource(ApiHandler):
    """The description."""

    def get(self) -> None:
        """For tools that make clients of it."""
        self.answer(document())


def routes() -> list[Any]:
    """Addresses and their handlers."""
    return [(r"/admin/api/openapi\.json", OpenApiResource)]
