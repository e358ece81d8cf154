"""``history``: the latest steps of a session, new tokens and new addresses, which are kept in its record.

A step is written together with the change that makes it, so it costs no further write, and it ends with the session. Pure
functions. It must not know stores or pages.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import msgspec

__all__ = ["HISTORY", "Step", "kept_steps", "steps_of", "with_step"]

#: The key of the steps among the values of a record. Sessions do not show it.
HISTORY = "\x01history"
#: Maximum number of steps: about 600 bytes.
_MAX_STEPS = 20


class Step(NamedTuple):
    """A step of a session.

    Attributes:
        at: when, in UTC seconds.
        previous_ip: the address before this one; ``None`` if the session got a new token.
    """

    at: float
    previous_ip: str | None = None


def steps_of(data: Mapping[str, bytes]) -> list[Step]:
    """Return the latest steps, oldest first; none if they cannot be read."""
    try:
        return msgspec.json.decode(data.get(HISTORY, b"[]"), type=list[Step])
    except (msgspec.DecodeError, UnicodeDecodeError):
        return []


def kept_steps(data: Mapping[str, bytes]) -> dict[str, bytes]:
    """Return the value of the steps, for a change that clears the values of the application."""
    return {HISTORY: data[HISTORY]} if HISTORY in data else {}


def with_step(data: Mapping[str, bytes], *steps: Step) -> dict[str, bytes]:
    """Return the value of the record that has further steps, for a change. The oldest ones are dropped."""
    kept = [*steps_of(data), *(step._replace(at=round(step.at, 1)) for step in steps)]
    return {HISTORY: msgspec.json.encode(kept[-_MAX_STEPS:])}
