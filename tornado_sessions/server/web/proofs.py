"""The base handler of everything that asks people to prove who they are, and records what they do.

It must not know any page, or how a password is checked.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from tornado.httputil import HTTPServerRequest
from tornado.web import Application, Finish
from typing_extensions import override

from tornado_sessions.errors import SessionGone
from tornado_sessions.messages import N_
from tornado_sessions.server.errors import Refused
from tornado_sessions.server.operations.action_names import Action
from tornado_sessions.server.web.base import PageHandler

__all__ = ["ProofHandler"]


class ProofHandler(PageHandler):
    """Base of handlers that ask for a proof: a password, or a new sign-in where the application checks passwords elsewhere."""

    def __init__(self, application: Application, request: HTTPServerRequest, **kwargs: Any) -> None:
        #: What is called when the client has left.
        self.when_left: list[Callable[[], None]] = []
        super().__init__(application, request, **kwargs)

    @override
    def on_connection_close(self) -> None:
        """Release this request's places in the queues, because its client has disconnected."""
        for leave in self.when_left:
            leave()
        super().on_connection_close()

    async def record(self, action: Action, user: str, *, target: str = "") -> None:
        """Record an action of a user on their own account."""
        await self.parts.events.note(self.actor(user), action, target)

    def recorder(self, action: Action, user: str) -> Callable[[], Awaitable[None]]:
        """Return a function that records this action, for the ``note`` argument of ``Accounts``."""
        return lambda: self.record(action, user)

    async def confirm_password(self) -> str:
        """Do the same as ``proof_faults``, and return the message only, or an empty string."""
        return next(iter((await self.proof_faults()).values()), "")

    async def proof_faults(self) -> dict[str, str]:
        """Check the form's password, and code if one is required, unless they were entered recently.

        Returns:
            The message for the wrong field, if any. The key ``""`` means that nothing was checked.
        """
        if self.has_fresh_password():
            return {}
        if not self.asks_password:
            self.set_status(400)
            return {"": self.say(N_("First confirm that it's you, then send the form again."))}
        try:
            is_right = await self.site.visitors.verify(self, self.form_value("password", strip=False))
        except Refused as error:
            self.set_error_status(error)
            return self.form_faults(error)
        if not is_right:
            self.set_status(400)
            return {"password": self.say(N_("The current password is wrong."))}
        await self.renew_session(with_code=self.two_steps)
        return {}

    async def renew_session(self, *, with_code: bool) -> None:
        """Give the session a new token after its user has proved who they are: a copy of the old one stops working.

        Raises:
            Finish: the session has ended in the meantime; the response is a redirect.
        """
        try:
            await self.rotate_session(at_once=True)
        except SessionGone:
            self.to_sign_in("", status=303)
            raise Finish from None
        self.mark_password_given(with_code=with_code)

    def form_faults(self, error: Refused) -> dict[str, str]:
        """Return a message for each invalid field, in the user's language. The key ``""`` means the whole form."""
        return {field: self.say(fault) for field, fault in error.faults.items()} or {"": self.say_error(error)}
