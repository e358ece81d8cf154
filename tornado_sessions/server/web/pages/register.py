"""``/reg``: create an account; ``/setup/TOKEN``: create the first admin account; ``/invite/TOKEN``: join as staff;
``/confirm/TOKEN``: confirm an email.

It must not know stores or hashing, which are left to ``Accounts``.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial

from tornado.web import Finish, HTTPError
from typing_extensions import override

from tornado_sessions.errors import StoreError
from tornado_sessions.messages import N_
from tornado_sessions.server.accounts.errors import AccountError, InvalidForm, LinkInvalid
from tornado_sessions.server.accounts.link_store import Link, Purpose
from tornado_sessions.server.accounts.user import User, clean
from tornado_sessions.server.display import device
from tornado_sessions.server.mail.letters import Kind
from tornado_sessions.server.mail.service import Mail
from tornado_sessions.server.operations.action_names import Action
from tornado_sessions.server.web.people import AccountHandler
from tornado_sessions.server.web.sign_in import start_session

__all__ = ["ConfirmPage", "InvitationPage", "RegisterPage", "SetupPage"]


class RegisterPage(AccountHandler):
    """``/reg``."""

    is_for_signed_in = False

    @override
    async def prepare(self) -> None:
        """Answer 404 where accounts are made by their first sign-in at the provider only."""
        await super().prepare()
        if self.parts.oidc_only:
            raise HTTPError(404)

    def get(self) -> None:
        """Show the form."""
        if self.current_user is not None:
            self.redirect("/account")
            return
        self.show({}, username="", email="", operator=False)

    async def post(self) -> None:
        """Create an account, or mail a link that creates it."""
        if self.parts.mail is not None:
            await self._register_by_mail(self.parts.mail)
            return
        create = partial(self.parts.accounts.register, client=self.client, language=self.language.code)
        await self.register(create, operator=False)

    async def _register_by_mail(self, mail: Mail) -> None:
        """Answer the same, after the same time, whether an account has this name or email."""
        name, email, password = self._typed()
        try:
            user = await self.parts.accounts.prepare(name, email, password, self.client, self.typed_extra())
            if await self.parts.accounts.admit_mail(self.client, email):
                await mail.register(user, self.language.code)
        except (AccountError, StoreError) as error:
            self._refuse(error, username=name, email=email, operator=False)
            return
        self.render("confirm.html", title=self.say("Check your email"), faults={}, link=None)

    @override
    def after_repeated_form(self) -> str | None:
        return self.site.url("/reg" if self.session.user is None else "/account")

    def show(self, faults: dict[str, str], **typed: object) -> None:
        """Show the form with messages for fields and the typed values."""
        shortest = self.parts.accounts.rules.shortest(two_steps=False)
        own = {"fields": self.own_fields, "typed": self.typed_extra()}
        self.render("register.html", faults=faults, shortest=shortest, **{"invited": None, **own, **typed})

    async def register(self, create: Callable[..., Awaitable[User]], *, operator: bool) -> None:
        """Create an account, or show the form again with messages.

        Args:
            create: stores the account; takes the arguments of ``Accounts.register``.
            operator: whether it is the account of the first admin.
        """
        name, email, password = self._typed()

        async def note() -> None:
            await self.record_creation(clean(name))

        try:
            user = await create(name, email, password, note=note, extra=self.typed_extra())
        except (AccountError, StoreError) as error:
            self._refuse(error, username=name, email=email, operator=operator)
        else:
            if self.parts.mail is not None:
                await self.parts.mail.confirm(user, self.language.code)
            await self.finish_registration(user)

    async def finish_registration(self, user: User) -> None:
        """Say that the account exists."""
        self.render("registered.html", name=user.name)

    def _typed(self) -> tuple[str, str, str]:
        return self.form_value("username"), self.form_value("email"), self.form_value("password", strip=False)

    def _refuse(self, error: AccountError | StoreError, **typed: object) -> None:
        """Show the form again with the typed values. For a fault of the server, show a general message."""
        faults = {"": self.say("Registration failed. Please try again later.")}
        if isinstance(error, AccountError) and error.status < 500:
            faults = self.form_faults(error)
        self.set_error_status(error)
        self.show(faults, **typed)


class ConfirmPage(RegisterPage):
    """``/confirm/TOKEN``: the link that proves that an email is its owner's. It creates an account, or changes one."""

    async def get(self, token: str) -> None:  # type: ignore[override]
        """Ask for confirmation. This does not use up the link, because mail programs open links to preview them."""
        self._ask(await self.parts.confirmations.find(token), {})

    async def post(self, token: str) -> None:  # type: ignore[override]
        """Create the account, or confirm its email."""
        link = await self.parts.confirmations.find(token)
        name = self.form_value("username") or link.user
        try:
            if link.purpose is Purpose.REGISTRATION:
                note = partial(self.record_creation, clean(name))
                user = await self.parts.confirmations.register(link, name, note)
                await self.finish_registration(user)
            else:
                await self._confirm(link)
        except InvalidForm as error:
            self.set_error_status(error)
            self._ask(link, self.form_faults(error))

    async def _confirm(self, link: Link) -> None:
        before = await self.parts.accounts.get(link.user)
        user = await self.parts.confirmations.confirm(link, self.recorder(Action.EMAIL_CHANGED, link.user))
        if before is not None and before.email != user.email:
            await self.tell(before, Kind.EMAIL_CHANGED)
        self.render("confirm.html", title=self.say("Email confirmed"), faults={}, link=link, is_done=True)

    def _ask(self, link: Link, faults: dict[str, str]) -> None:
        is_new = link.purpose is Purpose.REGISTRATION
        title = self.say(N_("Create account") if is_new else N_("Confirm email"))
        self.render("confirm.html", title=title, faults=faults, link=link, is_new=is_new, is_done=False)


