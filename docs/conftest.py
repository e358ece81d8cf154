"""Run the Python code of the pages, each page from top to bottom."""

import os

import pytest
from sybil import Sybil
from sybil.parsers.myst import PythonCodeBlockParser

# The guide for Django works in a project.
os.environ.setdefault("DJANGO_SETTINGS_MODULE", "support.django_settings")


@pytest.hookimpl(tryfirst=True)  # before pytest-xdist reads the groups
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Run the examples of a page in order and in one worker: they build on one another."""
    for item in items:
        if item.path.suffix == ".md":
            item.add_marker(pytest.mark.xdist_group(item.path.name))
            item.add_marker(pytest.mark.random_order(disabled=True))


pytest_collect_file = Sybil(parsers=[PythonCodeBlockParser()], patterns=["*.md"]).pytest()
