"""Every page and state of the server, in every look: accessible, whole, light and still.

Each is looked at on a laptop or a phone, in English or Chinese, light or dark, with or without script; `make test` takes one of
these looks for each state in turn, so that each two of them meet on many pages, and `make test-long` takes them all.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from browser.looks import LOOKS, Look, Viewer
from browser.site import Site
from browser.states import AWAY, FIRST, MAIL, STATES, Request, State
from playwright.sync_api import Browser
from support.amount import LONG, only_long
from support.forms import filled, forms_of
from support.passwords import PASSWORD
from support.routes import routes_of
from support.urls import url_of

#: Routes that answer with no page of their own: parts of pages, files, redirects, and what programs ask for.
_NO_PAGES = re.compile(
    r"/admin/api/.*|/admin/(new|views|live|_components)|/admin/(audit|sessions)\\\.\(.*|/admin/jobs/[^/]*/(cancel)|/language/.*"
    r"|/|/preferences|/strength|/account/end|/account/email/confirm|/static/.*|/\(.*|/health.*|/metrics|/readyz"
)


@pytest.fixture(
    scope="module", params=["sqlite", *(pytest.param(kind, marks=only_long) for kind in ("redis", "mongo_motor"))]
)
def site(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    folder = tmp_path_factory.mktemp("site")
    with Site(folder, url_of(request.param, request, folder)) as made:
        made.run(made.fill)
        yield made


@pytest.fixture(scope="module")
def viewer(site: Site, chromium: Browser) -> Viewer:
    return Viewer(chromium, site)


@pytest.fixture(scope="module")
def away(chromium: Browser, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Viewer]:
    """Whoever has signed in before the file of the store was removed."""
    with Site(tmp_path_factory.mktemp("away")) as made:
        made.run(lambda: made.fill(60, 10))
        for path in made.file.parent.glob("sessions.db*"):
            path.unlink()
        yield Viewer(chromium, made)


@pytest.fixture(scope="module")
def known() -> set[str]:
    """The menus, dialogs and forms that have been looked at: most are on many pages."""
    return set()


def looks_of(number: int) -> list[Look]:
    """Return how a state is looked at in this run."""
    return LOOKS if LONG else [LOOKS[number * 7 % len(LOOKS)]]


def check(viewer: Viewer, state: State, look: Look, known: set[str]) -> None:
    """Look at a state, then at each of its forms with nothing typed into it."""
    wanted = state.asks(viewer.site)
    who = "stray" if wanted.sid else state.who
    page, answer = viewer.show(state.who, look, wanted)
    assert (answer.status, "/login?next=" in page.url) == (state.status, state.name == "sign-in to go on"), page.url
    forms = forms_of(page.content()) if state.has_faults and state.status == 200 else []
    if state.steps is not None:
        state.steps(page)
    found = viewer.faults(who, page, look, known)
    for form in forms:
        action, sent = str(form.get("action") or urlsplit(page.url).path), filled(form, "")
        if (key := f"{re.sub('/[A-Za-z0-9]{16,}', '', action)} {sorted(sent)}") in known:
            continue
        known.add(key)
        page, answer = viewer.show(state.who, look, Request(action, sent, wanted.sid))
        assert 400 <= answer.status < 500, (action, answer.status, page.url)
        found += [f"{action} with nothing: {fault}" for fault in viewer.faults(who, page, look, known)]
    assert not found, "\n".join(found)


@pytest.mark.parametrize(
    ("number", "state"), [pytest.param(number, state, id=state.name) for number, state in enumerate(STATES)]
)
def test_a_page_has_no_fault_in_any_look(viewer: Viewer, known: set[str], number: int, state: State) -> None:
    for look in looks_of(number):
        check(viewer, state, look, set() if LONG else known)


@pytest.mark.parametrize(
    ("number", "state"), [pytest.param(number, state, id=state.name) for number, state in enumerate(AWAY)]
)
def test_the_page_of_a_store_that_is_away_has_no_fault(
    away: Viewer, known: set[str], number: int, state: State
) -> None:
    for look in looks_of(number):
        check(away, state, look, set() if LONG else known)


def test_the_page_that_makes_the_first_admin_has_no_fault(chromium: Browser, tmp_path: Path, known: set[str]) -> None:
    with Site(tmp_path) as made:
        token = made.run(made.parts.setup.make)
        viewer = Viewer(chromium, made)
        for state in FIRST:
            path = state.asks(made).path.format(token=token)
            for look in looks_of(5):
                check(viewer, state._replace(request=Request(path)), look, known)


def test_the_pages_of_a_server_that_sends_mail_have_no_fault(
    chromium: Browser, tmp_path: Path, known: set[str]
) -> None:
    with Site(tmp_path, smtp_url="smtp://127.0.0.1:9", public_url="http://127.0.0.1") as made:
        made.run(lambda: made.parts.accounts.register("ada", "ada@example.org", PASSWORD))
        made.run(lambda: made.sign_in("ada"))
        viewer = Viewer(chromium, made)
        for number, state in enumerate(MAIL):
            for look in looks_of(number):
                check(viewer, state._replace(has_faults=False), look, known)


#: The rows of each list, and how many must be seen on a laptop and a phone.
_LISTS = {
    ("root", "/admin/"): ("#rows tbody tr", 14, 5),
    ("root", "/admin/?state=ended"): ("#rows tbody tr", 14, 5),
    ("root", "/admin/users"): (".list tbody tr", 14, 5),
    ("root", "/admin/audit"): (".list tbody tr", 14, 5),
    ("ada", "/account"): (".device", 5, 5),
}
_SEEN = """(css) => {
  const foot = Math.min(innerHeight, document.querySelector(".dock.pager")?.getBoundingClientRect().top ?? innerHeight);
  return [...document.querySelectorAll(css)].filter((row) => row.getBoundingClientRect().bottom <= foot + 1).length;
}"""


_HEIGHT = """(css) => {
  const rows = [...document.querySelectorAll(css)];
  return (rows.at(-1).getBoundingClientRect().bottom - rows[0].getBoundingClientRect().top) / rows.length;
}"""


@pytest.mark.parametrize("list_of", _LISTS)
def test_lists_show_enough_rows_and_are_short_on_a_phone(viewer: Viewer, list_of: tuple[str, str]) -> None:
    """At 1280 × 800 and at 360 × 740; a page of 50 rows is at most 4,500 px long on a phone."""
    who, path = list_of
    css, *least = _LISTS[list_of]
    for size, number in zip(("laptop", "phone"), least, strict=True):
        page, _ = viewer.show(who, Look(size, "en_US", "light", True), Request(path))
        assert page.evaluate(_SEEN, css) >= number, size
    rows, height = page.locator(css).count(), page.evaluate(_HEIGHT, css)
    assert rows >= 10
    assert page.evaluate("document.documentElement.scrollHeight") + (50 - rows) * height <= 4500, (rows, height)


def test_no_page_is_missing_here(site: Site) -> None:
    """A new route needs a row in ``STATES``."""
    patterns = [pattern for pattern in routes_of(site.app) if not _NO_PAGES.fullmatch(pattern)]
    paths = [urlsplit(state.asks(site).path).path for state in [*STATES, *FIRST, *MAIL]]
    assert len(patterns) > 30
    assert [
        pattern
        for pattern in patterns
        if not any(re.fullmatch(pattern, path.replace("{token}", "x")) for path in paths)
    ] == []
