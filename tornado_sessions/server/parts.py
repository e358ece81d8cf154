"""``Parts``: the objects that the server and its commands use, built from the options.

It must not know HTTP, the command line or the environment.
"""

from __future__ import annotations

import hmac
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from hashlib import sha256
from pathlib import Path
from urllib.parse import urlsplit

from tornado_sessions.codec import Codec
from tornado_sessions.config import SessionConfig
from tornado_sessions.drivers.sqlite import database_path
from tornado_sessions.manager import Sessions
from tornado_sessions.opened_store import StoreCall
from tornado_sessions.server.account_people import AccountPeople
from tornado_sessions.server.accounts.budgets import Budgets
from tornado_sessions.server.accounts.device_names import DeviceNames
from tornado_sessions.server.accounts.devices import Devices
from tornado_sessions.server.accounts.identities import Identities
from tornado_sessions.server.accounts.link_store import LinkStore
from tornado_sessions.server.accounts.links import Links
from tornado_sessions.server.accounts.listing import Listing
from tornado_sessions.server.accounts.password_rules import PasswordRules
from tornado_sessions.server.accounts.passwords import Passwords
from tornado_sessions.server.accounts.repository import AccountRepository
from tornado_sessions.server.accounts.service import Accounts
from tornado_sessions.server.accounts.setup import SetupLink
from tornado_sessions.server.accounts.throttle import Throttle
from tornado_sessions.server.documents import open_documents
from tornado_sessions.server.express_takeover import TakenOverUsers, express_of
from tornado_sessions.server.key_check import ENCRYPTION, KeyCheck
from tornado_sessions.server.metrics import Metrics
from tornado_sessions.server.open_id import open_id_of
from tornado_sessions.server.operations.actions import Actions
from tornado_sessions.server.operations.activity import Activity
from tornado_sessions.server.operations.audit import Audit
from tornado_sessions.server.operations.census import Census
from tornado_sessions.server.operations.credentials import Credentials
from tornado_sessions.server.operations.directory import Directory
from tornado_sessions.server.operations.job import JobState
from tornado_sessions.server.operations.jobs import Jobs
from tornado_sessions.server.operations.leases import Leases
from tornado_sessions.server.operations.overview import Overview
from tornado_sessions.server.operations.people import People
from tornado_sessions.server.operations.saved_views import SavedViews
from tornado_sessions.server.operations.security_events import Events
from tornado_sessions.server.operations.suspects import Suspects
from tornado_sessions.server.operations.tokens import Tokens
from tornado_sessions.server.operations.webhook import Webhook
from tornado_sessions.server.secret_file import signing_keys
from tornado_sessions.server.settings import ServerOptions
from tornado_sessions.server.signed_messages import webhook_client

__all__ = ["Parts", "head_file"]

# Seconds. Ended sessions stay visible over a weekend, so that an incident on Friday can be examined on Monday.
_KEEP_ENDED_FOR = 7 * 86400.0
_ROTATE_AFTER = 900.0


class Parts:
    """The objects that the server and its commands use. Creating them opens nothing.

    Args:
        options: the settings.
        passwords: replaces the default hasher, for example by a cheap one for tests.
        clock: returns the time in UTC seconds.

    Raises:
        ConfigError: an option is invalid, or there is no secret and none can be created.
    """

    def __init__(
        self,
        options: ServerOptions,
        *,
        passwords: Passwords | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.options = options
        config = _session_config(options)
        express = express_of(options)
        self.sessions = Sessions(options.store, config=config, clock=clock, takeover=express)
        # If both use the same SQLite file, sessions and documents share its threads.
        self.documents = documents = open_documents(
            options.users or options.store, getattr(self.sessions.store, "database", None)
        )
        keys = config.keys("secret")
        passwords = passwords or Passwords()
        budgets = Budgets(documents, hmac.digest(keys[0].encode(), b"tornado_sessions budgets", "sha256"), clock)
        throttle = Throttle(budgets, Devices(keys, clock), passwords.hashing)
        rules = PasswordRules(options.min_password_length, _host_names(options))
        self.open_id = open_id_of(options, clock)
        self.identities = Identities(repository := AccountRepository(documents), documents, clock)
        self.accounts = Accounts(repository, passwords, throttle, Codec(keys), rules, clock)
        if express is not None:
            express.find_user = TakenOverUsers(self.accounts, clock).find
        self.links = Links(self.accounts, LinkStore(documents, clock))
        self.device_names = DeviceNames(documents)
        self.people: People = AccountPeople(self.accounts, Listing(self.accounts.repository, clock), self.links)
        self.audit = Audit(documents, clock, keys, head_file(options))
        self.credentials = Credentials(self.people, self.sessions, self.audit)
        self.directory = Directory(self.people, self.sessions, self.audit)
        self.keys = KeyCheck(documents, keys)
        self.encryption_keys = KeyCheck(documents, config.keys("encryption_key"), ENCRYPTION)
        self.tokens = Tokens(documents, self.people, clock)
        self.jobs = Jobs(self.sessions, self.audit, documents, clock)
        self.metrics = Metrics(self.sessions.store.backend)
        leases = Leases(documents)
        self.census = Census(self.sessions, documents, leases, clock)
        self.suspects = Suspects(self.audit, self.census, clock)
        self.saved_views = SavedViews(documents)
        self.activity = Activity(self.sessions, documents, self.census, clock, self.metrics.event)
        self.overview = Overview(self.sessions, self.people, self.audit, self.jobs, self.activity, clock)
        self.events = Events(self.audit, options.keep_audit_for)
        self.actions = Actions(self.sessions, self.people, self.tokens, self.audit, self.jobs, leases)
        self.setup = SetupLink(self.accounts, documents, clock)
        client = webhook_client(options)
        self.webhook = Webhook(self.audit, documents, leases, clock, client.send) if client is not None else None
        self._connect(passwords)

    def _connect(self, passwords: Passwords) -> None:
        """Let the sessions report to the audit log, the activity and the metrics."""
        watch = self.metrics.watch
        watch("store_calls_in_progress", "Calls of the session store without an answer", lambda: self.sessions.calling)
        watch("hashing_queue", "Sign-ins that wait for a password to be hashed", lambda: len(passwords.hashing))
        self.sessions.on_store_call = self._store_call
        self.sessions.on_theft, self.sessions.on_move = self.audit.suspect, self.events.moved
        self.sessions.on_takeover = self.events.taken_over
        self.sessions.on_ended = lambda number: self.activity.count("ended", number)
        self.sessions.on_expired = self.events.expired

    async def open(self) -> None:
        """Open all stores. Raises ``StoreError``, or ``ConfigError`` if the installation does not know the signing keys."""
        for part in (self.sessions, self.documents, self.keys, self.encryption_keys, self.accounts):
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

    async def start(self) -> None:
        """Start the background work: resume jobs, write counts, delete old audit entries."""
        for part in (self.metrics, self.jobs, self.census, self.activity, self.events):
            await part.open()
        if self.webhook is not None:
            await self.webhook.open()

    def _store_call(self, call: StoreCall) -> None:
        self.metrics.store_call(call)
        if call.operation == "expire" and not call.failed:
            self.activity.cleaned_up()

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
        background = (self.events, self.jobs, self.census, self.activity, self.metrics, self.audit)
        for part in (*background, self.accounts, self.documents, self.sessions):
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
