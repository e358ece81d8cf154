"""``KeyCheck``: recognizes keys of another installation, before they sign everybody out or make sessions unreadable.

The store keeps a check value of each key, from which the key cannot be computed. It must not know what the keys do.
"""

from __future__ import annotations

import hmac
import logging
from collections.abc import Sequence
from typing import NamedTuple

import msgspec

from tornado_sessions.damage import Unreadable
from tornado_sessions.errors import ConfigError, StoreUnavailable
from tornado_sessions.server.documents import Document, DocumentStore

__all__ = ["ENCRYPTION", "SIGNING", "KeyCheck", "Purpose"]

logger = logging.getLogger("tornado_sessions.security")

_KIND = "installation"
# Check values that are kept. Keys are replaced one at a time, so earlier ones are of no use.
_MAX_KEPT = 8


class Purpose(NamedTuple):
    """What keys are for.

    Attributes:
        name: of their document.
        foreign: what is wrong if the installation knows none of them.
        behind: what is wrong if it knows a newer one.
    """

    name: str
    foreign: str
    behind: str


SIGNING = Purpose(
    "keys",
    "the servers of this store use other signing keys: with this key, all users would be signed out, and the "
    "audit log would appear altered. Set --secret-file or SESSIONS_SECRET to the key of the other servers, or restore "
    "the file 'secret' beside the database. To discard the earlier keys permanently: server.py replace-keys",
    "other servers have a newer signing key than this process, which does not accept their cookies",
)
ENCRYPTION = Purpose(
    "encryption keys",
    "the values of this store's sessions are encrypted with another key, without which they cannot be read. Set "
    "--encryption-key or SESSIONS_ENCRYPTION_KEY to the key of the other servers; to change it, put the new key before it. To "
    "discard the values and the earlier keys permanently: server.py replace-keys",
    "other servers have a newer encryption key than this process, which cannot read what they store",
)


class _KnownKeys(msgspec.Struct, frozen=True):
    """The stored form: check values, newest key first."""

    key: str
    checks: list[str]


class KeyCheck:
    """Compares the keys of this process with those of the installation.

    Args:
        documents: keeps the check values.
        keys: newest first. None are foreign keys, too, if the installation knows some.
        purpose: what they are for.
    """

    def __init__(self, documents: DocumentStore, keys: Sequence[str], purpose: Purpose = SIGNING) -> None:
        self._documents = documents
        self._purpose = purpose
        self._checks = [_check_value(key) for key in keys]

    async def open(self) -> None:
        """Compare the keys, and add new ones to those that the installation knows. The first start makes all keys known.

        Raises:
            ConfigError: the installation knows none of these keys.
            StoreUnavailable: the store cannot be read.
        """
        while True:
            document, known = await self._stored()
            if known and not set(known) & set(self._checks):
                raise ConfigError(self._purpose.foreign)
            if known and known[0] not in self._checks:
                logger.warning(self._purpose.behind)
            if set(self._checks) <= set(known):
                return
            try:
                # Another process may start at the same time; then look again.
                if await self._store(
                    document, [*self._checks, *(check for check in known if check not in self._checks)]
                ):
                    return
            except StoreUnavailable as error:
                # A store that is full or read-only still serves readers.
                logger.warning("the check values of the %s cannot be stored: %s", self._purpose.name, error)
                return

    async def replace(self) -> None:
        """Make these keys the only known ones. Raises ``StoreUnavailable``."""
        while not await self._store((await self._stored())[0], self._checks):
            pass

    async def _stored(self) -> tuple[Document | None, list[str]]:
        document = await self._documents.get(_KIND, self._purpose.name)
        try:
            return document, document.read(_KnownKeys, "key").checks if document is not None else []
        except Unreadable as error:
            logger.warning(
                "the check values of the %s are damaged and are written again: %s", self._purpose.name, error.why
            )
            return document, []

    async def _store(self, document: Document | None, checks: list[str]) -> bool:
        if document is not None and document.damage:
            await self._documents.delete(_KIND, self._purpose.name)
            document = None
        name = self._purpose.name
        body = msgspec.json.encode(_KnownKeys(name, checks[:_MAX_KEPT]))
        revision = document.revision + 1 if document is not None else 1
        return await self._documents.put(_KIND, Document(name, revision, body))


def _check_value(key: str) -> str:
    return hmac.digest(key.encode(), b"tornado_sessions key check", "sha256").hex()[:32]
