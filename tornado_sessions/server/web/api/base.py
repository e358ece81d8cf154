"""``ApiHandler`` and ``endpoint``: the base of the API's resources.

Clients authenticate with a session and a form token, or with an API token. Errors are problem+json (RFC 9457). It must not know
HTML or any resource.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import wraps
from typing import Any, ClassVar, NamedTuple, TypeVar, get_type_hints

import msgspec
from tornado.httputil import HTTPHeaders
from tornado.web import HTTPError
from typing_extensions import override

from tornado_sessions.server.operations.audit import Actor
from tornado_sessions.server.operations.tokens import ApiToken, Scope
from tornado_sessions.server.roles import Role
from tornado_sessions.server.web.access import SAFE_METHODS
from tornado_sessions.server.web.operators import OperatorHandler

__all__ = ["HANDLE", "NAME", "ApiHandler", "Endpoint", "endpoint"]

T = TypeVar("T")

#: Patterns for parts of paths: a handle or id, and a username.
HANDLE, NAME = "([A-Za-z0-9]{1,64})", "([^/]{1,200})"


class ApiHandler(OperatorHandler):
    """A resource of the API."""

    wants_json = own_pages_only = True
    #: The scopes that a token needs to read and to write; ``None``: tokens are refused.
    read_scope: ClassVar[Scope | None] = Scope.READ
    write_scope: ClassVar[Scope | None] = Scope.END
    _token: ApiToken | None = None

    @override
    async def prepare(self) -> None:
        await super().prepare()
        # A form or a script of another site can send these types without asking us first (CORS); JSON it cannot.
        if self.request.body and self.request.method not in SAFE_METHODS and not _is_json(self.request.headers):
            raise HTTPError(415, "the body must be JSON, with Content-Type: application/json")

    @override
    async def authenticate(self) -> str | None:
        given = self._authorization()
        if given is None:
            return await super().authenticate()
        scheme, _, text = given.partition(" ")
        is_bearer = scheme.lower() == "bearer"
        self._token = await self.parts.tokens.verify(text.strip(), self.client_ip) if is_bearer else None
        if self._token is None:
            raise HTTPError(401, "this API token is not valid")
        scope = self.read_scope if self.request.method in SAFE_METHODS else self.write_scope
        self.role = Role.ADMIN if scope in self._token.scopes else Role.USER
        return f"token {self._token.name}"

    @override
    def check_form(self) -> None:
        # Other sites cannot make a browser send an Authorization header, so such a request needs no form token.
        if self._authorization() is None:
            super().check_form()

    def _authorization(self) -> str | None:
        # ``authenticate`` and ``check_form`` must agree on whether there is a header. Otherwise a header that the first ignores
        # could make the second skip its check.
        return self.request.headers.get("Authorization", "").strip() or None

    @override
    def actor(self, name: str | None = None) -> Actor:
        if self._token is None:
            return super().actor(name)
        # The scope has already been checked. Other rules treat a token as an operator, even if an admin created it.
        return super().actor(f"token {self._token.name}")._replace(role=Role.OPERATOR, session="")

    @override
    def has_fresh_password(self) -> bool:
        # Tokens have no password.
        return self._token is not None or super().has_fresh_password()

    def decode_body(self, kind: type[T]) -> T:
        """Return the body of the request as ``kind``; an empty one is an empty object. Raises ``HTTPError`` if it is invalid."""
        try:
            return msgspec.json.decode(self.request.body or b"{}", type=kind)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise HTTPError(400, "%s", error) from None


def _is_json(headers: HTTPHeaders) -> bool:
    kind = headers.get("Content-Type", "").partition(";")[0].strip().lower()
    return kind == "application/json" or (kind.startswith("application/") and kind.endswith("+json"))


class Endpoint(NamedTuple):
    """The description of a method for the OpenAPI document.

    Attributes:
        summary: the first line of its docstring.
        takes, gives: the types of the request body and of the response; ``None`` if empty.
        query: the parameters of the query string with their descriptions.
        statuses: the statuses of success.
        media: the media types of a response that is not JSON.
    """

    summary: str
    takes: type | None
    gives: type | None
    query: Mapping[str, str]
    statuses: tuple[int, ...]
    media: Sequence[str] = ()


def endpoint(
    *statuses: int, query: Mapping[str, str] | None = None, media: Sequence[str] = ()
) -> Callable[[Callable[..., Awaitable[Any]]], Callable[..., Awaitable[None]]]:
    """Return a decorator that sends the result of a method as JSON, and describes the method for the OpenAPI document.

    A parameter named ``body`` receives the decoded request body. Unsafe methods require a recent password.

    Args:
        statuses: the statuses of success, of which the first is the default. Without any: 200, or 204 for a result of ``None``.
        query, media: see ``Endpoint``.
    """

    def decorate(method: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[None]]:
        hints = get_type_hints(method)
        takes, gives = hints.get("body"), hints["return"] if hints["return"] is not type(None) else None
        summary = (method.__doc__ or "").split("\n", 1)[0].rstrip(".")
        described = Endpoint(summary, takes, gives, query or {}, statuses or (200 if gives else 204,), media)

        @wraps(method)
        async def answer(self: ApiHandler, *path: str) -> None:
            if self.request.method not in SAFE_METHODS:
                self.require_fresh_password()
            given = {"body": self.decode_body(takes)} if takes is not None else {}
            self.set_status(described.statuses[0])
            result = await method(self, *path, **given)
            if result is not None:
                self.answer(result, self.get_status())

        answer.endpoint = described  # type: ignore[attr-defined]
        return answer

    return decorate
