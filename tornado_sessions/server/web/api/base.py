"""``ApiHandler``: what the resources of the API share: authentication, request bodies and answers.

It must not know HTML or any resource. Errors are problem+json (RFC 9457). A client is a session with a form token, or the
bearer of an API token.
"""

from __future__ import annotations

from typing import ClassVar, TypeVar

import msgspec
from tornado.web import HTTPError

from tornado_sessions.server.operations import schema as answers
from tornado_sessions.server.operations.actions import Outcome
from tornado_sessions.server.operations.audit import Actor
from tornado_sessions.server.operations.tokens import ApiToken, Scope
from tornado_sessions.server.roles import Role
from tornado_sessions.server.web.operators import OperatorHandler

__all__ = ["HANDLE", "ApiHandler"]

T = TypeVar("T")
HANDLE = "([A-Za-z0-9]{1,64})"


class ApiHandler(OperatorHandler):
    """What the API's answers share."""

    wants_json = True
    #: What a token needs to look and to act; ``None``: only people may.
    reads: ClassVar[Scope | None] = Scope.READ
    writes: ClassVar[Scope | None] = Scope.END
    _token: ApiToken | None = None

    async def authenticate(self) -> str | None:
        """The bearer of an API token, or else the session's user."""
        given = self._token_given()
        if given is None:
            return await super().authenticate()
        scheme, _, text = given.partition(" ")
        is_bearer = scheme.lower() == "bearer"
        self._token = await self.parts.tokens.verify(text.strip(), self.client_ip) if is_bearer else None
        if self._token is None:
            raise HTTPError(401, "this API token is not valid")
        needed = self.reads if self.request.method in ("GET", "HEAD") else self.writes
        self.role = Role.ADMIN if needed in self._token.scopes else Role.USER
        return f"token {self._token.name}"

    def check_form(self) -> None:
        """No page of another site can send an ``Authorization`` header, so it needs no form token."""
        if self._token_given() is None:
            super().check_form()

    def _token_given(self) -> str | None:
        """What stands in the header, read in one place, so that who lets in and who checks forms never disagree."""
        return self.request.headers.get("Authorization", "").strip() or None

    def actor(self) -> Actor:
        """The token's name, or the user."""
        if self._token is None:
            return super().actor()
        # Its scopes let it in; beside people it is an operator, whoever made it.
        return Actor(f"token {self._token.name}", self.client_ip, Role.OPERATOR)

    def need_proof(self) -> None:
        """Refuse force by a session whose user gave the password long ago."""
        if self._token is None and not self.has_fresh_password():
            raise HTTPError(403, "log in again: this needs a password given in the last 5 minutes")

    def body(self, kind: type[T]) -> T:
        """What was sent. Raises ``HTTPError`` when it is not of this kind."""
        try:
            return msgspec.json.decode(self.request.body, type=kind)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise HTTPError(400, "%s", error) from None

    def answer_outcome(self, outcome: Outcome) -> None:
        """How many ended; 202 while a job goes on with the rest."""
        answer = answers.Destroyed(outcome.ended)
        if outcome.job is not None and outcome.goes_on:
            answer.job = outcome.job.id
        self.answer(answer, 202 if outcome.job is not None and outcome.goes_on else 200)
