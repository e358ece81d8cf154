"""``ExportHandler``: sends a long list as a file, page by page, so that it never has to fit into memory.

It must not know what is exported.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator

from tornado.iostream import StreamClosedError
from tornado.web import HTTPError

from tornado_sessions.errors import SessionError
from tornado_sessions.server.operations.action_names import Action
from tornado_sessions.server.operations.errors import TooManyExports
from tornado_sessions.server.operations.export import MEDIA_TYPES, session_lines
from tornado_sessions.server.operations.filters import View
from tornado_sessions.server.web.operators import OperatorHandler

__all__ = ["ExportHandler"]

logger = logging.getLogger("tornado_sessions")

#: Rows of a page: the most that a store reads at once.
_PAGE = 500


class ExportHandler(OperatorHandler):
    """Base of handlers that send a file. The client may close the connection at any time, which ends the export."""

    own_pages_only = True

    async def send_file(
        self, name: str, file_type: str, action: Action, target: str, lines: AsyncIterator[str]
    ) -> None:
        """Record an export and send its file.

        Args:
            name: of the file, without its type.
            file_type: a key of ``MEDIA_TYPES``.
            action, target: of the audit entry.
            lines: the text of the file, in pieces.

        Raises:
            TooManyExports: others are running in this process, or one of the same person.
            StoreUnavailable: the entry or the first piece failed; nothing was sent.
        """
        self.set_header("Content-Type", MEDIA_TYPES[file_type])
        self.set_header("Content-Disposition", f'attachment; filename="{name}.{file_type}"')
        if self.request.method == "HEAD":
            # HEAD sends nothing, so there is nothing to record.
            await self.flush()
            return
        person = self.actor().name
        if not self.site.exports.take(person):
            raise TooManyExports
        try:
            await self.parts.audit.note(self.actor(), action, target=target)
            await self._send(lines)
        finally:
            self.site.exports.leave(person)

    async def _send(self, lines: AsyncIterator[str]) -> None:
        try:
            async for some in lines:
                # An export may last for minutes, and nothing that was withdrawn in the meantime may leave.
                await self.authorize()
                self.write(some)
                await self.flush()
        except StreamClosedError:
            return
        except (SessionError, HTTPError) as error:
            if not self._headers_written:
                raise
            # The status has already been sent. Closing the connection shows the client that the file is incomplete.
            logger.warning("an export was aborted: %s", error)
            self.detach().close()

    async def send_sessions(self, file_type: str, view: View) -> None:
        """Send the sessions of a list, all pages of it from the first. Arguments and errors are as for ``send_file``."""
        whole = view._replace(limit=_PAGE)
        filters = [f"{name}={value}" for name, value in view.where.given.items()]
        lines = session_lines(
            lambda cursor: self.find_one(whole._replace(cursor=cursor)), file_type, self.session.handle
        )
        target = " ".join([file_type, view.state.value, *filters])
        await self.send_file("sessions", file_type, Action.EXPORT_SESSIONS, target, lines)
