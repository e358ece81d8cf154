"""The states of the pages that ``make screenshots`` shows: what is looked at, by whom, how, and what is done first.

It must not know how pictures are taken or where they go.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Literal, NamedTuple
from urllib.parse import urlsplit

import pyotp
from playwright.sync_api import Page

__all__ = [
    "AWAY",
    "FIRST",
    "MAIL",
    "MOUNTED",
    "NEWCOMER_PASSWORD",
    "PROVIDER",
    "PROVIDER_ONLY",
    "STATES",
    "VIEWS",
    "State",
    "View",
    "send",
]

#: Of whoever registers in the demo.
NEWCOMER_PASSWORD = "seven quiet lanterns by the sea"


class View(NamedTuple):
    """How a page is looked at.

    Attributes:
        width, height: of the window, in pixels.
        theme, media, language: what the browser asks for.
    """

    width: int
    height: int
    theme: Literal["light", "dark"] = "light"
    media: Literal["screen", "print"] = "screen"
    language: str = "en-US"


#: The views, by the end of the picture's name.
VIEWS = {
    "": View(1280, 800),
    "-dark": View(1280, 800, theme="dark"),
    "-phone": View(360, 740),
    "-phone-dark": View(360, 740, theme="dark"),
    "-print": View(794, 1000, media="print"),
    "-zh": View(1280, 800, language="zh-CN"),
    "-phone-zh": View(360, 740, language="zh-CN"),
}
BOTH = ("", "-phone")
DARK = ("", "-dark", "-phone")
CHINESE = ("", "-zh", "-phone")
MOST = ("", "-dark", "-zh", "-phone")

MALLORY = "/admin/?user=mallory"


Step = Callable[[Page], object]


class State(NamedTuple):
    """One state of one page.

    Attributes:
        name: of the picture.
        path: of the page, in which ``{name}`` is what the steps of that state returned.
        who: looks at it: ``visitor``, ``person`` or ``operator`` of the demo; ``first`` or ``admin`` of a server that is new.
        views: of which pictures are taken.
        steps: what is done on the page first, once for all views in one language. A text that it returns is kept for later paths.
    """

    name: str
    path: str
    who: str = "operator"
    views: tuple[str, ...] = BOTH
    steps: Step | None = None


def send(page: Page) -> None:
    """Press the last button of the page's forms, and wait for the answer."""
    with page.expect_navigation():
        page.locator("form button:not([type=button], header *, .menu *)").last.click()


def _register(page: Page) -> None:
    for name, text in (("username", "root"), ("email", "nobody@"), ("password", "short")):
        page.locator(f"[name={name}]").fill(text)
    page.locator("main form").evaluate("form => form.noValidate = true")
    send(page)


def _sign_in_wrong(page: Page) -> None:
    page.locator("[name=username]").fill("somebody")
    page.locator("[name=password]").fill("not the password")
    send(page)


def _filters(page: Page) -> None:
    page.locator("[popovertarget=filters]").click()


def _row_menu(page: Page) -> None:
    page.locator("#rows .c-menu a").nth(2).click()
    page.locator("#row-menu").wait_for()


def _help(page: Page) -> None:
    page.keyboard.press("?")
    page.locator("#shortcuts").wait_for()


def _search(page: Page) -> None:
    page.locator("#q").press_sequentially("mal")
    page.locator(".suggestions a").first.wait_for()


def _get_link(page: Page) -> str:
    """Send the form and return the path of the one-time link that the next page shows."""
    send(page)
    return urlsplit(page.locator(".cmd code").first.inner_text()).path


def _turn_on_two_steps(page: Page) -> None:
    secret = str(page.locator("[name=secret]").first.get_attribute("value"))
    page.locator("[name=code]").fill(pyotp.TOTP(secret).now())
    page.locator("[name=password]").fill(NEWCOMER_PASSWORD)
    send(page)
    page.locator(".recovery-codes").wait_for()


def _open_details(page: Page) -> None:
    page.locator("main summary").first.click()


def _top(page: Page) -> None:
    page.evaluate("scrollTo(0, 0)")


def _select(page: Page) -> None:
    for box in page.locator("#rows tbody .box").all()[:3]:
        box.check()


