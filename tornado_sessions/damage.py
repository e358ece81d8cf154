"""Read stored fields back into a struct, or report which field is damaged.

Pure functions. They must not know what the struct is for or where it is stored.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from math import isfinite
from typing import Any, TypeVar

import msgspec

__all__ = ["Unreadable", "fields_of", "is_unicode", "salvaged", "struct_of"]

T = TypeVar("T", bound=msgspec.Struct)

_MISSING = re.compile(r"missing required field `(\w+)`")
_FIELD = re.compile(r"at `\$\.(\w+)")


class Unreadable(ValueError):
    """A stored value is damaged.

    Args:
        why: a short phrase without values, such as ``created_at has the wrong type``.
    """

    def __init__(self, why: str) -> None:
        super().__init__(why)
        self.why = why


def fields_of(stored: bytes) -> dict[str, Any]:
    """Return the fields of a JSON object. Raises ``Unreadable``."""
    try:
        found = msgspec.json.decode(stored)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise Unreadable("it is not valid JSON") from None
    if not isinstance(found, dict):
        raise Unreadable("it is not a JSON object")
    return found


def struct_of(kind: type[T], fields: Mapping[str, Any]) -> T:
    """Create a struct from stored fields. Unknown fields are ignored; missing ones take their default.

    Raises:
        Unreadable: a field is missing, has the wrong type or an unknown value, or is not a finite number or valid text.
    """
    try:
        made = msgspec.convert(dict(fields), kind)
    except (msgspec.ValidationError, OverflowError) as error:
        raise Unreadable(_in_words(str(error))) from None
    for name in made.__struct_fields__:
        if not _is_sound(getattr(made, name)):
            raise Unreadable(f"{name} is not valid")
    return made


def salvaged(kind: type[msgspec.Struct], fields: Mapping[str, Any]) -> dict[str, Any]:
    """Return the sound fields. Each field is checked separately, so one damaged field does not hide the others."""
    kept = {}
    for field in msgspec.structs.fields(kind):
        if field.encode_name not in fields:
            continue
        try:
            value = msgspec.convert(fields[field.encode_name], field.type)
        except (msgspec.ValidationError, OverflowError):
            continue
        if _is_sound(value):
            kept[field.name] = value
    return kept


def is_unicode(text: str) -> bool:
    """Return whether UTF-8 can encode a text: it has no lone surrogate."""
    return text.isascii() or not any("\ud800" <= letter <= "\udfff" for letter in text)


def _is_sound(value: object) -> bool:
    """Refuse NaN, infinity and text that UTF-8 cannot encode: they would break a page later."""
    if isinstance(value, float):
        return isfinite(value)
    if isinstance(value, str):
        return is_unicode(value)
    return True


def _in_words(error: str) -> str:
    """Rephrase msgspec's message without the value it may quote: values must not reach logs or pages."""
    if missing := _MISSING.search(error):
        return f"{missing[1]} is missing"
    field = _FIELD.search(error)
    name = field[1] if field else "it"
    return f"{name} has an unknown value" if "enum value" in error else f"{name} has the wrong type"
