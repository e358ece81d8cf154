"""Forms of pages, read from their HTML, and what they send if something wrong is typed."""

from __future__ import annotations

from bs4 import BeautifulSoup, Tag
from bs4.filter import SoupStrainer

TYPED = ("text", "password", "email", "number", "search", "tel", "url")
#: The form in a menu says what is wrong in a bar above the page, because the menu is closed when the page is shown again.
IN_A_MENU = ("/views", "/audit.", "/sessions.")
BAD = "\u200bnot one\u200b"


def fields_of(form: Tag) -> list[Tag]:
    """Return the fields of a form into which people type or of which they choose."""
    found = [*form.select("textarea"), *form.select("select"), *form.select("input")]
    return [field for field in found if field.name != "input" or field.get("type", "text") in TYPED]


def asked(form: Tag) -> list[Tag]:
    """Return the fields that must be filled in: those required, and passwords."""
    return [field for field in fields_of(form) if field.has_attr("required") and "sr" not in (field.get("class") or [])]


def filled(form: Tag, text: str) -> dict[str, list[str]]:
    """Return what a form sends if this text is typed into each of its fields."""
    sent: dict[str, list[str]] = {}
    for field in form.select("input[name], select[name], textarea[name], button[name]"):
        name, kind = str(field["name"]), field.get("type", "text")
        if kind == "hidden" or name == "account":
            sent.setdefault(name, []).append(str(field.get("value", "")))
        elif field.name == "button" and name not in sent:
            sent[name] = [str(field.get("value", ""))]
        elif field.name == "select":
            option = field.select_one("option")
            sent[name] = [str(option["value"]) if option is not None else ""]
        elif field.name == "textarea" or kind in TYPED:
            sent[name] = [text]
    return sent


def forms_of(html: str | bytes) -> list[Tag]:
    """Return the forms of a page into which something must be typed, except those in menus."""
    main = SoupStrainer("main")  # what is outside takes half of the time to parse
    forms = BeautifulSoup(html, "html.parser", parse_only=main).select('main form[method="post"]')
    return [form for form in forms if asked(form) and not any(part in str(form.get("action")) for part in IN_A_MENU)]
