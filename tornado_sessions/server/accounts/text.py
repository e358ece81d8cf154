"""What makes two texts the same, for names, addresses and passwords. Pure."""

from __future__ import annotations

import unicodedata

__all__ = ["LONGEST", "nfkc"]

#: No name, address or password is longer, and beyond it nothing is normalised: runs of combining marks take quadratic time.
LONGEST = 512


def nfkc(text: str) -> str:
    """The same text for what looks the same (Unicode Standard Annex 15); what is too long to be anything is left as it is."""
    return unicodedata.normalize("NFKC", text) if len(text) <= LONGEST else text
