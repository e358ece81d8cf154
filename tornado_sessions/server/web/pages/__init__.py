"""The HTML pages and their paths, one module per page.

A page parses a request, calls one operation and renders a template. It must not know the API.
"""

from __future__ import annotations

from typing import Any

from tornado_sessions.server.web.pages import (
    account,
    audit,
    end_sessions,
    home,
    jobs,
    live,
    operators,
    overview,
    register,
    session,
    sessions,
    settings,
    sign_in,
    user,
)  # fmt: skip

__all__ = ["routes"]

_ID = "([A-Za-z0-9]{1,64})"


def routes() -> list[Any]:
    """Return the paths of all pages and their handlers."""
    return [
        (r"/", home.Root),
        (r"/home", home.Home),
        (r"/language/(en_US|zh)", home.Language),
        (r"/reg(?:ister)?", register.RegisterPage),
        (r"/setup/([A-Za-z0-9_-]{1,64})", register.SetupPage),
        (r"/login", sign_in.SignInPage),
        (r"/login/code", sign_in.SecondStepPage),
        (r"/logout", sign_in.SignOutPage),
        (r"/account", account.AccountPage),
        (r"/account/end", account.EndDevice),
        (r"/account/password", account.PasswordForm),
        (r"/account/email", account.EmailForm),
        (r"/account/remove", account.RemoveForm),
        (r"/account/two-steps", account.TwoStepForm),
        (r"/admin/?", sessions.SessionsPage),
        (r"/admin/overview", overview.OverviewPage),
        (r"/admin/live", live.LivePage),
        (rf"/admin/sessions/{_ID}", session.SessionDetails),
        (rf"/admin/sessions/{_ID}/values", session.RevealPage),
        (r"/admin/user", user.UserPage),
        (r"/admin/block", user.BlockPage),
        (r"/admin/end", end_sessions.EndPage),
        (r"/admin/jobs", jobs.JobsPage),
        (rf"/admin/jobs/{_ID}", jobs.JobPage),
        (rf"/admin/jobs/{_ID}/live", jobs.JobRefresh),
        (rf"/admin/jobs/{_ID}/cancel", jobs.CancelJob),
        (r"/admin/audit", audit.AuditLogPage),
        (r"/admin/audit\.(jsonl|csv)", audit.AuditExport),
        (r"/admin/operators", operators.OperatorsPage),
        (r"/admin/operators/role", operators.RolePage),
        (r"/admin/operators/tokens", operators.TokenPage),
        (r"/admin/settings", settings.SettingsPage),
    ]
