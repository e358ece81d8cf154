"""What MongoDB's planner needs to serve a command from the index of its hint, checked by its published rules.

There is no mongod in the tests. A query can use a partial index only if it implies the filter of the index; otherwise a
hint makes MongoDB leave out documents. The keys have to be in the order equality, sort, range.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from pymongo.monitoring import CommandListener, CommandStartedEvent

#: Operators that compare; with a value other than null they imply that the field exists.
_COMPARISONS = {"$eq", "$gt", "$gte", "$lt", "$lte"}


class Commands(CommandListener):
    """The commands of a client on one collection."""

    def __init__(self, collection: str) -> None:
        self.collection = collection
        self.sent: list[dict[str, Any]] = []

    def started(self, event: CommandStartedEvent) -> None:
        if event.command.get(event.command_name) == self.collection:
            self.sent.append(dict(event.command))

    def succeeded(self, event: object) -> None:
        """Recorded when it was sent."""

    def failed(self, event: object) -> None:
        """Recorded when it was sent."""


def queries_of(command: Mapping[str, Any]) -> Iterator[tuple[dict[str, Any], dict[str, Any], str]]:
    """The filter, the sort and the hint of each query in a command."""
    if "find" in command:
        yield command.get("filter", {}), dict(command.get("sort", {})), command.get("hint", "")
    elif "aggregate" in command:
        stages = {name: value for stage in command["pipeline"] for name, value in stage.items()}
        if "$changeStream" not in stages:
            yield stages.get("$match", {}), dict(stages.get("$sort", {})), command.get("hint", "")
    elif "findAndModify" in command:
        yield command["query"], {}, command.get("hint", "")
    for each in [*command.get("updates", ()), *command.get("deletes", ())]:
        yield each["q"], {}, each.get("hint", "")


def conditions_of(found: Mapping[str, Any]) -> list[tuple[str, Any]]:
    """The conditions of a filter that all hold, as field and value; ``$or`` and the like with their own name."""
    flat: list[tuple[str, Any]] = []
    for name, value in found.items():
        if name == "$and":
            flat += [pair for each in value for pair in conditions_of(each)]
        else:
            flat.append((name, value))
    return flat


def operators_of(value: Any) -> dict[str, Any]:
    """The operators of a condition."""
    is_operators = isinstance(value, Mapping) and value and all(str(name).startswith("$") for name in value)
    return dict(value) if is_operators else {"$eq": value}


def implies(found: Mapping[str, Any], partial: Mapping[str, Any]) -> bool:
    """Whether each document that matches a filter also matches that of an index, as far as MongoDB can tell."""
    return all(any(_implies(pair, wanted) for pair in conditions_of(found)) for wanted in conditions_of(partial))


def _implies(pair: tuple[str, Any], wanted: tuple[str, Any]) -> bool:
    if pair == wanted:
        return True
    if pair[0] != wanted[0] or operators_of(wanted[1]) != {"$exists": True}:
        return False
    given = operators_of(pair[1])
    has_value = any(name in _COMPARISONS and value is not None for name, value in given.items())
    in_values = "$in" in given and None not in given["$in"]
    return has_value or in_values or "$type" in given or given.get("$exists") is True


def faults_of(
    found: Mapping[str, Any], sort: Mapping[str, int], hint: str, indexes: Mapping[str, Mapping[str, Any]]
) -> list[str]:
    """Why an index cannot serve a query without reading other documents or sorting; empty if it can."""
    conditions = conditions_of(found)
    equal = {name for name, value in conditions if {"$eq", "$in"} & operators_of(value).keys()}
    if not hint:
        return [] if "_id" in equal else [f"no hint, and not by _id: {found}"]
    if hint not in indexes:
        return [f"there is no index {hint}"]
    keys: list[tuple[str, int]] = list(indexes[hint]["key"])
    if not implies(found, indexes[hint].get("partialFilterExpression", {})):
        return [f"{hint} leaves out documents of {found}"]
    while keys and keys[0][0] in equal:
        keys.pop(0)
    return _faults_of_order(hint, conditions, dict(sort), keys, equal)


def _faults_of_order(
    hint: str, conditions: list[tuple[str, Any]], sort: dict[str, int], keys: list[tuple[str, int]], equal: set[str]
) -> list[str]:
    wanted = [(name, way) for name, way in sort.items() if name not in equal]
    reverse = [(name, -way) for name, way in wanted]
    if keys[: len(wanted)] in (wanted, reverse) and (wanted or _is_bounded(conditions, keys, equal)):
        return []
    # Damaged documents are sorted in memory: each branch is a range of the next key, and few documents are in one.
    branches = [each for name, value in conditions if name == "$or" for each in value]
    if wanted == [("_id", 1)] and branches and all(_is_range(each, keys[0][0]) for each in branches):
        return []
    return [f"{hint}: {keys} serves neither {wanted} nor a range of {conditions}"]


def _is_bounded(conditions: list[tuple[str, Any]], keys: list[tuple[str, int]], equal: set[str]) -> bool:
    return not keys or bool(equal) or any(name == keys[0][0] for name, _ in conditions)


def _is_range(branch: Mapping[str, Any], key: str) -> bool:
    """Whether a branch bounds a key of the index: by its name, or by excluding ranges of it."""
    excluded = [name for each in branch.get("$nor", ()) for name in each]
    return set(branch) == {key} or (set(branch) == {"$nor"} and set(excluded) == {key})
