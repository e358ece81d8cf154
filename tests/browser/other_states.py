"""The states of other sites than the usual server: without an admin, with mail, with a provider, in somebody's application."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from browser.elsewhere import MailSite, MountedSite, ProviderSite
from browser.site import Site
from browser.states import Request, State, page
from support.passwords import PASSWORD

from tornado_sessions.server.roles import Role


async def _setup(site: Site) -> Request:
    if await site.parts.accounts.get("root") is not None:
        await site.parts.accounts.remove("root", PASSWORD, "::1")
    return Request(f"/setup/{await site.parts.setup.make()}")


async def _first_admin(site: Site) -> Request:
    fields = {"username": "root", "email": "root@example.org", "password": PASSWORD}
    return (await _setup(site))._replace(fields=fields)


async def _overview_of_nothing(site: Site) -> Request:
    """What was counted before the first sign-in, and is not counted again."""
    admin = await site.newcomer(f"vic{site.number()}", Role.VIEWER)
    return Request("/admin/overview", cookies=admin)


#: Of a store that goes away after people have signed in.
AWAY = [
    page("store away, person", "ada", "/account", 503),
    page("store away, operator", "root", "/admin/overview", 503),
    State("store away, sign-in", "visitor", Request("/login", {"username": "ada", "password": PASSWORD}), 503),
]
#: Of a server without an admin.
FIRST = [
    page("sign-in of a new server", "visitor", "/login"),
    State("first admin", "visitor", _setup),
    State("first admin, signed in", "visitor", _first_admin),
    State("overview of a new server", "vic", _overview_of_nothing),
]


async def _damaged_session(site: Site) -> Request:
    return Request(f"/admin/sessions/{(await site.handles('ada', 7))[-1]}")


async def _end_damaged(site: Site) -> Request:
    return Request("/admin/end", {"handle": await site.handles("ada", 7)})


#: Where a record of each kind is damaged.
DAMAGED = [
    page("account, damaged", "ada", "/account"),
    page("list with a damaged session", "root", "/admin/?user=ada"),
    State("session, damaged", "root", _damaged_session),
    State("end preview, damaged session", "root", _end_damaged),
    page("users, damaged", "root", "/admin/users?q=ada"),
    page("user, damaged", "root", "/admin/user?name=ada"),
    page("user, damaged, security", "root", "/admin/user?name=ada&tab=security"),
    page("operators, damaged", "root", "/admin/operators"),
    page("list, ended and damaged", "root", "/admin/user?name=olaf"),
    page("audit, altered", "root", "/admin/audit?verify=1"),
    page("overview of damaged records", "root", "/admin/overview"),
    page("account security, damaged entry", "root", "/account/security"),
]
#: Of so many sessions that they are not counted at once.
CROWD = [
    State("end preview, counted first", "root", Request("/admin/end", {"where": '{"device":"Firefox"}'})),
    State("overview before all is counted", "root", Request("/admin/overview")),
    page("list, search not finished", "root", "/admin/?device=Edge&limit=10"),
]


def _confirm(name: str, *, send: bool = False) -> Callable[[MailSite], Awaitable[Request]]:
    async def request(site: MailSite) -> Request:
        return Request(await site.confirmation(name), {} if send else None)

    return request


def _create(name: str, *, send: bool = False) -> Callable[[MailSite], Awaitable[Request]]:
    async def request(site: MailSite) -> Request:
        return Request(await site.registration(name or f"new{site.number()}"), {} if send else None)

    return request


async def _register_by_mail(site: MailSite) -> Request:
    name = f"other{site.number()}"
    return Request("/reg", {"username": name, "email": f"{name}@example.org", "password": PASSWORD})


async def _password_by_mail(site: MailSite) -> Request:
    user = await site.parts.accounts.get("ada")
    assert user is not None
    return Request(f"/password/{await site.parts.links.for_password(user)}")


#: Of a server that sends mail.
MAIL = [
    page("sign-in with recovery", "visitor", "/login"),
    page("forgotten password", "visitor", "/forgot"),
    State("forgotten password, sent", "visitor", Request("/forgot", {"username": "ada"})),
    State("registration, sent", "visitor", _register_by_mail),
    State("registration to confirm", "visitor", _create("ben")),
    State("registration, name taken", "visitor", _create("ada", send=True), 400),
    State("registration confirmed", "visitor", _create("", send=True)),
    State("new password by mail", "visitor", _password_by_mail),
    State("email to confirm", "visitor", _confirm("bob")),
    State("email confirmed", "visitor", _confirm("eve", send=True)),
    State("email confirmed, signed in", "bob", _confirm("eve", send=True)),
    page("link of a mail that was used", "visitor", "/confirm/used", 404),
    page("profile, email confirmed", "ada", "/account/profile"),
    page("profile, email not confirmed", "bob", "/account/profile"),
    State("profile, link sent again", "bob", Request("/account/email/confirm", {})),
    page("change email", "bob", "/account/email"),
]


async def _leave(site: ProviderSite) -> Request:
    browser = await site.sign_in_there(f"leaving{site.number()}")
    return Request("/logout", {}, browser.cookies)


async def _left(site: ProviderSite) -> Request:
    browser = await site.sign_in_there(f"leaving{site.number()}")
    await browser.post("/logout", {})
    return Request(f"/login/oidc/signed-out?state={browser.cookies['oidc']}", cookies=browser.cookies)


async def _remove_proved(site: ProviderSite) -> Request:
    browser = await site.prove_there(f"proved{site.number()}")
    return Request("/account/remove", cookies=browser.cookies)


async def _removed(site: ProviderSite) -> Request:
    return (await _remove_proved(site))._replace(fields={})


async def _of_pat(site: ProviderSite) -> Request:
    return Request(f"/admin/sessions/{(await site.handles('pat'))[0]}")


#: Of a server at which people sign in with a provider or a password.
PROVIDER = [
    page("sign-in with a provider", "visitor", "/login"),
    page("sign-in at the provider failed", "visitor", "/login/oidc/callback?error=access_denied&state=x", 400),
    State("signed out here, not at the provider", "visitor", _leave),
    State("signed out at the provider, too", "visitor", _left),
    page("account of the provider", "pat", "/account"),
    page("security of the provider's person", "pat", "/account/security"),
    page("profile of the provider's person", "pat", "/account/profile"),
    page("account removal of the provider's person", "pat", "/account/remove"),
    State("end preview of the provider's admin", "olga", Request("/admin/end", {"user": "pat"})),
    State("session, encrypted", "olga", _of_pat),
    page("user of the provider", "olga", "/admin/user?name=pat&tab=security"),
    page("profile of a user of the provider", "olga", "/admin/user?name=pat&tab=profile"),
]
PROVIDER_ONLY = [
    page("sign-in with a provider only", "visitor", "/login"),
    page("no registration beside the provider", "visitor", "/reg", 404),
    State("account removal after a proof", "pat", _remove_proved),
    State("account of the provider removed", "visitor", _removed),
]


def _session(user_id: str, suffix: str = "", **fields: str) -> Callable[[MountedSite], Awaitable[Request]]:
    async def request(site: MountedSite) -> Request:
        return Request(f"/ops/sessions/{await site.handle_of(user_id)}{suffix}", {**fields} if fields else None)

    return request


#: Of the dashboard in an application of somebody else.
MOUNTED = [
    page("mounted overview", "root", "/ops/overview"),
    page("mounted list", "root", "/ops/?limit=8"),
    State("mounted session", "root", _session("1")),
    State("mounted session, values", "fresh", _session("1", "/values", reason="Ticket 4702", password=PASSWORD)),
    page("mounted users", "root", "/ops/users"),
    page("mounted user", "root", "/ops/user?name=1"),
    page("mounted user, profile", "root", "/ops/user?name=1&tab=profile"),
    page("mounted user, blocked", "root", "/ops/user?name=5"),
    page("mounted block", "root", "/ops/block?user=1"),
    State("mounted end preview", "root", Request("/ops/end", {"user": "1"})),
    page("mounted jobs", "root", "/ops/jobs"),
    page("mounted audit", "root", "/ops/audit"),
    page("mounted operators", "root", "/ops/operators"),
    page("mounted token", "root", "/ops/operators/tokens"),
    page("mounted settings", "root", "/ops/settings"),
    page("mounted, not permitted", "ada", "/ops/", 403),
    page("mounted, no such page", "root", "/ops/nothing-here", 404),
]
#: The same, where the application alone knows passwords.
MOUNTED_AGAIN = [
    page("mounted elsewhere, list", "root", "/ops/?limit=4"),
    page("mounted elsewhere, nothing in the audit log", "root", "/ops/audit"),
    page("mounted elsewhere, no users", "root", "/ops/users"),
    page("mounted elsewhere, search not finished", "root", "/ops/users?q=a"),
    page("mounted elsewhere, operators", "root", "/ops/operators"),
    page("mounted elsewhere, user", "root", "/ops/user?name=1"),
    State("mounted elsewhere, end preview", "root", Request("/ops/end", {"user": "1"})),
    page("mounted elsewhere, token", "root", "/ops/operators/tokens"),
]
#: Of our pages in an application with its own table of users, which asks for more than we do.
OWN_USERS = [
    page("own users, registration", "visitor", "/auth/register"),
    page("own users, profile", "ada", "/auth/account/profile"),
    page("own users, details", "ada", "/auth/account/details"),
    State(
        "own users, details with faults",
        "ada",
        Request("/auth/account/details", {"extra_full_name": "", "extra_desk": "seven", "extra_team": "none"}),
        400,
    ),
    page("own users, operator's page of a user", "root", "/auth/admin/user?name=1&tab=profile"),
]
#: Of a demo.
DEMO = [
    page("sign-in of the demo", "visitor", "/login"),
    page("components", "root", "/admin/_components"),
]
