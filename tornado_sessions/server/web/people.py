"""What the pages of people share: their accounts, their security events, forms that failed.

It must not know any page.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from tornado_sessions.server.accounts.errors import AccountError, InvalidForm, WrongCredentials
from tornado_sessions.server.operations.action_names import Action
from tornado_sessions.server.web.base import PageHandler

__all__ = ["AccountHandler"]


class AccountHandler(PageHandler):
    """A page of somebody who has an account, or makes one."""

    def recorder(self, act: Action, user: str) -> Callable[[], Awaitable[None]]:
        """What writes down an act of a user with their own account, when it is called."""
        return lambda: self.record(act, user)

    async def record_failure(self, name: str, error: AccountError) -> None:
        """Count a failed log-in, and write it down where there is such an account: what else was typed may be a password."""
        if not isinstance(error, WrongCredentials):
            return
        self.count("failures")
        user = await self.parts.accounts.look_up(name)
        if user is not None:
            await self.record(Action.LOG_IN_FAILED, user.name)

    def fail(self, template: str, error: AccountError, **names: Any) -> None:
        """Show the form again with what was wrong; what was typed stays, but no password."""
        self.set_error_status(error)
        faults = error.faults if isinstance(error, InvalidForm) else {"": str(error)}
        self.render(template, faults=faults, **names)
