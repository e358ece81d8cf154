"""The audit log on pages: filters, exports, verification."""

from __future__ import annotations

import csv
import io
import json

import pytest
from support.browser import Browser
from support.people import make_operator

from tornado_sessions.server.operations.action_names import Action
from tornado_sessions.server.operations.audit import Actor
from tornado_sessions.server.parts import Parts


@pytest.mark.gen_test
async def test_the_audit_log_is_exported_without_formulas(operator: Browser, parts: Parts) -> None:
    await make_operator(parts, operator)
    for number in range(3):
        actor, reason = Actor("=cmd()", "::1"), '@SUM(1,"2")'
        await parts.audit.perform(actor, Action.END_SESSION, one, target=f"h{number}", reason=reason)
    lines = [json.loads(line) for line in (await operator.get("/admin/audit.jsonl?act=end+session")).body.splitlines()]
    assert [(line["target"], line["actor"]) for line in lines] == [(f"h{number}", "=cmd()") for number in (2, 1, 0)]
    rows = list(csv.DictReader(io.StringIO((await operator.get("/admin/audit.csv?act=end+session")).body.decode())))
    assert [(row["actor"], row["reason"]) for row in rows] == [("'=cmd()", '\'@SUM(1,"2")')] * 3


async def one() -> int:
    return 1
