"""``AccountPages``: our pages to register, sign in and manage an account, and the dashboard, on an application's table of users.

It must not know settings, commands or the database of the table.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from tornado_sessions.errors import UsageError
from tornado_sessions.manager import Sessions
from tornado_sessions.server.account_parts import AccountParts
from tornado_sessions.server.accounts.device_names import DeviceNames
from tornado_sessions.server.accounts.fields import Field
from tornado_sessions.server.accounts.host_users import HostUsers
from tornado_sessions.server.accounts.password_rules import PasswordRules
from tornado_sessions.server.accounts.passwords import Passwords
from tornado_sessions.server.accounts.service import Accounts
from tornado_sessions.server.accounts.users import Users
from tornado_sessions.server.operations.places import Places
from tornado_sessions.server.web.account_routes import account_pages
from tornado_sessions.server.web.account_site import AccountSite, OnNewDevice, log_new_device
from tornado_sessions.server.web.dashboard import checked_prefix, documents_beside, head_beside
from tornado_sessions.server.web.origins import origin_of
from tornado_sessions.server.web.routes import Route, dashboard_routes, missing_routes, routes_of
from tornado_sessions.server.web.server_visitors import ServerVisitors
from tornado_sessions.server.web.static_files import load_templates

__all__ = ["AccountPages"]


class AccountPages:
    """People register, sign in with a password and a second step, and manage their accounts; operators have the dashboard.

    The table of users is the application's; the rules for passwords, hashing, limits on guessing, two-step verification and
    one-time links are ours. ``session.user`` is the id that the table gives to a user.

    Creating it opens nothing. Add ``routes`` to the application, ``await pages.open()`` before the first request and
    ``await pages.close()`` after the last one.

    Args:
        sessions: the sessions of the application.
        users: its table of users; see ``Users``. A call that takes longer than ``store_timeout``, or raises ``OSError``, is
            answered with 503.
        prefix: the path of the pages, such as ``/auth``: people sign in at ``/auth/login``, and ``/auth/admin/`` is the dashboard.
        home: the path of the page to which a sign-in leads, unless another page asked for it.
        service: the name of the application, as pages and authenticator apps show it.
        store: the URL of the store for the audit log, links and limits; by default, they lie beside the sessions.
        public_url: the address of the application, such as ``https://example.com``; needed behind a proxy that changes ``Host``.
        fields: what to ask users for besides a name, an email and a password; see ``Field``. Values are in ``User.extra``.
        min_password_length: in characters; by default 15, or 8 with two-step verification.
        passwords: replaces the hasher, for example by a cheap one for tests.
        on_new_device: called with the user, the IP address and the name of the device at a sign-in from a new device.
        place: returns the place of an IP address as text; it must not block.

    Attributes:
        accounts: registers users, resets passwords and changes roles, without limits on attempts; for code of the application.

    Raises:
        UsageError: ``users`` lacks a method, the prefix is no path, or ``store`` is missing for sessions in a store of your own or
            on ``dual://``.
        ConfigError: the URL of the store is wrong.
    """

    def __init__(
        self,
        sessions: Sessions,
        *,
        users: Users,
        prefix: str = "/auth",
        home: str = "/",
        service: str = "tornado_sessions",
        store: str | None = None,
        public_url: str = "",
        fields: Iterable[Field] = (),
        min_password_length: int | None = None,
        passwords: Passwords | None = None,
        on_new_device: OnNewDevice = log_new_device,
        place: Callable[[str], str] = lambda _ip: "",
    ) -> None:
        prefix = checked_prefix(prefix)
        if not prefix:
            raise UsageError("prefix must not be empty: the pages have a /static of their own")
        rules = PasswordRules(min_password_length, [service])
        parts = _make_parts(sessions, users, store, rules=rules, passwords=passwords or Passwords(), fields=fields)
        places = parts.census.place = Places(place)
        self._site = AccountSite(
            parts=parts,
            visitors=ServerVisitors(parts),
            prefix=prefix,
            root=prefix,
            dashboard="/admin",
            home="/account",
            landing=home,
            leads_anywhere=True,
            sign_in_url=f"{prefix}/login",
            origin=origin_of(public_url),
            place=places,
            service=service,
            on_new_device=on_new_device,
            # The session belongs to the application as well.
            session_prefix=f"accounts {prefix}: ",
        )

    @property
    def accounts(self) -> Accounts:
        """See the class."""
        return self._site.parts.accounts

    @property
    def login_url(self) -> str:
        """The path of the page on which people sign in, for the setting ``login_url`` of the application."""
        return self._site.sign_in_url

    def routes(self) -> list[Route]:
        """Return the routes for ``Application([*yours, *pages.routes()])``. The last one answers all paths below the prefix."""
        return [
            *routes_of(self._site, account_pages(self._site)),
            *dashboard_routes(self._site),
            *missing_routes(self._site),
        ]

    async def open(self) -> None:
        """Open the stores, resume jobs and add up counts. Raises ``StoreError``."""
        await load_templates()
        await self._site.parts.open()
        await self._site.parts.start()

    async def close(self) -> None:
        """Stop the background work and close the store of the pages; the sessions and the table of users stay open."""
        self._site.draining.announce()
        await self._site.parts.stop()
        await self.accounts.close()
        await self._site.parts.documents.close()


def _make_parts(sessions: Sessions, users: Users, store: str | None, **given: Any) -> AccountParts:
    url, documents = documents_beside(sessions, store)
    table = HostUsers(users, documents, sessions.config.seconds("store_timeout"), sessions.clock)
    parts = AccountParts(sessions, table, documents, log=url, head=head_beside(documents), **given)
    # An id may differ from another one by its case alone.
    parts.ids_are_names, parts.device_names = False, DeviceNames(documents, str)
    return parts
