"""The rules for new passwords: length, guessability, and words that an attacker tries first (NIST SP 800-63B-4, 3.1.1.2).

Pure functions; ``fault`` is slow, so the event loop must not run it. It must not know hashes, accounts or settings.
"""

from __future__ import annotations

import re
import secrets
import unicodedata
from collections.abc import Iterable
from typing import NamedTuple

from zxcvbn import zxcvbn

from tornado_sessions.messages import N_, Message
from tornado_sessions.server.accounts.text import nfkc

__all__ = ["LONGEST", "PasswordRules", "Strength", "new_password"]

#: Never truncated; NIST asks for at least 64.
LONGEST = 256
#: The minimum that NIST allows for a password that is only part of signing in, and for one that is all of it.
_WITH_CODE, _ALONE = 8, 15
_MIN_SCORE = 2  # zxcvbn's scale is 0 to 4; 2 is "somewhat guessable"
_MEASURED = 32  # characters; zxcvbn takes quadratic time, and further characters only make a password stronger
_SHORTEST_WORD = 3
_WORDS = {2: N_("Fair"), 3: N_("Good"), 4: N_("Strong")}
#: Without letters and digits that look alike.
_LETTERS = "abcdefghjkmnpqrstuvwxyz23456789"
#: Leet spelling; ``1`` can mean ``i`` or ``l``, so these are equal here.
_LEET = str.maketrans("01l3457@$!", "oiieastasi")
_SEPARATORS = r"[\W_]*"
#: Names by which every installation of this server is known.
_PRODUCT = ("tornado_sessions", "localhost")


class Strength(NamedTuple):
    """How hard a password is to guess.

    Attributes:
        score: 0 to 4, as of zxcvbn; from 2 on it is accepted.
        text: what to change, or a word for the score.
    """

    score: int
    text: Message


class PasswordRules:
    """Judges new passwords.

    Args:
        minimum: minimum length of every password in characters; ``None``: 15, or 8 with two-step verification.
        service: names of this service, such as its host name.
    """

    def __init__(self, minimum: int | None = None, service: Iterable[str] = ()) -> None:
        self._minimum = minimum
        self._service = (*_PRODUCT, *service)

    def shortest(self, *, two_steps: bool) -> int:
        """Return the minimum length of a password in characters. ``two_steps``: whether signing in also requires a code."""
        return self._minimum or (_WITH_CODE if two_steps else _ALONE)

    def length_fault(self, password: str, *, two_steps: bool) -> Message | None:
        """Return a message if a password is too short or too long, else ``None``.

        Args:
            password: as typed. Each code point of its NFKC form counts as a character.
            two_steps: whether signing in also requires a code.
        """
        shortest, length = self.shortest(two_steps=two_steps), len(nfkc(password))
        if length < shortest:
            return Message.plural("Use at least %s character.", "Use at least %s characters.", shortest)
        if length > LONGEST:
            return Message.plural("Use at most %s character.", "Use at most %s characters.", LONGEST)
        return None

    def fault(self, password: str, known: Iterable[str], *, two_steps: bool) -> Message | None:
        """Return a message if a new password is unacceptable, else ``None``.

        Args:
            password: as typed.
            known: the username and the email.
            two_steps: whether signing in also requires a code.
        """
        return self.length_fault(password, two_steps=two_steps) or _weakness(password, [*self._service, *known])

    def strength(self, password: str, known: Iterable[str], *, two_steps: bool) -> Strength:
        """Return how hard a new password is to guess, while it is being typed. For the arguments see ``fault``."""
        names = [*self._service, *known]
        score, weakness = _measure(password, names)
        fault = self.length_fault(password, two_steps=two_steps) or weakness
        if fault is not None:
            return Strength(min(score, _MIN_SCORE - 1), fault)
        return Strength(score, Message(_WORDS[score]))


def new_password() -> str:
    """Return a random password of about 98 bits, in groups that are easy to type."""
    return "-".join("".join(secrets.choice(_LETTERS) for _ in range(5)) for _ in range(4))


def _weakness(password: str, names: Iterable[str]) -> Message | None:
    return _measure(password, names)[1]


def _measure(password: str, names: Iterable[str]) -> tuple[int, Message | None]:
    """Return the score of a password, and what is wrong with it."""
    words = list(dict.fromkeys(word for name in names for word in _words(name)))
    whole = nfkc(password)
    # Measure what an attacker who knows the words still has to guess. zxcvbn itself finds words only one at a time.
    left = _without(whole, words)
    if left != whole:
        # Digits and punctuation around the words are what people add to pass a check.
        left = re.sub(r"[\W\d_]+", "", left)
    found = zxcvbn(left[:_MEASURED] or "a", user_inputs=words, max_length=_MEASURED)
    score: int = found["score"]
    if score >= _MIN_SCORE:
        return score, None
    if left != whole:
        return score, Message("Don't build a password from your username, your email or the name of this service.")
    warning: str = found["feedback"]["warning"]
    return score, Message(warning or N_("This password is easy to guess. Add a few uncommon words."))


def _words(name: str) -> list[str]:
    """Return the words in a name, such as ``ada`` and ``example`` in ``ada@example.org``, forwards and backwards."""
    found = [word for word in re.split(r"[\W_]+", nfkc(name).lower()) if len(word) >= _SHORTEST_WORD]
    return [*found, *(word[::-1] for word in found)]


def _without(password: str, words: list[str]) -> str:
    """Remove these words from a password, in any case, with accents, in leet spelling, and with separators inside."""
    if not words:
        return password
    # One character for each of the password's, so that positions agree. Of the letters, a few double when lowered; keep those.
    bare = (unicodedata.normalize("NFD", letter)[0] for letter in password)
    plain = "".join(low if len(low := letter.lower()) == 1 else letter for letter in bare).translate(_LEET)
    pattern = "|".join(_SEPARATORS.join(word.translate(_LEET)) for word in sorted(words, key=len, reverse=True))
    parts, at = [], 0
    for match in re.finditer(pattern, plain):
        parts.append(password[at : match.start()])
        at = match.end()
    return "".join([*parts, password[at:]])
