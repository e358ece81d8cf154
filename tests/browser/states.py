"""Every page and state of the server, as rows: who looks, at which path, with which form."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, NamedTuple

from browser.served import Served
from browser.site import Site
from playwright.sync_api import Page
from support.passwords import PASSWORD

from tornado_sessions.server.roles import Role

Fields = Mapping[str, str | Sequence[str]]


class Request(NamedTuple):
    """What is asked for to reach a state.

    Attributes:
        path: with its query.
        fields: of the form that is sent; ``None``: a page is only opened.
        cookies: other ones than the person's.
        site: where the request comes from, as browsers say in ``Sec-Fetch-Site``; empty: what this browser says.
    """

    path: str
    fields: Fields | None = None
    cookies: Mapping[str, str] | None = None
    site: str = ""


class State(NamedTuple):
    """One state of one page.

    Attributes:
        name: of the state, which says the page first.
        who: one of ``PEOPLE``, or ``visitor``.
        request: what is asked for. A function makes something that is used up first, such as a link.
        status: of the answer.
        steps: what the person does on the page.
        has_faults: whether its forms are sent with what is wrong, too.
    """

    name: str
    who: str
    request: Request | Callable[[Any], Awaitable[Request]]
    status: int = 200
    steps: Callable[[Page], object] | None = None
    has_faults: bool = True

    def asks(self, site: Served) -> Request:
        """Return what is asked for, made for this time."""
        made = self.request
        return made if isinstance(made, Request) else site.run(lambda: made(site))


def page(name: str, who: str, path: str, status: int = 200, **more: object) -> State:
    """Return the state of a page that is only opened."""
    return State(name, who, Request(path), status, **more)  # type: ignore[arg-type]


def _of_session(suffix: str = "", user: str | None = "mallory", **fields: str) -> Callable[[Site], Awaitable[Request]]:
    async def request(site: Site) -> Request:
        handle = (await site.handles(user))[0]
        return Request(f"/admin/sessions/{handle}{suffix}", {**fields} if fields else None)

    return request


async def _ended_session(site: Site) -> Request:
    found = await site.parts.sessions.find(state="ended", limit=1)
    return Request(f"/admin/sessions/{found.items[0].handle}")


async def _ended_in_bulk(site: Site) -> Request:
    found = await site.parts.sessions.find(ip="192.0.2.66", state="ended", limit=1)
    return Request(f"/admin/sessions/{found.items[0].handle}")


async def _ended_with_reason(site: Site) -> Request:
    await site.ended()
    found = await site.parts.sessions.find(user="person01", state="ended", limit=1)
    return Request(f"/admin/sessions/{found.items[0].handle}")


def _with_password(path: str) -> Callable[[Site], Awaitable[Request]]:
    async def request(site: Site) -> Request:
        return Request(path, cookies=await site.proved())

    return request


async def _beside_named(site: Site) -> Request:
    return Request(f"/admin/sessions/{(await site.handles('ada', 2))[1]}")


async def _end_own(site: Site) -> Request:
    return Request("/admin/end", {"handle": await site.handles("root")})


async def _two_steps_off(site: Site) -> Request:
    user = await site.parts.accounts.get(await site.two_step_user())
    assert user is not None
    return Request(f"/two-steps/{await site.parts.links.for_two_steps(user, 'root')}", {"password": PASSWORD})


async def _signed_out_by_operator(site: Site) -> Request:
    return Request("/login", cookies=await site.ended())


async def _second_page(site: Site) -> Request:
    page = await site.parts.sessions.find(user="ada", limit=25)
    return Request(f"/account?cursor={page.next_cursor}")


async def _rename(site: Site) -> Request:
    return Request(f"/account/devices/{(await site.handles('ada'))[0]}")


async def _invitation(site: Site) -> Request:
    return Request(f"/invite/{await site.parts.links.for_invitation(Role.VIEWER, 'root')}")


async def _password_link(site: Site) -> Request:
    user = await site.parts.accounts.get("person02")
    assert user is not None
    return Request(f"/password/{await site.parts.links.for_password(user, 'root')}")


async def _two_steps_link(site: Site) -> Request:
    user = await site.parts.accounts.get("careful")
    assert user is not None
    return Request(f"/two-steps/{await site.parts.links.for_two_steps(user, 'root')}")


async def _two_steps_link_refused(site: Site) -> Request:
    return Request((await _two_steps_link(site)).path, {"password": "not the right one"})


async def _password_set(site: Site) -> Request:
    return Request((await _password_link(site)).path, {"password": PASSWORD + f" {site.clock():.0f}"})


async def _registered(site: Site) -> Request:
    name = f"new{site.number()}"
    return Request("/reg", {"username": name, "email": f"{name}@example.org", "password": PASSWORD})


async def _removed(site: Site) -> Request:
    name = f"gone{site.number()}"
    return Request("/account/remove", {"remove_password": PASSWORD}, await site.newcomer(name))


async def _recovery_codes(site: Site) -> Request:
    cookies, secret, code = await site.starter(f"two{site.number()}")
    return Request("/account/two-steps", {"secret": secret, "code": code, "password": PASSWORD}, cookies)


async def _end_two(site: Site) -> Request:
    return Request("/admin/end", {"handle": await site.handles(None, 2), "from": "?limit=10"})


async def _ended_two(site: Site) -> Request:
    fields: Fields = {
        "handle": await site.handles(None, 2),
        "from": "?limit=10",
        "confirm": "1",
        "why": "Lost or stolen device",
    }
    return Request("/admin/end", {**fields, "password": PASSWORD})


async def _token_made(site: Site) -> Request:
    fields: Fields = {
        "name": "deploy",
        "scope": ["sessions:read"],
        "days": "30",
        "once": f"{site.number()}",
        "password": PASSWORD,
    }
    return Request("/admin/operators/tokens", fields)


async def _revoke_token(site: Site) -> Request:
    return Request(f"/admin/operators/tokens?revoke={(await site.parts.tokens.all())[0].handle}")


async def _revoke_invitation(site: Site) -> Request:
    return Request(f"/admin/operators/invite?revoke={(await site.parts.credentials.invitations())[0].id}")


async def _second_step(site: Site) -> Request:
    return Request("/login", {"username": await site.two_step_user(), "password": PASSWORD})


async def _wrong_password(site: Site) -> Request:
    return Request("/login", {"username": f"nobody{site.number()}", "password": "x"})


async def _wrong_code(site: Site) -> Request:
    return Request("/login/code", {**await site.ticket(), "code": "000000"})


def _choose(page: Page) -> None:
    for box in page.locator("#rows tbody .box").all()[:2]:
        box.check()


VISITOR = [
    page("sign-in", "visitor", "/login"),
    page("sign-in to go on", "visitor", "/login?next=/account/security"),
    State("sign-in after an end", "visitor", _signed_out_by_operator),
    page("register", "visitor", "/reg"),
    State("registered", "visitor", _registered),
    page("home", "visitor", "/home"),
    page("signed out", "visitor", "/logout"),
    State("second step", "visitor", _second_step),
    State("second step, wrong code", "visitor", _wrong_code, 401),
    State("sign-in, wrong password", "visitor", _wrong_password, 401),
    State("invitation", "visitor", _invitation),
    State("new password", "visitor", _password_link),
    State("new password set", "visitor", _password_set),
    State("two-step link", "visitor", _two_steps_link),
    State("two-step link, wrong password", "visitor", _two_steps_link_refused, 400),
    State("two-step link, used", "visitor", _two_steps_off),
    page("link that was used", "visitor", "/password/used", 404),
    page("setup link that was used", "visitor", "/setup/used", 404),
    page("no such page", "visitor", "/nothing-here", 404),
    State("page expired", "visitor", Request("/login", {"_xsrf": "old", "username": "x", "password": "y"}), 403),
]
PERSON = [
    State("account devices", "ada", Request("/account"), has_faults=False),
    State("account devices, second page", "ada", _second_page),
    State("account device", "ada", _rename),
    page("account security", "ada", "/account/security"),
    page("account security with two steps", "careful", "/account/security"),
    page("account profile", "ada", "/account/profile"),
    page("account profile of staff", "root", "/account/profile"),
    page("account password", "ada", "/account/password"),
    page("account password with two steps", "careful", "/account/password"),
    page("account email", "ada", "/account/email"),
    page("account removal", "ada", "/account/remove"),
    State("account removed", "ada", _removed),
    page("two steps, set-up", "ada", "/account/two-steps"),
    page("two steps, turn off", "careful", "/account/two-steps/off"),
    State("recovery codes", "ada", _recovery_codes),
    page("home, signed in", "ada", "/home"),
    page("log-out question", "ada", "/logout"),
    State("log-out question after another site's link", "ada", Request("/logout", site="cross-site")),
    page("not permitted", "ada", "/admin/", 403),
]
DASHBOARD = [
    page("overview", "root", "/admin/overview"),
    page("overview of a week", "vic", "/admin/overview?span=7d"),
    page("list", "root", "/admin/?limit=12"),
    page("list of a viewer", "vic", "/admin/?limit=4"),
    page(
        "list, filters open",
        "root",
        "/admin/?limit=3",
        steps=lambda page: page.locator("[popovertarget=filters]").click(),
    ),
    page("list, selection", "root", "/admin/?limit=5&user=mallory", steps=_choose),
    page("list, search", "root", "/admin/?limit=3&q=192.0.2"),
    page("list, all columns", "root", "/admin/?limit=4&kind=users&sort=signed_in&device=Firefox&role=admin"),
    page("list, hostile names", "root", "/admin/?ip=192.0.2.66&state=ended"),
    page("list, nothing", "root", "/admin/?user=nobody"),
    page("list, wrong filter", "root", "/admin/?ip=10.0.0.0/99", 400),
    page("list, suspicious", "root", "/admin/?suspicious=1&limit=3"),
    page("list, ended", "root", "/admin/?state=ended&limit=12"),
    page("list, nothing ended", "root", "/admin/?state=ended&user=nobody"),
    State("session", "root", _of_session()),
    State("session of an anonymous visitor", "root", _of_session(user=None)),
    State("session, ended", "root", _ended_session),
    State("session, ended in bulk", "root", _ended_in_bulk),
    State("session, ended by an operator", "root", _ended_with_reason),
    page("session without address", "root", "/admin/sessions/hwithoutaddress"),
    State("session with a name", "root", _of_session(user="ada")),
    State("session beside one with a name", "root", _beside_named),
    page("session, missing", "root", "/admin/sessions/none", 404),
    State("session, values", "fresh", _of_session("/values", reason="Support ticket 4702", password=PASSWORD)),
    page("users", "root", "/admin/users?limit=12"),
    page("users, admins", "root", "/admin/users?role=admin"),
    page("users, nobody", "root", "/admin/users?q=nobody-here"),
    page("users, blocked", "root", "/admin/users?state=blocked"),
    page("user", "root", "/admin/user?name=ada"),
    page("user without account", "vic", "/admin/user?name=mallory"),
    page("user, oneself", "root", "/admin/user?name=root"),
    page("user of the staff", "root", "/admin/user?name=vic"),
    page("user without history", "root", "/admin/user?name=person09&tab=security"),
    page("user without account, profile", "root", "/admin/user?name=mallory&tab=profile"),
    page("user, blocked", "root", "/admin/user?name=person07"),
    page("user, security", "root", "/admin/user?name=careful&tab=security"),
    page("user, profile", "root", "/admin/user?name=ada&tab=profile"),
    page("user, missing", "root", "/admin/user?name=nobody", 404),
    page("block", "root", "/admin/block?user=person03"),
    page("block staff", "root", "/admin/block?user=vic"),
    page("unblock", "root", "/admin/block?user=person07&seconds=0"),
    page("reset password", "root", "/admin/reset?user=person03"),
    page("reset two steps", "root", "/admin/reset?user=careful&what=two-steps"),
    State(
        "password reset", "fresh", Request("/admin/reset", {"user": "person04", "reason": "Lost", "password": PASSWORD})
    ),
    State("end preview, chosen sessions", "root", _end_two),
    State("end preview, user", "root", Request("/admin/end", {"user": "ada"})),
    State("end preview, own session", "root", _end_own),
    State("end preview, number to type", "root", Request("/admin/end", {"where": '{"device":"Firefox"}'})),
    State("end preview, everyone else", "root", Request("/admin/end", {"everybody": "1", "but_mine": "1"})),
    State("end preview, everyone", "root", Request("/admin/end", {"everybody": "1"})),
    State("ended, toast", "fresh", _ended_two),
    page("jobs", "root", "/admin/jobs"),
    page("jobs, refreshed", "root", "/admin/jobs/live"),
    page("job, running", "root", "/admin/jobs/running"),
    page("job, refreshed", "root", "/admin/jobs/running/live"),
    page("job, counting", "root", "/admin/jobs/counting"),
    page("job, paused", "root", "/admin/jobs/paused"),
    page("job, grown beyond the number", "root", "/admin/jobs/grown"),
    State(
        "job, wrong number",
        "fresh",
        Request("/admin/jobs/paused/resume", {"expected": "400", "number": "9", "password": PASSWORD}),
        400,
    ),
    page("job, done", "vic", "/admin/jobs/done"),
    page("job, cancelled", "root", "/admin/jobs/cancelled"),
    page("job, failed", "root", "/admin/jobs/failed"),
    page("job, everybody", "root", "/admin/jobs/everybody"),
    page("job, continued by another", "root", "/admin/jobs/continued"),
    page("job, damaged", "root", "/admin/jobs/damaged"),
    page("job, missing", "root", "/admin/jobs/none", 404),
    page("audit", "root", "/admin/audit"),
    page("audit, filtered", "root", "/admin/audit?who=root&act=make+API+token&days=7&verify=1"),
    State("audit, password given", "fresh", _with_password("/admin/audit")),
    page("audit, nothing", "vic", "/admin/audit?who=nobody"),
    page("operators", "root", "/admin/operators"),
    page("operators of a viewer", "vic", "/admin/operators"),
    page("role", "root", "/admin/operators/role?user=person03"),
    page("invite", "root", "/admin/operators/invite"),
    State("invited", "fresh", Request("/admin/operators/invite", {"role": "viewer", "password": PASSWORD})),
    State("revoke invitation", "root", _revoke_invitation),
    page("token", "root", "/admin/operators/tokens"),
    State("token, password given", "fresh", _with_password("/admin/operators/tokens")),
    State("token made", "fresh", _token_made),
    State("revoke token", "root", _revoke_token),
    page("settings", "root", "/admin/settings"),
    page("not permitted to a viewer", "vic", "/admin/operators/tokens", 403),
    page("no such page of the dashboard", "root", "/admin/nothing-here", 404),
]
STATES = [*VISITOR, *PERSON, *DASHBOARD]
