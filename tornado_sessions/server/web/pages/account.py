"""``/account``: a user's devices: list, name and end their sessions, and the profile. It must not know stores."""

from __future__ import annotations

from typing import Any

from tornado.web import HTTPError
from typing_extensions import override

from tornado_sessions.errors import QueryError
from tornado_sessions.messages import N_
from tornado_sessions.query import Page
from tornado_sessions.record import Cause, SessionSummary
from tornado_sessions.server.accounts.device_names import LONGEST_NAME
from tornado_sessions.server.accounts.errors import AccountError, InvalidForm
from tornado_sessions.server.accounts.user import DamagedUser, User
from tornado_sessions.server.operations.action_names import Action
from tornado_sessions.server.roles import Role
from tornado_sessions.server.web.people import AccountHandler

__all__ = ["AccountPage", "DetailsPage", "DevicesPage", "EndDevice", "ProfilePage", "RenamePage"]

_DEVICES = 25


class AccountPage(AccountHandler):
    """Base of the pages on which people see and change their own account."""

    role_to_view = role_to_act = Role.USER

    async def show(self, template: str, **names: Any) -> None:
        """Render a page with the account, which is ``None`` if its record is damaged."""
        account = await self.parts.accounts.look_up(self.session.user or "")
        self.render(
            f"account/{template}.html",
            account=account if isinstance(account, User) else None,
            is_damaged=isinstance(account, DamagedUser),
            **names,
        )

    async def is_own(self, handle: str) -> bool:
        """Return whether this is a live session of the user."""
        user = self.session.user or ""
        if (await self.sessions.find(user=user, handle=handle)).items:
            return True
        # A damaged record may have lost its user, but the list of the user's sessions still contains it.
        cursor = None
        while True:
            page = await self.sessions.find(user=user, limit=500, cursor=cursor)
            if any(item.handle == handle for item in page.items):
                return True
            cursor = page.next_cursor
            if cursor is None:
                return False

    def back(self) -> str:
        """Return the page of the list that the form is on: its field ``next``, or the page that the user came from."""
        came_from = self.following(self.form_value("next") or self.request.headers.get("Referer", "")) or ""
        return came_from if came_from.startswith("/account?") else "/account"


class DevicesPage(AccountPage):
    """``/account``."""

    async def get(self) -> None:
        """Show a page of the user's devices, this one first."""
        user, own = self.session.user or "", self.session.handle or ""
        try:
            page = await self.sessions.find(user=user, limit=_DEVICES, cursor=self.query_value("cursor") or None)
        except QueryError:
            # For example an old bookmark.
            self.redirect("/account")
            return
        count = await self.sessions.count(user=user)
        is_first = page.previous_cursor is None
        # The order is that of the last use, which is stored now and then: others may come before the one that is used now.
        is_moved = any(item.handle == own for item in page.items) is not is_first
        await self.show(
            "devices",
            devices=await self._arranged(page, own, is_first=is_first),
            names=await self.parts.device_names.of(user),
            own=own,
            count=count,
            position=None if is_moved else page.position(count),
            page=page,
        )

    async def _arranged(self, page: Page, own: str, *, is_first: bool) -> list[SessionSummary]:
        others = [item for item in page.items if item.handle != own]
        if not is_first:
            return others
        mine = [item for item in page.items if item.handle == own]
        return [*(mine or (await self.sessions.find(user=self.session.user, handle=own)).items), *others]


class RenamePage(AccountPage):
    """``/account/devices/HANDLE``."""

    async def get(self, handle: str) -> None:
        """Show the form."""
        names = await self.parts.device_names.of(self.session.user or "")
        await self._show(handle, names.get(handle, ""), {})

    async def post(self, handle: str) -> None:
        """Store the name."""
        if not await self.is_own(handle):
            raise HTTPError(404)
        name = self.form_value("name")
        try:
            await self.parts.device_names.rename(self.session.user or "", handle, name)
        except InvalidForm as error:
            self.set_error_status(error)
            await self._show(handle, name, self.form_faults(error))
            return
        self.notify(N_("The device has been renamed."))
        self.redirect(self.back(), status=303)

    async def _show(self, handle: str, name: str, faults: dict[str, str]) -> None:
        if not await self.is_own(handle):
            raise HTTPError(404)
        item = next(iter((await self.sessions.find(handle=handle)).items), None)
        shown = {"name": name, "longest": LONGEST_NAME, "back": self.back()}
        await self.show("rename", faults=faults, user_agent=item.user_agent if item else "", **shown)


class EndDevice(AccountPage):
    """``/account/end``."""

    @override
    async def post(self) -> None:
        """End the user's session with the form's ``handle``. Without a handle, end all the user's sessions except this one."""
        user, own, handle = self.session.user or "", self.session.handle, self.form_value("handle")
        if not handle:
            # Only then is there anything to record: this costs no password, and must not fill the audit log.
            if any(item.handle != own for item in (await self.sessions.find(user=user, limit=2)).items):
                await self.record(Action.END_OTHER_SESSIONS, user)
                await self.sessions.destroy_user(user, own, cause=Cause.USER, by=user)
        elif await self.is_own(handle):
            await self.record(Action.END_OWN_SESSION, user, target=handle)
            await self.sessions.destroy(handle, cause=Cause.USER, by=user)
        if handle == own:
            await self.log_out()
            self.redirect("/login", status=303)
            return
        self.notify(
            N_("The device has been signed out.") if handle else N_("You've been signed out of all other devices.")
        )
        self.redirect(self.back() if handle else "/account", status=303)


class ProfilePage(AccountPage):
    """``/account/profile``."""

    async def get(self) -> None:
        """Show the page."""
        await self.show("profile", sends_mail=self.parts.mail is not None, fields=self.parts.accounts.fields)


class DetailsPage(AccountPage):
    """``/account/details``: the application's fields."""

    async def get(self) -> None:
        """Show the form."""
        account = await self.parts.accounts.get(self.session.user or "")
        await self._show(self.parts.accounts.fields.typed(account.extra if account else {}), {})

    async def post(self) -> None:
        """Store the values."""
        typed = self.typed_extra()
        try:
            await self.parts.accounts.change_extra(self.session.user or "", typed)
        except AccountError as error:
            self.set_error_status(error)
            await self._show(typed, self.form_faults(error))
            return
        self.notify(N_("Your details have been changed."))
        self.redirect("/account/profile", status=303)

    async def _show(self, typed: dict[str, str], faults: dict[str, str]) -> None:
        await self.show("details", faults=faults, fields=self.own_fields, typed=typed)
