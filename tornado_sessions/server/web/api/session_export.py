"""``/admin/api/sessions/export``: a list of sessions as a file. It must not know how it is written."""

from __future__ import annotations

from tornado_sessions.errors import QueryError
from tornado_sessions.server.operations.export import MEDIA_TYPES
from tornado_sessions.server.operations.filters import PARAMETERS, PLACE
from tornado_sessions.server.web.api.base import ApiHandler, endpoint
from tornado_sessions.server.web.exports import ExportHandler

__all__ = ["SessionExportResource"]

_WHOLE = {name: text for name, text in PARAMETERS.items() if name not in PLACE}


class SessionExportResource(ApiHandler, ExportHandler):
    """All sessions of a list."""

    @endpoint(200, query={**_WHOLE, "type": " or ".join(MEDIA_TYPES)}, media=tuple(MEDIA_TYPES.values()))
    async def get(self) -> None:
        """Export the sessions of a list as CSV or as JSON Lines (audited)."""
        self.require_fresh_password()
        file_type = self.query_value("type") or "jsonl"
        if file_type not in MEDIA_TYPES:
            raise QueryError("%s must be one of: %s.", "type", ", ".join(MEDIA_TYPES))
        await self.send_sessions(file_type, await self.view())
