"""Rules that every template keeps."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[2] / "templates"
TEMPLATES = sorted(FOLDER.rglob("*.html"))
#: What is the same in every language.
NAMES = {"tornado_sessions", "English", "中文"}

#: Classes without a rule of their own: they only name a part.
UNSTYLED = {"all", "clear", "head", "news"}
#: Templates with buttons in a menu or a segment.
STYLED_BUTTONS = {"account_menu.html", "row_menu.html", "sessions.html"}

#: What a script shows later: over the page, or before its first paint.
SHOWN_LATER = {"live_bar.html", "moment.html"}

each_template = pytest.mark.parametrize("path", TEMPLATES, ids=lambda path: str(path.relative_to(FOLDER)))


@each_template
def test_no_line_is_longer_than_160_characters(path: Path) -> None:
    assert [line for line in path.read_text(encoding="utf8").splitlines() if len(line) > 160] == []


@each_template
def test_a_form_that_is_posted_is_made_by_form_which_adds_its_token(path: Path) -> None:
    """A form written by hand only asks for a page, or closes a dialog."""
    forms = re.findall(r"<form[^>]*>", path.read_text(encoding="utf8"))
    assert [form for form in forms if not re.search(r'method="(get|dialog)"', form)] == []


@pytest.mark.parametrize(
    "path", [path for path in TEMPLATES if path.name != "_components.html"], ids=lambda path: path.name
)
def test_no_text_stands_outside_the_catalogues(path: Path) -> None:
    """What is left without tags and expressions has no word; attributes that are read have none, either.

    Only developers read the page of components.
    """
    classes = r"\{% block (?:width|body) %\}.*?\{% end %\}"
    text = re.sub(
        rf"{classes}|\{{#.*?#\}}|\{{\{{.*?\}}\}}|\{{%.*?%\}}", " ", path.read_text(encoding="utf8"), flags=re.DOTALL
    )
    read = re.findall(r'(?:title|aria-label|placeholder|alt)="([^"]*)"', text)
    shown = re.sub(r"<[^>]*>|&\w+;", " ", text).split()
    assert [word for word in (*read, *shown) if re.search(r"\w", word) and word not in NAMES] == []


@each_template
def test_only_texts_are_translated_never_values(path: Path) -> None:
    """A value in ``_()`` would be missing from the catalogues; ``name_of`` and its like look it up in a table."""
    assert re.findall(r"\b_\((?![\"'])[^)]*\)", path.read_text(encoding="utf8")) == []


@each_template
def test_a_heading_is_a_heading(path: Path) -> None:
    """A role would take the heading from screen readers; results are announced by an element of their own."""
    assert re.findall(r"<h[1-6][^>]*\srole=", path.read_text(encoding="utf8")) == []


@each_template
def test_there_is_no_inline_style_or_script(path: Path) -> None:
    """The content security policy forbids both."""
    assert re.findall(r"\sstyle=|\son\w+=|<style|<script(?! src)", path.read_text(encoding="utf8")) == []


@each_template
def test_nothing_is_hidden_until_a_script_shows_it(path: Path) -> None:
    """It would move what stands beside it, however late the script comes. The style sheet shows what has the class ``script``."""
    assert re.findall(r"<[^>]*\shidden[\s>]", path.read_text(encoding="utf8")) == [] or path.name in SHOWN_LATER


@each_template
def test_every_path_is_made_by_a_function_that_knows_the_prefix(path: Path) -> None:
    """``url``, ``admin_url`` and ``static_url`` put the prefix of the server in front."""
    text = path.read_text(encoding="utf8")
    assert re.findall(r"""(?:href|src|action|formaction|data-live|content)=["']/[^"']*""", text) == []
    assert (
        re.findall(
            r"""(?<!admin_url\()(?<!\burl\()["']/(?!>)\w[^"']*["']""",
            text.replace('"/cancel"', "").replace('"/values"', ""),
        )
        == []
    )


@each_template
def test_every_class_is_in_the_style_sheet(path: Path) -> None:
    """Pages are built of the components; a class that nobody defines is a part that looks like nothing."""
    sheet = (FOLDER.parent / "static" / "style.css").read_text(encoding="utf8")
    known = set(re.findall(r"\.([a-zA-Z][\w-]*)", re.sub(r"/\*.*?\*/", "", sheet, flags=re.DOTALL)))
    text = re.sub(r"\{\{.*?\}\}", "…", re.sub(r"\{%.*?%\}", " ", path.read_text(encoding="utf8"), flags=re.DOTALL))
    used = {name for names in re.findall(r'\bclass="([^"]*)"', text) for name in names.split() if "…" not in name}
    assert used - known - UNSTYLED == set()


@each_template
def test_every_button_has_a_class_or_stands_in_a_component(path: Path) -> None:
    """A bare button looks as each browser likes. Menus and segments style the buttons in them."""
    bare = [tag for tag in re.findall(r"<button\b[^>]*>", path.read_text(encoding="utf8")) if "class=" not in tag]
    assert bare == [] or path.name in STYLED_BUTTONS
