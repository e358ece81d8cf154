"""No page carries what it does not use: every icon and every class of the style sheet occurs in a page or a script."""

from __future__ import annotations

import re
from itertools import chain
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SOURCES = chain(
    (ROOT / "templates").rglob("*.html"),
    (ROOT / "tornado_sessions").rglob("*.py"),
    (ROOT / "static").glob("*.js"),
)
TEXT = "\n".join(path.read_text(encoding="utf8") for path in SOURCES)
ICONS = re.findall('<symbol id="(.+?)"', (ROOT / "static/icons.svg").read_text(encoding="utf8"))
STYLE = re.sub(r"/\*.*?\*/", "", (ROOT / "static/style.css").read_text(encoding="utf8"), flags=re.DOTALL)
CLASSES = set(re.findall(r"\.([a-z][\w-]*)(?=[^{};]*\{)", STYLE))
#: Classes that a template makes of a word or a number: a colour of the swatches, and a width of the skeleton.
COMPOSED = re.compile(r"f-[a-z]+|w\d")


@pytest.mark.parametrize("name", ICONS)
def test_every_icon_is_used(name: str) -> None:
    assert re.search(rf"[\"'#]{name}[\"']", TEXT)


def test_every_class_is_used() -> None:
    words = set(re.findall(r"[\w-]+", TEXT))
    assert not {name for name in CLASSES - words if not COMPOSED.fullmatch(name)}
