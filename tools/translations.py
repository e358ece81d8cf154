"""Collect the texts of pages into the catalogues: ``python -m tools.translations``, or ``make translations``.

Afterwards fill in every empty ``msgstr`` and remove ``#, fuzzy`` where the guess is right. A test fails until all is done.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from babel.messages.catalog import Catalog
from babel.messages.extract import DEFAULT_KEYWORDS, extract_from_dir
from babel.messages.frontend import parse_keywords, parse_mapping_cfg
from babel.messages.pofile import read_po, write_po

from tornado_sessions.server.languages import CODES, DOMAIN, FOLDER

__all__ = ["collected", "strings", "untranslated", "update"]

ROOT = Path(__file__).parents[1]
_HEADER = "# The texts of the pages. `make translations` collects them; see tools/translations.py."
#: What translates its first text, or marks it; ``plural`` has a text for one and a text for many.
_KEYWORDS = ("_", "N_", "say", "_say", "translate", "notify", "Message", "plural:1,2")
#: Errors whose first argument is a text.
_ERRORS = ("QueryError", "InvalidInput", "NotPermitted", "_fault")


def collected() -> Catalog:
    """Return the texts of the whole source, each with the files that it is in."""
    with (ROOT / "babel.cfg").open(encoding="utf8") as file:
        methods, options = parse_mapping_cfg(file)  # type: ignore[no-untyped-call]
    found = Catalog(domain=DOMAIN, project="tornado_sessions", fuzzy=False)
    keywords = {**DEFAULT_KEYWORDS, **parse_keywords((*_KEYWORDS, *_ERRORS))}
    for name, _line, text, comments, context in extract_from_dir(ROOT, methods, options, keywords=keywords):
        found.add(text, locations=[(name, 1)], auto_comments=comments, context=context)
    return found


def update() -> None:
    """Bring every catalogue up to date; texts that are gone are dropped."""
    texts = collected()
    for code in CODES[1:]:
        path = FOLDER / code / "LC_MESSAGES" / f"{DOMAIN}.po"
        path.parent.mkdir(parents=True, exist_ok=True)
        catalogue = Catalog(code, DOMAIN, _HEADER, "tornado_sessions", "", fuzzy=False)
        if path.exists():
            with path.open("rb") as file:
                catalogue = read_po(file, locale=code, domain=DOMAIN)
        catalogue.update(texts, update_creation_date=False)
        with path.open("wb") as file:
            write_po(file, catalogue, width=120, ignore_obsolete=True, sort_output=True, include_lineno=False)
        print(f"{path.relative_to(ROOT)}: {len(catalogue)} texts, {len(untranslated(catalogue))} to translate")


def untranslated(catalogue: Catalog) -> list[str]:
    """Return the texts of a catalogue that have no translation, or only a guess."""
    texts = [message for message in catalogue if message.id]
    return [str(message.id) for message in texts if message.fuzzy or not all(strings(message.string))]


def strings(texts: str | Sequence[str] | None) -> Sequence[str]:
    """Return the forms of a text: one, or those for one and for many."""
    return [texts or ""] if isinstance(texts, str | None) else texts


if __name__ == "__main__":
    update()
