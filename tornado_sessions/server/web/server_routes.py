"""The routes of the server: the dashboard, the pages of accounts, health checks and metrics. It must not know what they do."""

from __future__ import annotations

from typing import Any

from tornado_sessions.server.web import health, metrics
from tornado_sessions.server.web.pages import (
    account,
    account_forms,
    components,
    home,
    new_password,
    open_id,
    recovery,
    register,
    sign_in,
    strength,
)  # fmt: skip
from tornado_sessions.server.web.routes import Route, dashboard_routes, routes_of
from tornado_sessions.server.web.server_site import ServerSite

__all__ = ["server_routes"]

_ID, _TOKEN = "([A-Za-z0-9]{1,64})", "([A-Za-z0-9_-]{1,64})"

_PAGES: list[Any] = [
    (r"/", home.Root),
    (r"/home", home.Home),
    (r"/reg(?:ister)?", register.RegisterPage),
    (rf"/setup/{_TOKEN}", register.SetupPage),
    (rf"/invite/{_TOKEN}", register.InvitationPage),
    (r"/forgot", recovery.ForgotPage),
    (rf"/confirm/{_TOKEN}", register.ConfirmPage),
    (rf"/password/{_TOKEN}", new_password.NewPasswordPage),
    (rf"/two-steps/{_TOKEN}", new_password.TwoStepsLinkPage),
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
    (r"/account/email/confirm", account_forms.ConfirmationForm),
    (r"/account/remove", account_forms.RemoveForm),
    (r"/account/two-steps", account_forms.TwoStepForm),
    (r"/account/two-steps/off", account_forms.TwoStepOff),
    *health.routes(),
    (r"/metrics", metrics.MetricsResource),
]


def server_routes(site: ServerSite) -> list[Route]:
    """Return all routes; those of a demo with the page of all components, which is for those who build pages."""
    pages = [*_PAGES, *(open_id.routes if site.parts.open_id is not None else [])]
    if site.demo is not None:
        pages.append((f"{site.dashboard}/_components", components.ComponentsPage))
    return [*routes_of(site, pages), *dashboard_routes(site)]
