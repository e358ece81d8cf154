"""``ActPage``: the base of pages that ask before an action: they say what will happen, and take a reason and a proof.

It works without JavaScript. It must not know any page.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from tornado_sessions.server.errors import Refused
from tornado_sessions.server.operations.errors import OperationRefused
from tornado_sessions.server.web.operators import OperatorHandler

__all__ = ["ActPage"]


class ActPage(OperatorHandler):
    """Shows a form with GET, and runs its action with POST. A refused form is shown again with what was typed."""

    def typed(self, name: str) -> str:
        """Return what was typed into a field of the form, or what the link to the form says."""
        return self.form_value(name) if self.request.method == "POST" else self.query_value(name)

    async def run(
        self, action: Callable[[], Awaitable[object]], fields: Mapping[type[OperationRefused], str] | None = None
    ) -> dict[str, str]:
        """Check the proof and run the action.

        Args:
            action: what the form asks for.
            fields: the fields that errors are about; the others are about the whole form.

        Returns:
            What is wrong with the form, by field; empty on success.
        """
        if faults := await self.proof_faults():
            return faults
        try:
            await action()
        except OperationRefused as error:
            self.set_error_status(error)
            return {(fields or {}).get(type(error), ""): self.say_error(error)}
        except Refused as error:
            self.set_error_status(error)
            return self.form_faults(error)
        return {}

    def ask(self, template: str, faults: dict[str, str] | None = None, **names: Any) -> None:
        """Show the form."""
        # The fields of the proof have IDs of their own.
        ids = {"code": "password-code"}
        self.render_page(template, faults=faults or {}, ids=ids, typed=self.typed, **names)
