"""``AccountParts``: the objects behind the pages of accounts, in the server and in an application with its own table of users.

It must not know HTTP, settings or which table it is.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

from typing_extensions import override

from tornado_sessions.codec import Codec
from tornado_sessions.manager import Sessions
from tornado_sessions.server.account_people import AccountPeople
from tornado_sessions.server.accounts.confirmations import Confirmations
from tornado_sessions.server.accounts.device_names import DeviceNames
from tornado_sessions.server.accounts.devices import Devices
from tornado_sessions.server.accounts.fields import Field, Fields
from tornado_sessions.server.accounts.link_store import LinkStore
from tornado_sessions.server.accounts.links import Links
from tornado_sessions.server.accounts.listing import Listing
from tornado_sessions.server.accounts.password_rules import PasswordRules
from tornado_sessions.server.accounts.passwords import Passwords
from tornado_sessions.server.accounts.repository import AccountRepository
from tornado_sessions.server.accounts.service import Accounts
from tornado_sessions.server.accounts.setup import SetupLink
from tornado_sessions.server.accounts.throttle import Throttle
from tornado_sessions.server.accounts.users import Users
from tornado_sessions.server.dashboard_parts import YEAR, DashboardParts, budgets_of
from tornado_sessions.server.documents import DocumentStore
from tornado_sessions.server.mail.service import Mail
from tornado_sessions.server.open_id import OpenID

__all__ = ["AccountParts"]


class AccountParts(DashboardParts):
    """The objects behind the pages of accounts and of operators. Creating them opens nothing.

    Args:
        sessions: the sessions of the users.
        users: the table of users.
        documents: stores everything else: links, limits on attempts, the audit log.
        rules: the rules for new passwords.
        passwords: hashes them.
        fields: what the application adds to its users.
        log, head, keep_audit_for, count_event: see ``DashboardParts``.
    """

    people: AccountPeople
    #: Sends mail; ``None`` for pages that send none.
    mail: Mail | None = None
    #: The OpenID provider; ``None`` without one.
    open_id: OpenID | None = None
    #: Whether people sign in there only.
    oidc_only = False
    #: Whether the id of a user is the name, as in our own store. Otherwise it is unknown before the account exists.
    ids_are_names = True

    def __init__(
        self,
        sessions: Sessions,
        users: Users,
        documents: DocumentStore,
        *,
        rules: PasswordRules,
        passwords: Passwords,
        fields: Iterable[Field] = (),
        log: str = "",
        head: Path | None = None,
        keep_audit_for: float = YEAR,
        count_event: Callable[[str, int], None] = lambda _name, _number: None,
    ) -> None:
        clock, keys = sessions.clock, sessions.config.keys("secret")
        self.codec, self.budgets = Codec(keys), budgets_of(sessions, documents)
        throttle = Throttle(self.budgets, Devices(keys, clock), passwords.hashing)
        self.accounts = Accounts(AccountRepository(users), passwords, throttle, self.codec, rules, clock)
        self.accounts.fields = Fields(fields)
        links = LinkStore(documents, clock)
        self.links, self.confirmations = Links(self.accounts, links), Confirmations(self.accounts, links)
        self.device_names, self.setup = DeviceNames(documents), SetupLink(self.accounts, documents, clock)
        people = AccountPeople(self.accounts, Listing(users, clock), self.links)
        super().__init__(
            sessions, people, documents, log=log, head=head, keep_audit_for=keep_audit_for, count_event=count_event
        )

    @override
    async def names_of_devices(self, user: str) -> Mapping[str, str]:
        return await self.device_names.of(user)
