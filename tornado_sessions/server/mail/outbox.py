"""``Outbox``: mails that wait in the store until they are sent, by whichever process comes first.

A mail is sent at least once: a crash loses none, but may send a copy, with the same ``Message-ID``. It must not know what a
mail says or how it is sent. Letters are stored encrypted, because they contain addresses.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import Awaitable, Callable

import msgspec

from tornado_sessions.background import BackgroundLoop
from tornado_sessions.codec import Codec
from tornado_sessions.errors import DecodeError
from tornado_sessions.server.documents import Document, DocumentStore
from tornado_sessions.server.mail.errors import MailRefused, MailUnavailable
from tornado_sessions.server.mail.letters import Letter

__all__ = ["Outbox"]

logger = logging.getLogger("tornado_sessions.mail")

_KIND = "mail"
#: Seconds between two looks into the store, and how many mails a process sends at the same time.
_INTERVAL, _AT_ONCE = 1.0, 4
#: Seconds after which another process takes a mail whose sender has crashed; longer than sending may take.
_CLAIM = 120.0
#: Seconds until each further attempt; the last one repeats until the mail expires.
_PAUSES = (5.0, 30.0, 120.0, 600.0, 1800.0)


class Outbox:
    """Stores mails, and delivers those that are due.

    Args:
        documents: stores the mails. The key of a mail begins with the time at which it is due.
        codec: encrypts them.
        clock: the time in UTC seconds.
        send: sends one mail; raises ``MailUnavailable`` to try again later and ``MailRefused`` to give up.
    """

    def __init__(
        self,
        documents: DocumentStore,
        codec: Codec,
        clock: Callable[[], float],
        send: Callable[[Letter], Awaitable[None]],
    ) -> None:
        self._documents = documents
        self._codec = codec
        self._clock = clock
        self._send = send
        self._loop = BackgroundLoop(self.deliver, _INTERVAL, "mails wait")

    async def open(self) -> None:
        """Start to deliver."""
        self._loop.start()

    async def close(self) -> None:
        """Stop. What is being sent is sent again by another process."""
        await self._loop.stop()

    async def add(self, letter: Letter) -> None:
        """Store a mail. Raises ``StoreUnavailable``."""
        await self._put(letter, self._clock())

    async def _put(self, letter: Letter, due_at: float) -> str:
        key = f"{int(due_at * 1000):014d}.{secrets.token_hex(8)}"
        body = self._codec.seal(key, _KIND, msgspec.json.encode(letter))
        await self._documents.put(_KIND, Document(key, 1, body))
        return key

    async def deliver(self) -> None:
        """Send the mails that are due. The background work calls it every second. Raises ``StoreUnavailable``."""
        while due := await self._due():
            await asyncio.gather(*map(self._handle, due))

    async def _due(self) -> list[Document]:
        now = int(self._clock() * 1000)
        found = await self._documents.page(_KIND, limit=_AT_ONCE)
        return [document for document in found if not document.key[:14].isdigit() or int(document.key[:14]) <= now]

    async def _handle(self, document: Document) -> None:
        letter, now = self._read(document), self._clock()
        if letter is None or letter.expires_at <= now:
            if await self._documents.delete(_KIND, document.key):
                logger.warning("a mail was not sent: %s", "it is too old" if letter else "its record cannot be read")
            return
        tried = msgspec.structs.replace(letter, attempts=letter.attempts + 1)
        # Store the next attempt before this one begins, so that a crash loses nothing.
        retry = await self._put(tried, now + _CLAIM)
        if not await self._documents.delete(_KIND, document.key):
            # Another process has taken it.
            await self._documents.delete(_KIND, retry)
            return
        try:
            await self._send(letter)
        except MailUnavailable as error:
            pause = _PAUSES[min(letter.attempts, len(_PAUSES) - 1)]
            logger.warning("a mail (%s) waits %g s for another attempt: %s", letter.kind.value, pause, error)
            await self._put(tried, self._clock() + pause)
        except MailRefused as error:
            logger.warning("a mail (%s) was given up: %s", letter.kind.value, error)
        await self._documents.delete(_KIND, retry)

    def _read(self, document: Document) -> Letter | None:
        if document.damage:
            return None
        try:
            return msgspec.json.decode(self._codec.unseal(document.key, _KIND, document.body), type=Letter)
        except (DecodeError, msgspec.MsgspecError, UnicodeDecodeError):
            return None
