"""Pieces of HTML: attributes, icons, forms and tables. It must not know languages or components."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from types import SimpleNamespace
from typing import NamedTuple

from tornado.escape import to_unicode, xhtml_escape

__all__ = ["Form", "Head", "Icon", "Icons", "Wrapper", "attributes", "hidden_fields", "table"]

#: Wraps the HTML of an ``apply`` block.
Wrapper = Callable[[bytes], str]
#: Returns the HTML of an icon by its name in ``icons.svg`` and, unless it is only decoration, its label.
Icon = Callable[..., str]


def attributes(values: Mapping[str, object]) -> str:
    """Return HTML attributes. ``True`` means without a value, ``None`` and ``False`` omit it; ``_`` is written as a hyphen."""
    parts = []
    for name, value in values.items():
        if value is True:
            parts.append(f" {_written(name)}")
        elif value is not None and value is not False:
            parts.append(f' {_written(name)}="{xhtml_escape(str(value))}"')
    return "".join(parts)


def _written(name: str) -> str:
    return name.removesuffix("_").replace("_", "-")


class Icons:
    """Returns icons as HTML.

    Args:
        url: of the file with all icons.
    """

    def __init__(self, url: str) -> None:
        self._url = xhtml_escape(url)

    def __call__(self, name: str, label: str = "", css: str = "i") -> str:
        """Return an icon.

        Args:
            name: its name in ``icons.svg``.
            label: what it means, where no text beside it says so.
            css: its classes.
        """
        heard = f'role="img" aria-label="{xhtml_escape(label)}"' if label else 'aria-hidden="true"'
        return f'<svg class="{css}" {heard}><use href="{self._url}#{name}"></use></svg>'


class Form:
    """Wraps the content of an ``apply`` block in a form."""

    def __init__(self, token: Callable[[], str]) -> None:
        self._token = token

    def __call__(
        self, action: str = "", hidden: Mapping[str, str | int | Iterable[str]] | None = None, **more: object
    ) -> Wrapper:
        """Return a function that wraps HTML in a form with the method POST and its token.

        Args:
            action: the URL of the form; empty for the current page.
            hidden: the hidden fields, each with one text or several; empty texts are omitted.
            more: further attributes of the form.
        """
        start = f"<form{attributes({'method': 'post', 'action': action or None, **more})}>"
        fields = hidden_fields({"_xsrf": self._token(), **(hidden or {})})
        return lambda body: f"{start}{fields}{to_unicode(body)}</form>"


def hidden_fields(values: Mapping[str, str | int | Iterable[str]]) -> str:
    """Return a hidden input for each text; empty texts are omitted."""
    found = []
    for name, value in values.items():
        texts = [str(value)] if isinstance(value, str | int) else list(value)
        found += [f'<input type="hidden" name="{name}" value="{xhtml_escape(text)}">' for text in texts if text]
    return "".join(found)


class Head(NamedTuple):
    """The heading of a column that one can sort by.

    Args:
        text: the heading.
        url: of the list sorted by this column; empty if it cannot be.
        direction: ``ascending`` or ``descending`` if it is sorted by this column.
        css: classes of the heading.
    """

    text: str
    url: str = ""
    direction: str = ""
    css: str = ""

    def __str__(self) -> str:
        return self.text


def table(icon: Icon) -> Callable[..., Wrapper]:
    """Return the wrapper ``table`` of templates."""

    def wrap(caption: str, columns: SimpleNamespace, select: str = "", kind: str = "list") -> Wrapper:
        """Return a function that wraps rows of HTML in a table.

        Args:
            caption: the caption for screen readers.
            columns: the headings, each a text or a ``Head``; empty for a column that needs none, such as one with buttons.
            select: the heading, for screen readers, of a first column of checkboxes; empty for none.
            kind: ``list``, or ``mini`` for a small table in a card.
        """
        heads = [f'<td class="c-check"><span class="sr">{xhtml_escape(select)}</span></td>'] if select else []
        heads += [_head(column, icon) for column in vars(columns).values()]
        start = (
            f'<table class="{kind}"><caption class="sr">{xhtml_escape(caption)}</caption>'
            f"<thead><tr>{''.join(heads)}</tr></thead><tbody>"
        )
        return lambda body: f"{start}{to_unicode(body)}</tbody></table>"

    return wrap


def _head(column: Head | str, icon: Icon) -> str:
    head = column if isinstance(column, Head) else Head(column)
    if not head.text:
        return "<td></td>"
    text = xhtml_escape(head.text)
    if head.url:
        arrow = {"ascending": "asc", "descending": "desc"}.get(head.direction, "sort")
        text = f'<a href="{xhtml_escape(head.url)}">{text} {icon(arrow)}</a>'
    more = {"class": head.css or None, "aria_sort": head.direction or None}
    return f'<th scope="col"{attributes(more)}>{text}</th>'
