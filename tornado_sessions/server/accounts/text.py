"""Unicode normalisation of names, emails and passwords. Pure."""

from __future__ import annotations

import unicodedata

__all__ = ["LONGEST", "nfkc"]

#: Maximum number of characters that are normalised. Runs of combining marks take quadratic time, which an attacker could exploit.
LONGEST = 512


def nfkc(text: str) -> str:
    """Return the NFKC form of a text (Unicode Standard Annex 15), so that texts that look the same are equal.

    Text longer than ``LONGEST`` is returned unchanged.
    """
    return unicodedata.normalize("NFKC", text) if len(text) <= LONGEST else text
