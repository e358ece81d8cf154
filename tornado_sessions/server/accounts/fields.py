"""``Field``: a field that an application adds to its users, and the check of what people enter into it.

Pure, but for the application's own checks. It must not know stores, forms of HTML or how users are stored.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from tornado_sessions.damage import is_unicode
from tornado_sessions.errors import UsageError
from tornado_sessions.messages import N_, Message
from tornado_sessions.server.accounts.errors import InvalidForm
from tornado_sessions.server.accounts.text import nfkc

__all__ = ["Field", "Fields", "Value", "Words"]

#: What is stored.
Value = str | int | bool
#: What people read: one text, or one for each language by its code, ``en_US`` or ``zh``.
Words = str | Mapping[str, str]

_is_name = re.compile(r"[a-z][a-z0-9_]{0,39}").fullmatch
_is_number = re.compile(r"[+-]?[0-9]{1,15}").fullmatch
#: Maximum number of fields, and of characters of one: so a user stays a small record.
_MAX_FIELDS, _MAX_LENGTH = 20, 500
#: Before the name of a field in a form, where other fields have names as well.
_PREFIX = "extra_"


@dataclass(frozen=True)
class Field:
    """A field of users. People enter it when they register, and change it in their profile; operators see it.

    Args:
        name: its key in ``User.extra``: small letters, digits and ``_``.
        label: what people read beside it: a text, or ``{"en_US": "Team", "zh": "团队"}``. So are the hint and the texts of choices.
        kind: ``str``, ``int`` (up to 15 digits) or ``bool`` (a box to tick).
        required: whether it must be filled in; a box must be ticked then.
        max_length: maximum number of characters of a text, up to 500.
        choices: the allowed values of a text, each with its label.
        hint: what to enter.
        check: gets a value that is not empty, and returns what is wrong with it, or ``None``. It must not block.

    Raises:
        UsageError: an argument is out of its bounds.
    """

    name: str
    label: Words
    kind: type[Value] = str
    required: bool = False
    max_length: int = 100
    choices: Mapping[str, Words] = field(default_factory=dict)
    hint: Words = ""
    check: Callable[[Any], Message | str | None] | None = None

    def __post_init__(self) -> None:
        if not _is_name(self.name):
            raise UsageError(f"the name of a field must be small letters, digits and _, not {self.name!r}")
        if not self.label:
            raise UsageError(f"the field {self.name} needs a label")
        if self.kind not in (str, int, bool):
            raise UsageError(f"the field {self.name}: kind must be str, int or bool")
        if not 1 <= self.max_length <= _MAX_LENGTH:
            raise UsageError(f"the field {self.name}: max_length must be from 1 to {_MAX_LENGTH}")
        if self.choices and self.kind is not str:
            raise UsageError(f"the field {self.name}: only a str has choices")

    @property
    def form_name(self) -> str:
        """Its name in forms."""
        return _PREFIX + self.name

    def read(self, typed: str) -> tuple[Value | None, Message | str | None]:
        """Parse what was typed. Return the value, ``None`` if it is empty, and what is wrong with it."""
        text = nfkc(typed).strip()
        if self.kind is bool:
            if self.required and not text:
                return None, N_("Tick this box to continue.")
            return bool(text), self._checked(bool(text))
        if not text:
            return None, N_("Fill in this field.") if self.required else None
        fault = self._form_fault(text)
        if fault is not None:
            return None, fault
        value = int(text) if self.kind is int else text
        return value, self._checked(value)

    def _form_fault(self, text: str) -> Message | str | None:
        if self.kind is int:
            return None if _is_number(text) else N_("Enter a whole number.")
        if len(text) > self.max_length:
            return Message.plural("Use at most %s character.", "Use at most %s characters.", self.max_length)
        if not text.isprintable() or not is_unicode(text):
            return N_("Use letters, digits and punctuation only.")
        return N_("Choose an option from the list.") if self.choices and text not in self.choices else None

    def _checked(self, value: Value) -> Message | str | None:
        return self.check(value) if self.check is not None else None

    def shown(self, value: object) -> Value | Words | None:
        """Return a stored value as pages show it; ``None`` if it is missing or not a valid value of this field."""
        if type(value) is not self.kind:
            return None
        return self.choices.get(value, value) if isinstance(value, str) else value


class Fields:
    """The fields of an application.

    Args:
        fields: in the order in which people see them.

    Raises:
        UsageError: two have the same name, or there are more than 20.
    """

    def __init__(self, fields: Iterable[Field] = ()) -> None:
        self.all = tuple(fields)
        if len({field.name for field in self.all}) < len(self.all) or len(self.all) > _MAX_FIELDS:
            raise UsageError(f"fields must have different names, and be at most {_MAX_FIELDS}")

    def read(self, typed: Mapping[str, str]) -> dict[str, Value | None]:
        """Return the values of what was typed, by the names of the fields.

        Args:
            typed: texts by the names of the fields in forms; a missing one is empty.

        Raises:
            InvalidForm: with a message for each wrong field.
        """
        found = [(field, *field.read(typed.get(field.form_name, ""))) for field in self.all]
        faults = {field.form_name: fault for field, _, fault in found if fault is not None}
        if faults:
            raise InvalidForm(faults)
        return {field.name: value for field, value, _ in found}

    def typed(self, extra: Mapping[str, object]) -> dict[str, str]:
        """Return stored values as a form shows them; the opposite of ``read``."""
        values = {field.form_name: (field, extra.get(field.name)) for field in self.all}
        return {
            name: ("1" if value else "") if field.kind is bool else str(value)
            for name, (field, value) in values.items()
            if field.shown(value) is not None
        }

    def shown(self, extra: Mapping[str, object]) -> tuple[tuple[Words, Value | Words | None], ...]:
        """Return the labels of all fields, each with its value as pages show it."""
        return tuple((field.label, field.shown(extra.get(field.name))) for field in self.all)
