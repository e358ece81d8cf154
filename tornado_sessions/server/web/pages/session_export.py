"""``/admin/sessions.csv`` and ``/admin/sessions.jsonl``: the list as a file. It must not know how it is written."""

from __future__ import annotations

from tornado_sessions.server.operations import rules
from tornado_sessions.server.operations.action_names import Action
from tornado_sessions.server.web.exports import ExportHandler

__all__ = ["SessionExport"]


class SessionExport(ExportHandler):
    """The sessions of a list, with its filters and order."""

    role_to_act = rules.REQUIRED_ROLE[Action.EXPORT_SESSIONS]

    async def get(self, file_type: str) -> None:
        """Send the file, or redirect to the list if the password has to be entered again."""
        fault = "" if self.has_fresh_password() else self.say("Enter your password again to export.")
        await self._answer(file_type, fault)

    async def post(self, file_type: str) -> None:
        """Check the password and send the file."""
        await self._answer(file_type, await self.confirm_password())

    async def _answer(self, file_type: str, fault: str) -> None:
        view = await self.view()
        if fault:
            self.notify(fault, kind="bad")
            self.to_dashboard("/?" + self.request.query, status=303)
        else:
            await self.send_sessions(file_type, view)
