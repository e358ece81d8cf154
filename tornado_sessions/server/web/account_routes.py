"""The routes of the pages of accounts, which are the same in the server and in an application with its own table of users.

It must not know what the handlers do.
"""

from __future__ import annotations

from typing import Any

from tornado_sessions.server.web.account_site import AccountSite
from tornado_sessions.server.web.pages import account, account_forms, new_password, register, sign_in, strength

__all__ = ["TOKEN", "account_pages"]

_ID = "([A-Za-z0-9]{1,64})"
#: The token of a one-time link, in a pattern.
TOKEN = "([A-Za-z0-9_-]{1,64})"

_PAGES: list[Any] = [
    (r"/reg(?:ister)?", register.RegisterPage),
    (rf"/invite/{TOKEN}", register.InvitationPage),
    (rf"/password/{TOKEN}", new_password.NewPasswordPage),
    (rf"/two-steps/{TOKEN}", new_password.TwoStepsLinkPage),
    (r"/strength", strength.StrengthPage),
    (r"/login", sign_in.SignInPage),
    (r"/login/code", sign_in.SecondStepPage),
    (r"/logout", sign_in.SignOutPage),
    (r"/account", account.DevicesPage),
    (rf"/account/devices/{_ID}", account.RenamePage),
    (r"/account/end", account.EndDevice),
    (r"/account/profile", account.ProfilePage),
    (r"/account/security", account_forms.SecurityPage),
    (r"/account/password", account_forms.PasswordForm),
    (r"/account/email", account_forms.EmailForm),
    (r"/account/remove", account_forms.RemoveForm),
    (r"/account/two-steps", account_forms.TwoStepForm),
    (r"/account/two-steps/off", account_forms.TwoStepOff),
]


def account_pages(site: AccountSite) -> list[Any]:
    """Return the pages, by their patterns below the path of the site."""
    return [*_PAGES, *([(r"/account/details", account.DetailsPage)] if site.parts.accounts.fields.all else [])]
