"""Which texts count as the same, for names, addresses and passwords. Pure."""

from __future__ import annotations

import unicodedata

__all__ = ["LONGEST", "nfkc"]

#: No name, address or password is longer. Longer text is not normalised: runs of combining marks take quadratic time.
LONGEST = 512


def nfkc(text: str) -> str:
    """Return one form for texts that look the same (Unicode Standard Annex 15); text that is too long comes back unchanged."""
    return unicodedata.normalize("NFKC", text) if len(text) <= LONGEST else text
