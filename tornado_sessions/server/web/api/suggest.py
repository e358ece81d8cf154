"""``/admin/api/suggest``: suggest filters for the text typed so far. It must not know how they are found."""

from __future__ import annotations

from tornado_sessions.server.operations import schema
from tornado_sessions.server.operations.suggest import suggest
from tornado_sessions.server.web.api.base import ApiHandler, endpoint

__all__ = ["SuggestResource"]


class SuggestResource(ApiHandler):
    """Suggestions for the search of the list."""

    @endpoint(query={"q": "the beginning of a username, IP address or session ID"})
    async def get(self) -> schema.SuggestionList:
        """Suggest filters for a text."""
        text = self.query_value("q")
        return schema.suggestion_list(await self.ask_store(lambda: suggest(self.parts.sessions, text)))
