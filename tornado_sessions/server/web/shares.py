"""``Shares``: limits how many long-lived responses a process sends, in all and to one person. It must not know handlers."""

from __future__ import annotations

from collections import Counter

__all__ = ["Shares"]


class Shares:
    """Places of one process.

    Args:
        in_all: their number.
        of_person: the most that one person can have, so that nobody takes all of them.
    """

    def __init__(self, in_all: int, of_person: int) -> None:
        self.in_all, self.of_person = in_all, of_person
        #: The places taken by each person.
        self.taken: Counter[str] = Counter()

    def take(self, person: str) -> bool:
        """Take a place. Return ``False`` if none is left for this person."""
        if self.taken.total() >= self.in_all or self.taken[person] >= self.of_person:
            return False
        self.taken[person] += 1
        return True

    def leave(self, person: str) -> None:
        """Leave a place that was taken."""
        self.taken[person] -= 1
        # Removes the counts of zero.
        self.taken += Counter()
