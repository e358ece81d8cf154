"""Components of forms: fields with their labels, hints and errors, and the summary of what is wrong. It must not know any form."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from tornado_sessions.server.web.ui.component import Component, piece
from tornado_sessions.server.web.ui.markup import attributes

__all__ = ["FIELDS"]


def _described(field_id: str, hint: str, error: str | None) -> dict[str, object]:
    ids = [f"{field_id}-{part}" for part, text in (("hint", hint), ("error", error)) if text]
    return {"aria_invalid": "true" if error else None, "aria_describedby": " ".join(ids) or None}


class Field(Component):
    """A labelled input with a hint and an error message."""

    template = "field"

    def render(
        self,
        name: str,
        label: str,
        *,
        field_id: str = "",
        error: str | None = "",
        hint: str = "",
        optional: bool = False,
        **more: object,
    ) -> str:
        """Render the field.

        Args:
            name: the field's name in the form.
            label: its label.
            field_id: its ID, unique on the page; by default its name.
            error: what is wrong with its value.
            hint: what to enter.
            optional: says so beside the label.
            more: further attributes of the input. With ``rows``, it has several lines.
        """
        field_id = field_id or name
        lines = more.pop("value", "") if "rows" in more else None
        described = _described(field_id, hint, error)
        return self.draw(
            field_id=field_id,
            label=label,
            attributes=attributes({"class": "input", "id": field_id, "name": name, **more, **described}),
            error=error,
            hint=hint,
            optional=optional,
            lines=lines,
            is_password=more.get("type") == "password",
        )


class Select(Component):
    """A labelled drop-down list."""

    template = "select"

    def render(
        self,
        name: str,
        label: str,
        options: Iterable[tuple[object, str]],
        *,
        chosen: object = "",
        field_id: str = "",
        error: str | None = "",
        hint: str = "",
        **more: object,
    ) -> str:
        """Render the list.

        Args:
            name, label, field_id, error, hint, more: see ``Field``.
            options: values with their texts.
            chosen: the selected value.
        """
        field_id = field_id or name
        described = _described(field_id, hint, error)
        written = attributes({"class": "input", "id": field_id, "name": name, **more, **described})
        items = [(str(value), text, str(value) == str(chosen)) for value, text in options]
        return self.draw(field_id=field_id, label=label, attributes=written, options=items, error=error, hint=hint)


class Checkbox(Component):
    """A box with its label."""

    template = "checkbox"

    def render(
        self, name: str, label: str, *, value: object = "1", checked: bool = False, hint: str = "", **more: object
    ) -> str:
        """Render the box.

        Args:
            name, label, hint, more: see ``Field``.
            value: what the form sends if it is ticked.
            checked: whether it is ticked.
        """
        box = {"class": "box", "type": "checkbox", "name": name, "value": value, "checked": checked}
        return self.draw(attributes=attributes({**box, **more}), label=label, hint=hint)


class Radios(Component):
    """A choice of one of a few."""

    template = "radios"

    def render(
        self,
        name: str,
        label: str,
        options: Iterable[tuple[object, str, str]],
        *,
        chosen: object = "",
        error: str | None = "",
        css: str = "",
    ) -> str:
        """Render the choice.

        Args:
            name, label, error: see ``Field``; the first radio button has the name as its ID.
            options: values with their texts and hints.
            chosen: the selected value.
            css: further classes: ``choices`` for short texts beside one another, each a button to tap.
        """
        described = _described(name, "", error)
        items = []
        for number, (value, text, hint) in enumerate(options):
            box = {"class": "box", "type": "radio", "name": name, "value": value, "checked": str(value) == str(chosen)}
            # One of them says what is wrong: that to which the summary leads.
            first = {} if number else {"id": name, **described}
            items.append((attributes({**box, **first}), text, hint))
        return self.draw(name=name, label=label, options=items, error=error, css=css)


class ErrorSummary(Component):
    """What is wrong with a form, at its top. It takes the focus when the page is loaded, and leads to each field."""

    template = "error_summary"

    def render(self, faults: Mapping[str, str] | None, ids: Mapping[str, str] | None = None) -> str:
        """Render the summary; nothing if there are no faults.

        Args:
            faults: sentences by the names of their fields; an empty name stands for the whole form.
            ids: the IDs of fields that are not their names.
        """
        if not faults:
            return ""
        links = [((ids or {}).get(name, name), text) for name, text in faults.items() if name]
        return self.draw(whole=faults.get("", ""), links=links)


FIELDS = {
    "Field": Field,
    "Select": Select,
    "Checkbox": Checkbox,
    "Radios": Radios,
    "ErrorSummary": ErrorSummary,
    "PasswordField": piece("password_field"),
    "NewPassword": piece("new_password", "name", "label", "shortest", error="", field_id=""),
    "CodeField": piece("code_field"),
    "ConfirmPassword": piece("confirm_password", "proved", "field_id", faults={}),
    "OwnFields": piece("own_fields", "fields", "typed", "faults"),
    "Reason": piece("reason", error=""),
}
