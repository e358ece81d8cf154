"""``ActPage``: the base of pages that ask before an action, with what will happen, a reason and a proof. It works without a script.

It must not know any page.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from tornado_sessions.server.accounts.errors import AccountError
from tornado_sessions.server.operations.errors import OperationRefused
from tornado_sessions.server.web.operators import OperatorHandler

__all__ = ["ActPage"]


class ActPage(OperatorHandler):
    """Shows a form with GET, and runs its action with POST. A refused form is shown again with what was typed."""

    def typed(self, name: str) -> str:
        """Return what was typed into a field of the form, or what the link to the form says."""
        return self.form_value(name) if self.request.method == "POST" else self.query_value(name)

    async def run(self, action: Callable[[], Awaitable[object]]) -> dict[str, str]:
        """Check the proof and run the action. Return what is wrong with the form, by field; empty on success."""
        if fault := await self.confirm_password():
            return {"password": fault}
        try:
            await action()
        except (AccountError, OperationRefused) as error:
            self.set_error_status(error)
            return self.form_faults(error) if isinstance(error, AccountError) else {"": self.say_error(error)}
        return {}

    def ask(self, template: str, faults: dict[str, str] | None = None, **names: Any) -> None:
        """Show the form."""
        self.render_page(template, faults=faults or {}, typed=self.typed, **names)
