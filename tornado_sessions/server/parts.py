"""``Parts``: the objects that the server and its commands use, built from the options.

It must not know HTTP, the command line or the environment.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from hashlib import sha256
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from typing_extensions import override

from tornado_sessions.config import SessionConfig
from tornado_sessions.drivers.sqlite import database_path
from tornado_sessions.manager import Sessions
from tornado_sessions.opened_store import StoreCall
from tornado_sessions.server.account_parts import AccountParts
from tornado_sessions.server.accounts.document_users import DocumentUsers
from tornado_sessions.server.accounts.fields import Field
from tornado_sessions.server.accounts.identities import Identities
from tornado_sessions.server.accounts.password_rules import PasswordRules
from tornado_sessions.server.accounts.passwords import Passwords
from tornado_sessions.server.dashboard_parts import Setting
from tornado_sessions.server.documents import open_documents
from tornado_sessions.server.express_takeover import TakenOverUsers, check_express, express_of
from tornado_sessions.server.key_check import ENCRYPTION, KeyCheck
from tornado_sessions.server.mail.service import Mail
from tornado_sessions.server.metrics import Metrics
from tornado_sessions.server.open_id import open_id_of
from tornado_sessions.server.operations.job import JobState
from tornado_sessions.server.operations.webhook import Webhook
from tornado_sessions.server.secret_file import signing_keys
from tornado_sessions.server.settings import ServerOptions, variable_of
from tornado_sessions.server.signed_messages import webhook_client

__all__ = ["Parts", "head_file", "setting_of"]

# Seconds. Ended sessions stay visible over a weekend, so that an incident on Friday can be examined on Monday.
_KEEP_ENDED_FOR = 7 * 86400.0
_ROTATE_AFTER = 900.0


class Parts(AccountParts):
    """The objects that the server and its commands use. Creating them opens nothing.

    Args:
        options: the settings.
        passwords: replaces the default hasher, for example by a cheap one for tests.
        fields: what to ask users for besides a name, an email and a password.
        clock: returns the time in UTC seconds.

    Raises:
        ConfigError: an option is invalid, or there is no secret and none can be created.
    """

    def __init__(
        self,
        options: ServerOptions,
        *,
        passwords: Passwords | None = None,
        fields: Iterable[Field] = (),
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.options = options
        config = _session_config(options)
        express = express_of(options)
        sessions = Sessions(options.store, config=config, clock=clock, takeover=express)
        # If both use the same SQLite file, sessions and documents share its threads.
        documents = open_documents(options.users or options.store, getattr(sessions.store, "database", None))
        passwords = passwords or Passwords()
        self.metrics = Metrics(sessions.store.backend)
        super().__init__(
            sessions,
            users := DocumentUsers(documents, sessions.destroy_user),
            documents,
            rules=PasswordRules(options.min_password_length, _host_names(options)),
            passwords=passwords,
            fields=fields,
            head=head_file(options),
            keep_audit_for=options.keep_audit_for,
            count_event=self.metrics.event,
        )
        self.open_id, self.oidc_only = open_id_of(options, clock), options.oidc_only
        self.credentials.are_used = not options.oidc_only
        self.identities = Identities(users, self.accounts.repository, documents, clock)
        self._express = express
        if express is not None:
            express.find_user = TakenOverUsers(self.accounts, clock).find
        if options.smtp_url:
            self._send_mail(clock)
        self.keys = KeyCheck(documents, config.keys("secret"))
        self.encryption_keys = KeyCheck(documents, config.keys("encryption_key"), ENCRYPTION)
        client = webhook_client(options)
        self.webhook = Webhook(self.audit, documents, self.leases, clock, client.send) if client is not None else None
        self._watch(passwords)

    def _watch(self, passwords: Passwords) -> None:
        watch = self.metrics.watch
        watch("store_calls_in_progress", "Calls of the session store without an answer", lambda: self.sessions.calling)
        watch("hashing_queue", "Sign-ins that wait for a password to be hashed", lambda: len(passwords.hashing))

    def _send_mail(self, clock: Callable[[], float]) -> None:
        services: dict[str, Any] = {"codec": self.codec, "budgets": self.budgets, "clock": clock}
        mail = Mail(self.options, self.accounts, self.links, self.confirmations, documents=self.documents, **services)
        self.mail = self.people.mail = mail
        self.overview.own_checks = mail.checks
        self.accounts.on_recovery_code = mail.tell_of_recovery_code

    @override
    def setting(self, name: str) -> Setting:
        return setting_of(self.sessions.config, self.options, name)

    @override
    async def open(self) -> None:
        """Open all stores. Raises ``StoreError``, or ``ConfigError`` if the installation does not know the signing keys."""
        await super().open()
        for part in (self.keys, self.encryption_keys):
            await part.open()
        if self.webhook is not None:
            await self.webhook.prepare()

    @asynccontextmanager
    async def opened(self) -> AsyncIterator[None]:
        """Open all stores, and close everything at the end of the ``async with`` block. Raises ``StoreError``."""
        try:
            await self.open()
            yield
        finally:
            await self.close()

    @override
    async def start(self) -> None:
        await self.metrics.open()
        await super().start()
        if self._express is not None:
            await check_express(self._express, self.sessions.clock())
        if self.webhook is not None:
            await self.webhook.open()
        if self.mail is not None:
            await self.mail.outbox.open()

    @override
    def measured(self, call: StoreCall) -> None:
        self.metrics.store_call(call)
        super().measured(call)

    async def measure_stores(self) -> None:
        """Update the metrics that need a query. Raises ``StoreUnavailable``."""
        count, figures = await self.sessions.count(), await self.census.known()
        # Of many sessions, a count is only a lower bound, but all are counted every minute.
        self.metrics.live.set(count.total if count.exact or figures is None else figures.active)
        self.metrics.jobs.set(len(await self.jobs.listed(JobState.RUNNING)))
        look = await self.audit.look()
        self.metrics.audit_head.set(look.number)
        self.metrics.audit_entries.set(look.kept)
        self.metrics.audit_faults.set(len(look.all_faults))
        self.metrics.store_up.set(1)

    async def close(self) -> None:
        """Stop the background work and close all stores."""
        if self.webhook is not None:
            await self.webhook.close()
        # The background work comes first, because it still uses the stores.
        if self.mail is not None:
            await self.mail.outbox.close()
        await self.stop()
        for part in (self.metrics, self.accounts, self.documents, self.sessions):
            await part.close()


def head_file(options: ServerOptions) -> Path | None:
    """Return the file for the head of the audit log: beside the SQLite file that contains the log, or beside the secret."""
    url = options.users or options.store
    if url.startswith("sqlite:"):
        return Path(database_path(url).path + ".audit-head")
    if options.secret_file and not url.startswith("memory:"):
        # One for each store, so that a server that moves to another one does not miss the entries of the former.
        store = sha256(url.rpartition("@")[2].encode()).hexdigest()[:8]
        return Path(f"{options.secret_file}.audit-head-{store}")
    return None


def setting_of(config: SessionConfig, options: ServerOptions, name: str) -> Setting:
    """Return a setting of the library or of the server."""
    value = getattr(config if hasattr(config, name) else options, name)
    if name not in ServerOptions.model_fields:
        return Setting(value)
    return Setting(value, f"--{name.replace('_', '-')}", variable_of(name))


def _host_names(options: ServerOptions) -> list[str]:
    return [urlsplit(options.public_url or "").hostname or "", *options.allowed_hosts]


def _session_config(options: ServerOptions) -> SessionConfig:
    # A name with this prefix says that browsers must not send the cookie over http.
    is_secure = (options.cookie_name or "").lower().startswith(("__host-", "__secure-"))
    return SessionConfig(
        cookie_name=options.cookie_name,
        path=options.base_path or "/",
        secure=True if is_secure else "auto",
        secret=signing_keys(options),
        encryption_key=options.encryption_key or None,
        idle_timeout=options.idle_timeout,
        absolute_timeout=options.absolute_timeout,
        store_timeout=options.store_timeout,
        trusted_proxies=options.trusted_proxies,
        forwarded_header=options.forwarded_header,
        rotate_after=_ROTATE_AFTER,
        keep_ended_for=_KEEP_ENDED_FOR,
    )