class SetupPage(RegisterPage):
    """``/setup/TOKEN``: the link that the first start prints."""

    is_for_signed_in = False

    @override
    async def prepare(self) -> None:
        """Answer 404 unless the token is valid, or this form has just used it."""
        await super().prepare()
        await self._check_link()

    @override
    async def answer_repeated_form(self) -> None:
        # Its first copy has signed in, so the token of the form is that of an earlier session.
        await self._check_link()
        raise Finish

    async def _check_link(self) -> None:
        token = str(self.path_args[0])
        if await self.parts.setup.accepts(token):
            return
        # The same form again: its first copy has used up the link.
        name, email, password = self._typed()
        user = await self.parts.accounts.just_registered(clean(name), clean(email), password, self.client)
        if user is None:
            unknown = LinkInvalid(N_("The newest link is in the output of the server's last start."))
            raise await self.parts.setup.refusal(token) or unknown
        self.render("registered.html", name=user.name)
        raise Finish

    def get(self, _token: str) -> None:  # type: ignore[override]
        """Show the form."""
        self.show({}, username="", email="", operator=True)

    async def post(self, _token: str) -> None:  # type: ignore[override]
        """Create the admin account."""
        await self.register(self.parts.setup.register, operator=True)

    @override
    async def finish_registration(self, user: User) -> None:
        """Sign in at once: the user of the link has just typed the password and need not type it again."""
        await self.record(Action.LOG_IN, user.id, target=device(self.request.headers.get("User-Agent", "")))
        self.parts.activity.count("sign-ins")
        await start_session(self, user, remember=False, password_at=self.sessions.clock())
        await self.remember_device(user)
        self.role = user.role
        await super().finish_registration(user)


class InvitationPage(RegisterPage):
    """``/invite/TOKEN``: the link by which an admin invites staff."""

    async def get(self, token: str) -> None:  # type: ignore[override]
        """Show the form. This uses nothing up: mail programs open links to preview them."""
        role = (await self.parts.links.invitation(token)).role
        self.show({}, username="", email="", operator=False, invited=role)

    async def post(self, token: str) -> None:  # type: ignore[override]
        """Create the account."""
        await self.parts.links.invitation(token)
        await self.register(partial(self.parts.links.register, token), operator=False)
