"""Every page and state of the server, in every look: accessible, whole, light and still.

Each is looked at on a laptop or a phone, in English or Chinese, light or dark, with or without script; `make test` takes one of
these looks for each state of the usual server in turn, so that each two of them meet on many pages, and `make test-long` takes
them all, for each site.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from urllib.parse import urlsplit

import pytest
from browser.looks import LIGHT, LOOKS, Look, Viewer
from browser.reading import Reader, TemplateLines
from browser.served import Served
from browser.site import Site
from browser.sites import STAGES, Sites
from browser.states import Request, State
from playwright.sync_api import Browser
from support.amount import LONG, amount, only_long
from support.forms import filled, forms_of
from support.routes import routes_of

#: Routes that answer with no page of their own: parts of pages, files, redirects, and what programs ask for.
_NO_PAGES = re.compile(
    r"/admin/api/.*|/admin/(new|views|live|_components)|/admin/(audit|sessions)\\\.\(.*|/admin/jobs/[^/]*/(cancel)|/language/.*|/login/oidc(/logout)?"
    r"|/|/preferences|/strength|/account/end|/account/email/confirm|/static/.*|/\(.*|/health.*|/metrics|/readyz"
)


@pytest.fixture(scope="module")
def sites(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sites]:
    made = Sites(request, tmp_path_factory)
    yield made
    made.close()


@pytest.fixture
def fresh_sites(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sites]:
    """Sites that nobody has looked at: each look adds to what the first pages of lists show."""
    made = Sites(request, tmp_path_factory)
    yield made
    made.close()


@pytest.fixture(scope="module")
def viewers(sites: Sites, chromium: Browser) -> Callable[[str], Viewer]:
    """Returns who looks at a site, by its name."""
    return cache(lambda name: Viewer(chromium, sites.of(name)))


@pytest.fixture(scope="module")
def known() -> defaultdict[Look | None, set[str]]:
    """The menus, dialogs and forms that have been looked at, by the look in a long run: most are on many pages."""
    return defaultdict(set)


def looks_of(number: int) -> list[Look]:
    """Return how a state is opened in this run. A long one turns pages dark instead of opening them again."""
    return LIGHT if LONG else [LOOKS[number * 7 % len(LOOKS)]]


def check(viewer: Viewer, state: State, look: Look, known: set[str]) -> None:
    """Look at a state, then at each of its forms with nothing typed into it."""
    wanted = state.asks(viewer.site)
    page, answer = viewer.show(state.who, look, wanted)
    assert (answer.status, "/login?next=" in page.url) == (state.status, state.name == "sign-in to go on"), page.url
    forms = forms_of(page.content()) if state.has_faults and state.status == 200 else []
    if state.steps is not None:
        state.steps(page)
    found = viewer.faults(look, known)
    for form in forms:
        action, sent = str(form.get("action") or urlsplit(page.url).path), filled(form, "")
        if (key := f"{re.sub('/[A-Za-z0-9]{16,}', '', action)} {sorted(sent)}") in known:
            continue
        known.add(key)
        page, answer = viewer.show(state.who, look, Request(action, sent, wanted.cookies))
        assert 400 <= answer.status < 500, (action, answer.status, page.url)
        found += [f"{action} with nothing: {fault}" for fault in viewer.faults(look, known)]
    assert not found, "\n".join(found)


#: The sites at which a usual run looks. It reads the pages of all others, too, but for those of other stores.
_USUAL = ("sqlite", "away")


def _cases() -> Iterator[object]:
    number = 0
    for name, stage in STAGES.items():
        long = [] if name in _USUAL else [only_long]
        for state in stage.states:
            yield pytest.param(name, number, state, id=f"{name}-{state.name}", marks=long)
            number += 1


@pytest.mark.timeout(amount(120, 600))
@pytest.mark.parametrize(("site", "number", "state"), list(_cases()))
def test_a_page_has_no_fault_in_any_look(
    viewers: Callable[[str], Viewer], known: dict[Look | None, set[str]], site: str, number: int, state: State
) -> None:
    for look in looks_of(number):
        check(viewers(site), state, look, known[look if LONG else None])


#: The pages with scripts of their own. All others have the same one.
_WITH_SCRIPTS = {
    "register",
    "new password",
    "account password",
    "recovery codes",
    "overview",
    "list",
    "list, selection",
    "session",
    "users",
    "jobs",
    "job, running",
    "end preview, user",
}


@pytest.mark.parametrize(
    ("number", "state"),
    [
        pytest.param(number, state, id=state.name, marks=[] if state.name in _WITH_SCRIPTS else [only_long])
        for number, state in enumerate(STAGES["sqlite"].states)
    ],
)
def test_scripts_move_nothing_however_late_they_come(
    viewers: Callable[[str], Viewer], number: int, state: State
) -> None:
    viewer = viewers("sqlite")
    sizes = ("laptop", "phone") if LONG else (("laptop", "phone")[number % 2],)
    for size in sizes:
        look = Look(size, "en_US", "light", True)
        assert viewer.moved_by_late_scripts(state.who, look, state.asks(viewer.site)) == 0, size


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
def test_lists_show_enough_rows_and_are_short_on_a_phone(
    viewers: Callable[[str], Viewer], list_of: tuple[str, str]
) -> None:
    """At 1280 × 800 and at 360 × 740; a page of 50 rows is at most 4,500 px long on a phone."""
    who, path = list_of
    css, *least = _LISTS[list_of]
    for size, number in zip(("laptop", "phone"), least, strict=True):
        page, _ = viewers("sqlite").show(who, Look(size, "en_US", "light", True), Request(path))
        assert page.evaluate(_SEEN, css) >= number, size
    rows, height = page.locator(css).count(), page.evaluate(_HEIGHT, css)
    assert rows >= 10
    assert page.evaluate("document.documentElement.scrollHeight") + (50 - rows) * height <= 4500, (rows, height)


#: What no store of ours leads to: each counts all sessions exactly.
_OF_OTHER_STORES = re.compile(r"admin/end.html:\d+ .*(% word|End everyone's sessions)")


def read_all(site: Served, states: Sequence[State]) -> Iterator[str]:
    """Ask for all states, and return their paths. The pages of an account are read in both languages."""
    for language in ("en_US", "zh"):
        reader = Reader(site, language)
        for state in states if language == "en_US" else [state for state in states if state.who == "ada"]:
            path, page, tried = reader.read(state)
            assert (page.code, "/login?next=" in page.effective_url) == (
                state.status,
                state.name == "sign-in to go on",
            ), state.name
            assert [answer.effective_url for answer in tried if not 400 <= answer.code < 500] == []
            yield path


def test_every_page_and_every_part_of_a_template_is_shown_by_a_state(fresh_sites: Sites) -> None:
    """A new route, and a new branch of a template, needs a row in ``STATES`` or in the states of another site."""
    lines, paths, patterns = TemplateLines(), set[str](), set[str]()
    for name in [name for name in STAGES if name not in ("redis", "mongo_motor")]:
        site = fresh_sites.of(name)
        if isinstance(site, Site):
            patterns |= {pattern for pattern in routes_of(site.app) if not _NO_PAGES.fullmatch(pattern)}
        with lines.watched():
            paths |= {*read_all(site, STAGES[name].states)}
    assert len(patterns) > 30
    assert [pattern for pattern in sorted(patterns) if not any(re.fullmatch(pattern, path) for path in paths)] == []
    missing = [part for part in lines.never_shown() if not _OF_OTHER_STORES.match(part)]
    assert not missing, "\n".join(missing)
