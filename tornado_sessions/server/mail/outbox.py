"""``Outbox``: mails that wait in the store until they are sent, by whichever process comes first.

A mail is sent at least once: a crash loses none, but may send a copy, with the same ``Message-ID``. It must not know what a
mail says or how it is sent. Letters are stored encrypted, because they contain addresses.
"""

from __future__ import annotations

import asyncio
import logging
import random
import secrets
from collections.abc import Awaitable, Callable
from typing import NamedTuple

import msgspec

from tornado_sessions.background import BackgroundLoop
from tornado_sessions.codec import Codec
from tornado_sessions.errors import DecodeError
from tornado_sessions.server.documents import Count, Document, DocumentStore
from tornado_sessions.server.mail.errors import MailRefused, MailUnavailable
from tornado_sessions.server.mail.letters import Letter

__all__ = ["Outbox", "OutboxState"]

logger = logging.getLogger("tornado_sessions.mail")

_KIND = "mail"
#: Seconds between checks of the store for mails of other processes and commands, and of a process that has died.
_INTERVAL = 20.0
#: Seconds from a new mail to its delivery, at random: the load of a delivery must not reveal whether an account exists.
_SOON = (0.2, 1.2)
#: How many mails a process sends at the same time, and how many records it looks at to find those that are not claimed.
_AT_ONCE, _LOOK = 4, 100
#: Seconds for which a mail is claimed besides its pause; longer than sending may take.
_CLAIM = 120.0
#: Seconds until each further attempt; the last one repeats until the mail expires.
_PAUSES = (5.0, 30.0, 120.0, 600.0, 1800.0)
#: How often a process may die while it sends a mail before the mail is dropped: each attempt may have delivered it.
_MAX_DEATHS = 5
#: The count of mails that were dropped within a day, and a day in seconds.
_GIVEN_UP, _DAY = "mails given up", 86400.0
#: Maximum number of records that are read to count the waiting mails.
_MAX_WAITING = 500


class OutboxState(NamedTuple):
    """What operators should know about the mails.

    Attributes:
        failing: how many wait for another attempt; at most 500 are counted.
        fault: why the last attempt of one of them failed; it names no address.
        given_up: how many were dropped within a day.
    """

    failing: int
    fault: str
    given_up: int


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
        """Stop. Another process resends a mail whose delivery is interrupted."""
        await self._loop.stop()

    async def add(self, letter: Letter) -> None:
        """Store a mail. Raises ``StoreUnavailable``."""
        await self._put(letter, self._clock())
        self._loop.wake(random.uniform(*_SOON))

    async def _put(self, letter: Letter, due_at: float) -> None:
        key = f"{int(due_at * 1000):014d}.{secrets.token_hex(8)}"
        await self._documents.put(_KIND, self._sealed(key, 1, letter))

    def _sealed(self, key: str, revision: int, letter: Letter) -> Document:
        return Document(key, revision, self._codec.seal(key, _KIND, msgspec.json.encode(letter)))

    async def deliver(self) -> None:
        """Send the mails that are due. The background work calls it. Raises ``StoreUnavailable``."""
        while due := await self._due():
            await asyncio.gather(*(self._handle(document, letter) for document, letter in due))

    async def _due(self) -> list[tuple[Document, Letter | None]]:
        """Return the next mails that are due and that no process has claimed."""
        now = self._clock()
        due: list[tuple[Document, Letter | None]] = []
        for document in await self._documents.page(_KIND, limit=_LOOK):
            at = document.key[:14]
            if len(due) == _AT_ONCE or (at.isdigit() and int(at) > int(now * 1000)):
                break
            letter = self._read(document)
            if letter is None or letter.claimed_until <= now:
                due.append((document, letter))
        return due

    async def _handle(self, document: Document, letter: Letter | None) -> None:
        now = self._clock()
        if letter is None or letter.expires_at <= now:
            if await self._documents.delete(_KIND, document.key):
                logger.warning("a mail was not sent: %s", "it is too old" if letter else "its record cannot be read")
                await self._documents.count([Count(_GIVEN_UP, 1, _DAY)], now)
            return
        claimed = await self._claim(document, letter, now)
        if claimed is None:
            return
        if claimed.deaths > _MAX_DEATHS:
            await self._give_up(letter, f"{_MAX_DEATHS} processes died while they sent it")
        else:
            await self._send_claimed(document, claimed)
        await self._documents.delete(_KIND, document.key)

    async def _claim(self, document: Document, letter: Letter, now: float) -> Letter | None:
        """Take a mail for this process; return ``None`` if another one has taken it. If this process dies, it is due again."""
        if letter.replaces:
            # Its process died after it had stored the next attempt.
            await self._documents.delete(_KIND, letter.replaces)
        claimed = msgspec.structs.replace(
            letter,
            attempts=letter.attempts + 1,
            # Longer than the pause before the next attempt, which removes this record.
            claimed_until=now + _CLAIM + _pause_after(letter),
            deaths=letter.deaths + bool(letter.claimed_until),
            replaces="",
        )
        # Of several processes, one replaces this revision.
        is_ours = await self._documents.put(_KIND, self._sealed(document.key, document.revision + 1, claimed))
        return claimed if is_ours else None

    async def _send_claimed(self, document: Document, claimed: Letter) -> None:
        letter = msgspec.structs.replace(claimed, attempts=claimed.attempts - 1)
        try:
            await self._send(letter)
        except MailUnavailable as error:
            pause = _pause_after(letter)
            logger.warning("a mail (%s) waits %g s for another attempt: %s", letter.kind.value, pause, error)
            waiting = msgspec.structs.replace(claimed, claimed_until=0.0, fault=str(error), replaces=document.key)
            await self._put(waiting, self._clock() + pause)
            self._loop.wake(pause)
        except MailRefused as error:
            await self._give_up(letter, str(error))

    async def _give_up(self, letter: Letter, why: str) -> None:
        logger.warning("a mail (%s) could not be sent and was dropped: %s", letter.kind.value, why)
        await self._documents.count([Count(_GIVEN_UP, 1, _DAY)], self._clock())

    async def state(self) -> OutboxState:
        """Return what operators should know about the mails. Raises ``StoreUnavailable``."""
        letters = [self._read(document) for document in await self._documents.page(_KIND, limit=_MAX_WAITING)]
        failing = [letter for letter in letters if letter is not None and letter.fault]
        (given_up,) = await self._documents.count([Count(_GIVEN_UP, 0, _DAY)], self._clock())
        return OutboxState(len(failing), failing[-1].fault if failing else "", given_up.amount)

    def _read(self, document: Document) -> Letter | None:
        if document.damage:
            return None
        try:
            return msgspec.json.decode(self._codec.unseal(document.key, _KIND, document.body), type=Letter)
        except (DecodeError, msgspec.MsgspecError, UnicodeDecodeError):
            return None


def _pause_after(letter: Letter) -> float:
    return _PAUSES[min(letter.attempts, len(_PAUSES) - 1)]
