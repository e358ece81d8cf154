"""``check`` does what requests do, on servers that look right and refuse it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.amount import only_long
from support.redis_servers import Valkey
from support.server_process import run_command
from support.urls import url_of

#: As documented, for keys below ``ts:``.
ACL = ("~ts:*", "&ts:*", "+@read", "+@write", "+@scripting", "+@pubsub", "+@connection", "+info")
SECRET = ("--secret", "a-secret-of-the-tests-of-check-32-characters")


@pytest.fixture(scope="module")
def valkey() -> Iterator[Valkey]:
    server = Valkey()
    yield server
    server.stop()


def check(folder: Path, url: str) -> tuple[int, dict[str, list[str]]]:
    """Return the exit code, and the messages by grade."""
    found = run_command(folder, "--store", url, *SECRET, "check", "--json")
    messages: dict[str, list[str]] = {"good": [], "note": [], "bad": [found.stderr] if found.stderr else []}
    for line in found.stdout.splitlines():
        item = json.loads(line)
        messages[item["grade"]].append(item["message"])
    return found.returncode, messages


@pytest.mark.parametrize(
    "kind",
    [
        "sqlite",
        "redis",
        "mongo_pymongo",
        *(pytest.param(kind, marks=only_long) for kind in ("redis_cluster", "redis_sentinel")),
    ],
)
def test_a_good_store_is_used_and_described(kind: str, request: pytest.FixtureRequest, tmp_path: Path) -> None:
    code, found = check(tmp_path, url_of(kind, request, tmp_path))
    assert (code, found["bad"]) == (0, [])
    said = " ".join(found["good"])
    for part in ("Created, changed and read back", "stay ended", "Received the event", "account store accepts writes"):
        assert part in said
    assert {"sqlite": "SQLite", "redis": "eviction noeviction", "mongo": "replica set"}[kind.partition("_")[0]] in said


def test_a_probe_leaves_no_session(tmp_path: Path) -> None:
    assert check(tmp_path, "sqlite:///s.db")[0] == 0
    assert run_command(tmp_path, "--store", "sqlite:///s.db", *SECRET, "list", "--json").stdout == ""


@pytest.mark.parametrize("left_out", [part for part in ACL if part not in ("~ts:*", "+@connection")])
def test_each_missing_permission_is_a_problem_that_is_named(valkey: Valkey, tmp_path: Path, left_out: str) -> None:
    valkey.ask("ACL", "SETUSER", "tester", "reset", "on", ">word", *(part for part in ACL if part != left_out))
    code, found = check(tmp_path, valkey.url.replace("//", "//tester:word@"))
    assert code == 1, found
    named = {"&ts:*": "channel", "+@pubsub": "publish", "+@scripting": "eval", "+info": "info"}
    said = " ".join(found["bad"]).lower()
    assert named.get(left_out, "permission") in said, said
    assert "word" not in said.replace("password", "")


def test_with_the_documented_permissions_there_is_no_problem(valkey: Valkey, tmp_path: Path) -> None:
    valkey.ask("ACL", "SETUSER", "tester", "reset", "on", ">word", *ACL)
    assert check(tmp_path, valkey.url.replace("//", "//tester:word@"))[1]["bad"] == []


def test_a_full_server_is_a_problem(tmp_path: Path) -> None:
    server = Valkey("--maxmemory", "1")
    try:
        code, found = check(tmp_path, server.url)
        assert code == 1
        assert "memory" in " ".join(found["bad"])
    finally:
        server.stop()


def test_a_read_only_replica_is_a_problem(valkey: Valkey, tmp_path: Path) -> None:
    host, port = valkey.url.removeprefix("redis://").split("/")[0].split(":")
    replica = Valkey("--replicaof", f"{host} {port}")
    try:
        code, found = check(tmp_path, replica.url)
        assert code == 1
        assert "replica" in " ".join(found["bad"]).lower()
    finally:
        replica.stop()
