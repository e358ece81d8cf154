"""What states show without a browser: each is asked for over HTTP while the lines of the templates are watched.

It must not know any state.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any, NamedTuple
from urllib.parse import urlencode, urlsplit

import pytest
from browser.served import Served
from browser.states import Request, State
from support.browser import Browser
from support.forms import filled, forms_of
from tornado.httpclient import AsyncHTTPClient, HTTPResponse
from tornado.template import Template

from tornado_sessions.server.web.static_files import folder, templates

#: The end of a line that Tornado compiles: the template and its line, and what includes it.
_SOURCE = re.compile(r"^(?P<code>.*?)  # (?P<source>\S+:\d+)(?: \(via .*\))?$")
_END = ".generated.py"


class TemplateLines:
    """Which parts of the templates have been shown."""

    def __init__(self) -> None:
        loader = templates()
        #: By the name of a compiled template, its lines that write something.
        self._parts: dict[str, dict[int, str]] = {}
        for name in sorted(str(path) for path in _templates()):
            self._parts[f"{name.replace('.', '_')}{_END}"] = _parts_of(loader.load(name).code)
        self._shown: set[tuple[str, int]] = set()

    @contextmanager
    def watched(self) -> Iterator[None]:
        """Watch what templates write, and nothing else, because watching takes time."""
        generate = Template.generate

        def watched(template: Template, **names: Any) -> bytes:
            before = sys.gettrace()
            sys.settrace(self._enter)
            try:
                return generate(template, **names)
            finally:
                sys.settrace(before)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(Template, "generate", watched)
            yield

    def _enter(self, frame: FrameType, _event: str, _value: object) -> Any:
        return self._step if frame.f_code.co_filename.endswith(_END) else None

    def _step(self, frame: FrameType, _event: str, _value: object) -> Any:
        self._shown.add((frame.f_code.co_filename, frame.f_lineno))
        return self._step

    def never_shown(self) -> list[str]:
        """Return what no page has shown: template, line, and what would be written there."""
        seen, every = set(), dict[str, None]()
        for name, parts in self._parts.items():
            for number, part in parts.items():
                every[part] = None
                if (name, number) in self._shown:
                    seen.add(part)
        return [part for part in every if part not in seen]


def _templates() -> Iterator[Path]:
    root = Path(folder("templates"))
    return (path.relative_to(root) for path in root.rglob("*.html"))


def _parts_of(code: str) -> dict[int, str]:
    """Return what is written, by the number of the line on which its statement starts."""
    found, began, text = {}, 0, ""
    for number, line in enumerate(code.splitlines(), 1):
        began, text = (began, f"{text} {line.strip()}") if text else (number, line.strip())
        if (match := _SOURCE.match(text)) is None:
            continue
        code, text = match["code"].strip(), ""
        is_text = code.startswith("_tt_append(b") and code.replace("\\n", "").strip("_tapend(b'\") ")
        is_value = code.startswith("_tt_tmp = ") and not code.startswith("_tt_tmp = _tt_utf8(")
        if is_text or is_value:
            found[began] = f"{match['source']} {code}"
    return found


class Reading(NamedTuple):
    """What a state is over HTTP.

    Attributes:
        path: that was asked for, without its query.
        page: the answer, after redirects.
        tried: the answers to its forms with nothing typed into them.
    """

    path: str
    page: HTTPResponse
    tried: list[HTTPResponse]


class Reader:
    """Asks a site for pages, as the people who have signed in there.

    Args:
        site: the site.
        language: which the people have chosen.
    """

    def __init__(self, site: Served, language: str) -> None:
        self._site = site
        self._kept = {f"{site.kept}lang": language, f"{site.kept}preferences": "theme:dark"}

    def read(self, state: State) -> Reading:
        """Ask for a state, then send its forms with nothing typed into them."""
        wanted = state.asks(self._site)
        browser = Browser(AsyncHTTPClient(), self._site.url)
        browser.cookies = {**(wanted.cookies or self._site.cookies.get(state.who, {})), **self._kept}

        async def ask() -> Reading:
            page = await self._ask(browser, wanted)
            forms = forms_of(page.body) if state.has_faults and page.code == 200 else []
            tried = [Request(str(form.get("action") or wanted.path), filled(form, "")) for form in forms]
            return Reading(urlsplit(wanted.path).path, page, [await self._ask(browser, each) for each in tried])

        return self._site.run(ask)

    async def _ask(self, browser: Browser, wanted: Request) -> HTTPResponse:
        if wanted.fields is None:
            answer = await browser.get(wanted.path, **({"Sec_Fetch_Site": wanted.site} if wanted.site else {}))
        else:
            home = self._site.home
            body = urlencode({"_xsrf": await browser.token(home), **wanted.fields}, doseq=True)
            kind = "application/x-www-form-urlencoded"
            answer = await browser.send("POST", wanted.path, body, Content_Type=kind, Referer=self._site.url + home)
        while answer.code in (302, 303) and answer.headers["Location"].startswith("/"):
            answer = await browser.get(answer.headers["Location"])
        return answer
