"""Texts that are equal without regard to case, and the spellings by which an index finds them."""

from __future__ import annotations

from itertools import product

from hypothesis import given
from hypothesis import strategies as st

from tornado_sessions.stores.letters import fold, spellings, starts_with


@given(st.text(max_size=4), st.text(max_size=3))
def test_the_spellings_of_a_prefix_are_all_texts_that_start_with_it(prefix: str, rest: str) -> None:
    for letters in product(*map(spellings, prefix)):
        assert starts_with("".join(letters) + rest, fold(prefix))


def test_every_letter_is_among_the_spellings_of_every_letter_equal_to_it() -> None:
    by_fold: dict[str, set[str]] = {}
    # No letter with two cases comes after these.
    for code in range(0x1F000):
        by_fold.setdefault(fold(chr(code)), set()).add(chr(code))
    assert all(set(spellings(letter)) == letters for letters in by_fold.values() for letter in letters)
    assert fold("ÀÉÎ Ada") == "àéî ada"
    assert all(len(fold(letter)) == 1 for letters in by_fold.values() for letter in letters)