def _open_first(part: str) -> Step:
    """Return the step to the first page of the table whose address has ``part``."""

    def step(page: Page) -> None:
        address = page.locator(f"main a[href*='{part}']").first.get_attribute("href")
        page.goto(page.url.split("/admin")[0] + str(address))

    return step


def _rename_first(page: Page) -> None:
    page.locator(".device .rename").first.click()
    page.locator("[name=name]").wait_for()


def _preview(page: Page) -> None:
    _select(page)
    page.locator("button[data-one]").click()
    page.locator("main form .destroy").first.wait_for()


def _preview_matching(page: Page) -> None:
    page.locator("button.danger[form=matching]").first.click()
    page.locator("main form .destroy").first.wait_for()


def _end(page: Page) -> None:
    _preview(page)
    page.locator("main form .destroy").first.click()
    page.locator(".toast").first.wait_for()


def _preview_others(page: Page) -> None:
    page.locator("summary", has_text="End everyone's sessions").click()
    page.get_by_role("button", name=re.compile("End everyone else's sessions")).click()
    page.locator("main form .destroy").first.wait_for()


def _end_others(page: Page) -> None:
    _preview_others(page)
    page.get_by_label("Details (optional)").fill("Stolen database")
    page.locator("[name=number]").fill(str(page.locator("[name=expected]").get_attribute("value")))
    page.locator("main form .destroy").first.click()
    page.get_by_role("link", name="View job").wait_for()


#: All states in the order of the page that shows them. What ends sessions comes last.
STATES = [
    State("sign-in", "/login", "visitor", MOST),
    State("sign-in-faults", "/login", "visitor", CHINESE, _sign_in_wrong),
    State("register", "/reg", "visitor", CHINESE),
    State("register-faults", "/reg", "visitor", CHINESE, _register),
    State("home", "/home", "visitor", DARK),
    State("not-found", "/nothing-here", "visitor"),
    State("home-person", "/home", "person"),
    State("account-devices", "/account", "operator", MOST),
    State("account-security", "/account/security", "operator", CHINESE),
    State("account-profile", "/account/profile", "operator", DARK),
    State("account-password", "/account/password", "person"),
    State("two-steps", "/account/two-steps", "person", DARK),
    State("recovery-codes", "/account/two-steps", "person", ("", "-phone", "-print"), _turn_on_two_steps),
    State("sign-out", "/logout", "person"),
    State("not-permitted", "/admin/", "person"),
    State("overview", "/admin/overview", "operator", MOST),
    State("sessions", "/admin/", "operator", (*MOST, "-phone-dark", "-phone-zh", "-print")),
    State("sessions-filters", MALLORY, "operator", (*BOTH, "-phone-zh"), _filters),
    State("sessions-search", "/admin/", "operator", BOTH, _search),
    State("sessions-menu", "/admin/", "operator", BOTH, _row_menu),
    State("sessions-help", "/admin/", "operator", ("",), _help),
    State("sessions-filtered", f"{MALLORY}&ip=203.0.113.0/24"),
    State("sessions-selected", MALLORY, "operator", BOTH, _select),
    State("sessions-empty", "/admin/?user=nobody"),
    State("ended-empty", "/admin/?state=ended&user=nobody", "operator", ("",)),
    State("users-empty", "/admin/users?q=nobody-here", "operator", ("",)),
    State("audit-empty", "/admin/audit?who=nobody", "operator", ("",)),
    State("jobs-empty", "/admin/jobs", "operator", ("",)),
    State("session", MALLORY, "operator", (*MOST, "-print"), _open_first("/admin/sessions/")),
    State("session-missing", "/admin/sessions/none"),
    State("ended", "/admin/?state=ended"),
    State("users", "/admin/users", "operator", CHINESE),
    State("user", "/admin/user?name=mallory", "operator", DARK),
    State("block", "/admin/block?user=mallory"),
    State("audit", "/admin/audit", "operator", (*CHINESE, "-print")),
    State("audit-filtered", "/admin/audit?who=demo&days=7&verify=1"),
    State("operators", "/admin/operators"),
    State("invite", "/admin/operators/invite"),
    State("invitation-link", "/admin/operators/invite", "operator", BOTH, _get_link),
    State("invitation", "{invitation-link}", "visitor"),
    State("reset", "/admin/reset?user=ada"),
    State("reset-link", "/admin/reset?user=ada", "operator", BOTH, _get_link),
    State("new-password", "{reset-link}", "visitor"),
    State("link-unknown", "/password/unknown", "visitor"),
    State("two-steps-off", "/account/two-steps/off", "person"),
    State("account-email", "/account/email", "person"),
    State("account-remove", "/account/remove", "person"),
    State("account-device", "/account", "person", BOTH, _rename_first),
    State("revoke-invitation", "/admin/operators", "operator", ("",), _open_first("invite?revoke=")),
    State("role", "/admin/operators/role?user=ada"),
    State("unblock", "/admin/block?user=ada&seconds=0", "operator", ("",)),
    State("user-security", "/admin/user?name=ada&tab=security"),
    State("user-profile", "/admin/user?name=ada&tab=profile"),
    State("token", "/admin/operators/tokens"),
    State("settings", "/admin/settings", "operator", DARK),
    State("components", "/admin/_components", "operator", BOTH, _top),
    State("end", MALLORY, "operator", DARK, _preview),
    State("end-matching", MALLORY, "operator", CHINESE, _preview_matching),
    State("end-everyone-else", "/admin/", "operator", BOTH, _preview_others),
    State("sessions-toast", MALLORY, "operator", BOTH, _end),
    State("everyone-else-ended", "/admin/", "operator", ("",), _end_others),
    State("jobs", "/admin/jobs"),
    State("job", "/admin/jobs", "operator", CHINESE, _open_first("/admin/jobs/")),
]
#: Of a server without people.
FIRST = [State("first-admin", "{setup}", "first", CHINESE)]
#: Of a server whose store has gone after the overview was opened.
AWAY = [
    State("store-away", "/admin/", "admin", MOST, _open_details),
    State("store-away-sign-in", "/login", "first", BOTH, _sign_in_wrong),
]


