"""The HTML pages and their paths, one module per page.

A page parses a request, calls one operation and renders a template. It must not know the API.
"""

from __future__ import annotations

from typing import Any

from tornado_sessions.server.web.pages import (
    account,
    account_forms,
    audit,
    components,
    end_sessions,
    home,
    jobs,
    live,
    new_password,
    open_id,
    operators,
    overview,
    preferences,
    register,
    session,
    session_export,
    sessions,
    settings,
    sign_in,
    strength,
    user,
    users,
)  # fmt: skip
from tornado_sessions.server.web.site import DASHBOARD

__all__ = ["routes"]

_ID, _TOKEN = "([A-Za-z0-9]{1,64})", "([A-Za-z0-9_-]{1,64})"

_PEOPLE: list[Any] = [
    (r"/", home.Root),
    (r"/home", home.Home),
    (r"/language/(en_US|zh)", home.Language),
    (r"/preferences", preferences.PreferencesPage),
    (r"/reg(?:ister)?", register.RegisterPage),
    (rf"/setup/{_TOKEN}", register.SetupPage),
    (rf"/invite/{_TOKEN}", register.InvitationPage),
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
    (r"/account/remove", account_forms.RemoveForm),
    (r"/account/two-steps", account_forms.TwoStepForm),
    (r"/account/two-steps/off", account_forms.TwoStepOff),
]

_OPERATORS: list[Any] = [
    (rf"{DASHBOARD}/?", sessions.SessionsPage),
    (rf"{DASHBOARD}/sessions\.(jsonl|csv)", session_export.SessionExport),
    (rf"{DASHBOARD}/new", sessions.NewSessions),
    (rf"{DASHBOARD}/views", sessions.SavedViewsForm),
    (rf"{DASHBOARD}/overview", overview.OverviewPage),
    (rf"{DASHBOARD}/live", live.LivePage),
    (rf"{DASHBOARD}/sessions/{_ID}", session.SessionDetails),
    (rf"{DASHBOARD}/sessions/{_ID}/values", session.RevealPage),
    (rf"{DASHBOARD}/users", users.UsersPage),
    (rf"{DASHBOARD}/user", user.UserPage),
    (rf"{DASHBOARD}/block", user.BlockPage),
    (rf"{DASHBOARD}/reset", user.ResetPage),
    (rf"{DASHBOARD}/end", end_sessions.EndPage),
    (rf"{DASHBOARD}/jobs", jobs.JobsPage),
    (rf"{DASHBOARD}/jobs/live", jobs.JobsRefresh),
    (rf"{DASHBOARD}/jobs/{_ID}", jobs.JobPage),
    (rf"{DASHBOARD}/jobs/{_ID}/live", jobs.JobRefresh),
    (rf"{DASHBOARD}/jobs/{_ID}/cancel", jobs.CancelJob),
    (rf"{DASHBOARD}/jobs/{_ID}/resume", jobs.ResumeJob),
    (rf"{DASHBOARD}/audit", audit.AuditLogPage),
    (rf"{DASHBOARD}/audit\.(jsonl|csv)", audit.AuditExport),
    (rf"{DASHBOARD}/operators", operators.OperatorsPage),
    (rf"{DASHBOARD}/operators/role", operators.RolePage),
    (rf"{DASHBOARD}/operators/invite", operators.InvitationsPage),
    (rf"{DASHBOARD}/operators/tokens", operators.TokenPage),
    (rf"{DASHBOARD}/settings", settings.SettingsPage),
]


def routes(*, demo: bool = False, has_provider: bool = False) -> list[Any]:
    """Return the paths of all pages and their handlers.

    Args:
        demo: with the page of all components, which is for those who build pages.
        has_provider: with the pages of sign-in at an OpenID provider.
    """
    components_page = [(rf"{DASHBOARD}/_components", components.ComponentsPage)] if demo else []
    provider_pages = open_id.routes if has_provider else []
    return [*components_page, *provider_pages, *_PEOPLE, *_OPERATORS]
