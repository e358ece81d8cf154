"""The program that explains every list on a server of MongoDB."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from pymongo import MongoClient
from support.mongo_servers import Mongo

from benchmarks.mongo_explain import Question, Report, explain


@pytest.mark.long
@pytest.mark.gen_test(timeout=60)
async def test_a_server_that_cannot_explain_is_told_apart_from_one_that_keeps_the_bounds(
    mongo: Mongo, capsys: pytest.CaptureFixture[str]
) -> None:
    assert await explain(f"{mongo.url}/explained", 60) == 2
    printed = capsys.readouterr().out
    assert "nothing is proved" in printed
    for index in (
        "by_last_seen_2",
        "by_user_2",
        "by_ip_2",
        "by_expiry_2",
        "by_sign_in_2",
        "by_end_2",
        "by_keep_until_2",
    ):
        assert index in printed
    client: MongoClient[dict[str, Any]] = MongoClient(mongo.url)
    assert client["explained"].list_collection_names() == []
    client.close()


def answer(read: int, *stages: str) -> dict[str, Any]:
    """What a mongod answers, with the plan it has chosen and one that it has not."""
    plan: dict[str, Any] = {}
    for stage in reversed(stages):
        plan = {"stage": stage, **({"inputStage": plan} if plan else {})}
    return {
        "queryPlanner": {"winningPlan": plan, "rejectedPlans": [{"stage": "COLLSCAN"}]},
        "executionStats": {"nReturned": 50, "totalKeysExamined": read, "totalDocsExamined": read},
    }


@pytest.mark.parametrize(
    ("found", "code", "said"),
    [
        (answer(51, "LIMIT", "FETCH", "IXSCAN"), 0, "ok"),
        (answer(52, "LIMIT", "FETCH", "IXSCAN"), 1, "reads more than 51"),
        (answer(51, "SORT", "FETCH", "IXSCAN"), 1, "sorts in memory"),
        (answer(51, "LIMIT", "COLLSCAN"), 1, "reads the whole collection"),
        ({"ok": 1}, 1, "is not explained"),
        ({"stages": [{"$cursor": answer(51, "FETCH", "IXSCAN")}]}, 0, "ok"),
        ({"shards": {"a": answer(30, "IXSCAN"), "b": answer(30, "IXSCAN")}}, 1, "reads more than 51"),
    ],
)
def test_a_query_beyond_its_bound_fails(
    found: dict[str, Any], code: int, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    report = Report(is_measured=True)
    question = Question("all", lambda: asyncio.sleep(0), 51)
    report.add(question, {"find": "sessions", "hint": "by_user_2", "sort": {"user": 1}}, answer(1, "IXSCAN"))
    assert report.code == 0
    report.add(question, {"find": "sessions", "hint": "by_user_2", "sort": {"user": 1}}, found)
    assert report.code == code
    assert capsys.readouterr().out.rstrip().endswith(said)
