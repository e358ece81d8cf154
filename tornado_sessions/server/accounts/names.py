"""The rules for new usernames: their form, reserved names, and names that look like others (Unicode Technical Standard 39).

Pure functions. It must not know accounts or stores.
"""

from __future__ import annotations

import re
import unicodedata
from functools import cache

from confusable_homoglyphs import categories
from confusable_homoglyphs.confusables import confusables_data

from tornado_sessions.messages import N_
from tornado_sessions.server.accounts.text import nfkc

__all__ = ["check_name", "is_reserved", "looks_of"]

_NAME = re.compile(r"[\w.@+-]{2,64}")
#: Names that the audit log gives to commands, API tokens and the server. No account may use them, even if an operator creates it.
_ACTORS = ("cli", "token", "tokens", "system", "server", "tornado_sessions")
#: Names with which a stranger could pose as staff. Only commands and the setup link may use them.
_OFFICES = (
    "admin", "administrator", "root", "operator", "viewer", "moderator", "staff", "support", "security", "helpdesk",
    "sysadmin", "superuser", "webmaster", "hostmaster", "postmaster", "abuse", "noreply", "anonymous",
)  # fmt: skip
#: The scripts that are written together: UTS 39, 5.2, "highly restrictive". Latin goes with each of these groups.
_TOGETHER = (
    {"LATIN", "HAN", "HIRAGANA", "KATAKANA"},
    {"LATIN", "HAN", "BOPOMOFO"},
    {"LATIN", "HAN", "HANGUL"},
)
_ANY_SCRIPT = {"COMMON", "INHERITED"}
#: Letters that the standard keeps apart, but that people take for these Latin ones.
_ALSO_ALIKE = str.maketrans({"ʍ": "rn", "π": "n", "м": "rn", "ĸ": "k", "к": "k"})
_SMALL_CAPITAL = "LATIN LETTER SMALL CAPITAL "


def check_name(name: str, *, by_operator: bool) -> str | None:
    """Return a message if a new username is invalid, else ``None``.

    Args:
        name: in NFKC.
        by_operator: whether a command or the setup link creates the account, which may be called ``admin``.
    """
    if not _NAME.fullmatch(name):
        return N_("Use 2 to 64 letters, digits or . _ - @ +, without spaces.")
    scripts = categories.unique_aliases(name) - _ANY_SCRIPT
    if len(scripts) > 1 and not any(scripts <= group for group in _TOGETHER):
        return N_("Use letters of one alphabet only.")
    if is_reserved(name, _ACTORS if by_operator else (*_ACTORS, *_OFFICES)):
        return N_("This username is reserved.")
    return None


def is_reserved(name: str, reserved: tuple[str, ...]) -> bool:
    """Return whether a name looks like a reserved one, leaving accents and punctuation aside, or starts with ``token``."""
    looks = {_letters(look) for look in looks_of(name)}
    first = {_letters(look) for look in looks_of(re.split(r"[\W_]", name)[0])}
    # ``token x`` is an actor in the audit log. A name has no space, but ``token.x`` would be read like it.
    return bool(looks & _forbidden(reserved)) or bool(first & looks_of("token"))


@cache
def _forbidden(reserved: tuple[str, ...]) -> set[str]:
    # In capitals as well: only there, an I looks like an l.
    return {_letters(look) for word in reserved for look in looks_of(word) | looks_of(word.upper())}


def looks_of(name: str) -> set[str]:
    """Return what a name looks like: texts that are equal for names that people confuse, such as ``cli`` and ``c1i``.

    A capital I looks like an l, a small one does not: so there is one text for the name as written and one for it in lower case.
    """
    return {_skeleton(written) for written in (name, nfkc(name.casefold()))}


def _skeleton(text: str) -> str:
    """Return the skeleton of UTS 39, section 4, in lower case."""
    decomposed = unicodedata.normalize("NFD", text)
    prototypes = "".join(map(_prototype, decomposed)).casefold()
    return unicodedata.normalize("NFD", "".join(map(_small, prototypes)).translate(_ALSO_ALIKE))


def _small(letter: str) -> str:
    """Return the small letter that a small capital, such as ᴀ, is read as."""
    name = unicodedata.name(letter, "")
    return name.removeprefix(_SMALL_CAPITAL).lower() if len(name) == len(_SMALL_CAPITAL) + 1 else letter


def _prototype(letter: str) -> str:
    """Return the character or characters that represent all lookalikes of a letter."""
    if letter == "ӏ":
        # The palochka looks like an l in either case; the standard takes the small one for an i.
        return "l"
    alike = [item["c"] for item in confusables_data.get(letter, ())]
    # The data lists each pair both ways. A letter that many look like is the prototype; of a mere pair, take the first.
    if len(alike) != 1 or (len(confusables_data.get(alike[0], ())) == 1 and len(alike[0]) == 1 and letter < alike[0]):
        return letter
    return str(alike[0])


def _letters(look: str) -> str:
    return "".join(letter for letter in look if letter.isalnum())
