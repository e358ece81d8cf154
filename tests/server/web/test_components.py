"""The page of components shows every component, exists in the demo only, and uses icons that exist; so do all templates."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from support.browser import Browser
from support.people import make_operator
from tornado.web import Application

from tornado_sessions.server.parts import Parts
from tornado_sessions.server.roles import Role
from tornado_sessions.server.web.application import make_application
from tornado_sessions.server.web.server_site import Demo
from tornado_sessions.server.web.ui.components import COMPONENTS
from tornado_sessions.server.web.ui.fields import FIELDS
from tornado_sessions.server.web.ui.wrappers import Wrappers

ROOT = Path(__file__).parents[3]
TEMPLATES = {path.relative_to(ROOT / "templates").as_posix(): path for path in (ROOT / "templates").rglob("*.html")}
ICONS = set(re.findall('<symbol id="(.+?)"', (ROOT / "static/icons.svg").read_text(encoding="utf8")))


async def unused(_parts: Parts) -> Callable[[], Awaitable[None]]:
    """A demo whose stores are filled elsewhere."""
    raise NotImplementedError


class TestInTheDemo:
    @pytest.fixture
    def url(self) -> str:
        return "memory://"

    @pytest.fixture
    def app(self, parts: Parts) -> Application:
        return make_application(parts, demo=Demo("demo", "secret", unused))

    @pytest.mark.gen_test
    async def test_the_page_shows_every_component_in_both_themes(self, operator: Browser, parts: Parts) -> None:
        await make_operator(parts, operator, Role.VIEWER)
        answer = await operator.get("/admin/_components")
        page = answer.body.decode()
        assert answer.code == 200
        assert {'data-theme="light"', 'data-theme="dark"'} <= set(re.findall(r'data-theme="\w+"', page))
        assert set(re.findall(r"icons\.svg[^#\"]*#([\w-]+)", page)) == ICONS

    @pytest.mark.gen_test
    async def test_only_operators_see_it(self, browser: Browser) -> None:
        assert (await browser.get("/admin/_components")).code == 302


@pytest.mark.gen_test
@pytest.mark.parametrize("url", ["memory://"])
async def test_a_server_with_real_data_has_no_such_page(operator: Browser, parts: Parts) -> None:
    await make_operator(parts, operator, Role.ADMIN)
    assert (await operator.get("/admin/_components")).code == 404


def test_every_component_is_on_the_page() -> None:
    shown = TEMPLATES["admin/_components.html"].read_text() + TEMPLATES["base.html"].read_text()
    wrappers = [name for name in vars(Wrappers) if not name.startswith("_") and name != "names"]
    assert [name for name in (*FIELDS, *COMPONENTS) if f"module {name}(" not in shown] == []
    assert [name for name in wrappers if f"apply {name}(" not in shown] == []


@pytest.mark.parametrize("name", TEMPLATES)
def test_every_icon_of_a_template_exists(name: str) -> None:
    text = TEMPLATES[name].read_text(encoding="utf8")
    written = re.findall(r'\bicon\("([^"]+)"', text) + re.findall(r'\bicon="([^"]+)"', text)
    assert set(written) <= ICONS
