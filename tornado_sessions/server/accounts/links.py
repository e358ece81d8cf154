"""``Links``: one-time links by which somebody sets a new password, turns two-step verification off, or joins as staff.

It must not know pages or who may make links.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress

from tornado_sessions.errors import StoreError
from tornado_sessions.server.accounts.client import Client
from tornado_sessions.server.accounts.errors import InvalidForm, LinkInvalid, LinkReplaced, LinkUsed
from tornado_sessions.server.accounts.link_store import Link, LinkStore, Purpose, state_of
from tornado_sessions.server.accounts.registration import Note, no_note
from tornado_sessions.server.accounts.service import Accounts
from tornado_sessions.server.accounts.user import User
from tornado_sessions.server.roles import Role

__all__ = ["INVITATION_LIFETIME", "RECOVERY_LIFETIME", "Links"]

#: How long a link works, in seconds. An invitation reaches somebody who may not be at work today.
RECOVERY_LIFETIME, INVITATION_LIFETIME = 1800.0, 86400.0


class Links:
    """The links of accounts.

    Every method may raise ``StoreUnavailable``. Then no link is used up, except that an outage in the middle of ``register`` may
    use up an invitation, because it must not work twice.

    Args:
        accounts: what the links change.
        store: stores the links.
    """

    def __init__(self, accounts: Accounts, store: LinkStore) -> None:
        self._accounts = accounts
        self._store = store

    # --- new passwords -------------------------------------------------------------------------------------------

    async def for_password(self, user: User, made_by: str = "") -> str:
        """Return the token of a link by which an account gets a new password, until its password changes in another way.

        ``made_by`` is the name of the admin who makes it; empty if its user asked for it.
        """
        changed_at = user.password_changed_at
        fields = {"made_by": made_by, "user": user.id, "password_changed_at": changed_at}
        return await self._store.make(Purpose.PASSWORD, RECOVERY_LIFETIME, **fields)

    async def user_of(self, token: str) -> User:
        """Return the account whose password a link sets. Raises ``LinkInvalid``."""
        link = await self._store.find(token, Purpose.PASSWORD)
        return await self._user(link)

    async def set_password(self, token: str, new: str, client: Client, note: Note = no_note) -> User:
        """Replace a password. The caller ends the user's sessions.

        Args:
            token: of the link, which is used up.
            new: the new password.
            client: where the request comes from.
            note: records the change.

        Raises:
            LinkInvalid: the link is unknown, expired or used.
            InvalidForm: the new password is unacceptable; the link still works.
        """
        link = await self._store.find(token, Purpose.PASSWORD)
        # The check runs against the revision that is replaced. So of two uses at the same moment one succeeds, and the change
        # itself uses up this link and every other link of this account.
        user = await self._accounts.reset_password(
            link.user, new, note, client=client, check=lambda user: _check(link, user)
        )
        await self._store.use(link)
        return user

    async def _user(self, link: Link) -> User:
        user = await self._accounts.get(link.user)
        if user is None:
            raise LinkReplaced
        _check(link, user)
        return user

    # --- two-step verification -----------------------------------------------------------------------------------

    async def for_two_steps(self, user: User, made_by: str) -> str:
        """Return the token of a link by which a user turns two-step verification off with the password alone."""
        fields = {"made_by": made_by, "user": user.id, "state": state_of(user)}
        return await self._store.make(Purpose.TWO_STEPS, RECOVERY_LIFETIME, **fields)

    async def two_steps_of(self, token: str) -> User:
        """Return the account whose two-step verification a link turns off. Raises ``LinkInvalid``."""
        return await self._user(await self._store.find(token, Purpose.TWO_STEPS))

    async def turn_off_two_steps(self, token: str, password: str, client: Client, note: Note = no_note) -> User:
        """Turn two-step verification off. The caller ends the user's sessions.

        Raises:
            LinkInvalid: the link is unknown, expired or used, or two-step verification has been turned off or on again.
            WrongCredentials: the password is wrong; the link still works.
        """
        link = await self._store.find(token, Purpose.TWO_STEPS)
        await self._user(link)
        # The link replaces the phone, not the password: a stolen link alone is useless.
        await self._accounts.verify(link.user, password, client)
        user = await self._accounts.reset_two_steps(link.user, note, check=lambda user: _check(link, user))
        await self._store.use(link)
        return user

    # --- invitations ---------------------------------------------------------------------------------------------

    async def for_invitation(self, role: Role, made_by: str) -> str:
        """Return the token of a link that creates an account with a role."""
        return await self._store.make(Purpose.INVITATION, INVITATION_LIFETIME, made_by=made_by, role=role)

    async def invitation(self, token: str) -> Link:
        """Return the invitation of a token. It ends with the role of the admin who made it. Raises ``LinkInvalid``."""
        link = await self._store.find(token, Purpose.INVITATION)
        maker = await self._accounts.get(link.made_by)
        if maker is None or maker.role is not Role.ADMIN or maker.is_blocked(self._store.clock()):
            raise LinkInvalid
        return link

    async def invitations(self) -> list[Link]:
        """Return the open invitations, the next to expire first."""
        return await self._store.open(Purpose.INVITATION)

    async def revoke(self, key: str) -> bool:
        """Delete an invitation; return whether there was one."""
        return await self._store.delete(key)

    async def register(
        self,
        token: str,
        name: str,
        email: str,
        password: str,
        *,
        note: Note = no_note,
        extra: Mapping[str, str] | None = None,
    ) -> User:
        """Create the account of an invitation and use it up. For the other arguments and errors see ``Accounts.register``.

        Raises:
            LinkInvalid: the invitation is unknown, expired, used or revoked.
        """
        link, is_used = await self.invitation(token), False

        async def use() -> None:
            nonlocal is_used
            # Use it up after the slow hashing, right before the account is stored: only one of two concurrent uses succeeds.
            is_used = await self._store.use(link)
            if not is_used:
                raise LinkUsed
            await note()

        try:
            return await self._accounts.register(name, email, password, role=link.role, note=use, extra=extra)
        except InvalidForm:
            # The name or email is taken and no account was created: keep the invitation.
            if is_used:
                await self._store.restore(link)
            raise
        except StoreError:
            # The account may exist although the store did not answer. Keep the invitation only if it certainly does not.
            with suppress(StoreError):
                if is_used and await self._accounts.look_up_named(name) is None:
                    await self._store.restore(link)
            raise


def _check(link: Link, user: User) -> None:
    """Refuse a link if the password or the second step that it would change has changed since."""
    if link.purpose is Purpose.TWO_STEPS:
        is_same = user.has_two_steps and state_of(user) == link.state
    else:
        is_same = user.password_changed_at == link.password_changed_at
    if not is_same:
        raise LinkReplaced
