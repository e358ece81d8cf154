"""``/admin/_components``: every component in its states, in both themes, for those who build pages. Only the demo has it."""

from __future__ import annotations

import re
from functools import partial
from pathlib import Path
from types import SimpleNamespace

from tornado_sessions.server.accounts.fields import Field
from tornado_sessions.server.web.base import Notice
from tornado_sessions.server.web.operators import OperatorHandler
from tornado_sessions.server.web.static_files import folder

__all__ = ["ComponentsPage"]


class ComponentsPage(OperatorHandler):
    """``/admin/_components``."""

    def get(self) -> None:
        """Render the page."""
        row = partial(SimpleNamespace, url="#t", note="", hot=False, change="", before="")
        tops = [
            row(name="mallory", share=1.0, number="61", note="new today", hot=True, change="+58", before="3 yesterday"),
            row(name="svc-reports", share=0.39, number="24", note="token"),
            row(name="wen.lindqvist", share=0.23, number="14", change="−2", before="16 yesterday"),
        ]
        icons = re.findall('symbol id="(.+?)"', (Path(folder("static")) / "icons.svg").read_text(encoding="utf8"))
        done = Notice("good", "31 sessions ended.", (("/admin/jobs", "View job"), ("/admin/audit", "Audit entry")))
        failed = Notice("bad", "The export was refused.")
        self.render_page("_components.html", tops=tops, done=done, failed=failed, icons=icons, own_fields=_own_fields)


def _own_fields(theme: str) -> list[Field]:
    """Return fields of each kind as an application adds them. Their names are those of one half of the page."""
    return [
        Field(f"{theme}_desk", "Desk", kind=int, hint="The number on it."),
        Field(f"{theme}_team", "Team", choices={"ops": "Operations", "dev": "Development"}),
        Field(f"{theme}_news", "Send me news", kind=bool),
        Field(f"{theme}_terms", "I accept the terms", kind=bool, required=True),
    ]
