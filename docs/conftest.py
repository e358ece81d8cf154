"""Run the Python code of the pages, each page from top to bottom, in a folder of its own."""

import os
from pathlib import Path

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


@pytest.fixture(scope="session")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return where the folders of the pages are."""
    return tmp_path_factory.mktemp("pages")


@pytest.fixture
def in_a_folder(request: pytest.FixtureRequest, folders: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Files that a page makes are there for the rest of the page, and not in the checkout."""
    folder = folders / request.node.path.stem
    folder.mkdir(exist_ok=True)
    monkeypatch.chdir(folder)


pytest_collect_file = Sybil(parsers=[PythonCodeBlockParser()], patterns=["*.md"], fixtures=["in_a_folder"]).pytest()