def _ask_for_link(page: Page) -> None:
    page.locator("[name=username]").fill("root")
    send(page)


def _register_by_mail(page: Page) -> None:
    for name, text in (("username", "newcomer"), ("email", "newcomer@example.org"), ("password", NEWCOMER_PASSWORD)):
        page.locator(f"[name={name}]").fill(text)
    send(page)


def _end_of_user(page: Page) -> None:
    page.locator("main form button.danger").first.click()
    page.locator("main form .destroy").first.wait_for()


#: Of a server that sends mail. The first two of the admin show an address that is not confirmed.
MAIL = [
    State("sign-in-recovery", "/login", "visitor"),
    State("forgotten-password", "/forgot", "visitor", CHINESE),
    State("forgotten-password-sent", "/forgot", "visitor", CHINESE, _ask_for_link),
    State("registration-sent", "/reg", "visitor", BOTH, _register_by_mail),
    State("registration-by-mail", "{registration-link}", "visitor"),
    State("registered", "{registration-link}", "visitor", BOTH, send),
    State("link-used", "{registration-link}", "visitor", CHINESE),
    State("profile-unconfirmed", "/account/profile", "admin", CHINESE),
    State("email-to-confirm", "{email-link}", "admin"),
    State("email-confirmed", "{email-link}", "admin", BOTH, send),
    State("profile-confirmed", "/account/profile", "admin"),
]
#: Of a server at which people sign in with an OpenID provider, or with it only.
PROVIDER = [
    State("sign-in-provider", "/login", "visitor", CHINESE),
    State("sign-in-provider-failed", "/login/oidc/callback?error=access_denied&state=x", "visitor"),
]
PROVIDER_ONLY = [State("sign-in-provider-only", "/login", "visitor")]
#: Of the dashboard in an application with its own users.
MOUNTED = [
    State("mounted-overview", "/ops/overview", "ada", DARK),
    State("mounted-sessions", "/ops/", "ada"),
    State("mounted-users", "/ops/users?q=g", "ada"),
    State("mounted-user", "/ops/user?name=2", "ada"),
    State("mounted-end", "/ops/user?name=3", "ada", BOTH, _end_of_user),
    State("mounted-operators", "/ops/operators", "ada"),
    State("mounted-settings", "/ops/settings", "ada"),
]
