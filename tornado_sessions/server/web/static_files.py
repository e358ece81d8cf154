"""Files that are served or rendered as they are: where they are, and the handler that serves them.

It must not know what they contain.
"""

from __future__ import annotations

from pathlib import Path

from tornado.web import HTTPError, StaticFileHandler

__all__ = ["StaticFiles", "folder"]

_PACKAGE = Path(__file__).parents[2]


class StaticFiles(StaticFileHandler):
    """Style sheet, script and icon."""

    def validate_absolute_path(self, root: str, absolute_path: str) -> str | None:
        """Refuse a NUL in the path with 404: the file system would raise an error."""
        if "\0" in absolute_path:
            raise HTTPError(404)
        return super().validate_absolute_path(root, absolute_path)


def folder(name: str) -> str:
    """Return the path of ``templates`` or ``static``: in an installed package inside it, in a checkout beside it."""
    inside = _PACKAGE / name
    return str(inside if inside.is_dir() else _PACKAGE.parent / name)
