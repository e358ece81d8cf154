"""The documentation: its programs run, its translations keep in step, and it names every option."""

from __future__ import annotations

import dataclasses
import re
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest
from support.ports import free_port
from support.waiting import wait_until

from tornado_sessions import SessionConfig
from tornado_sessions.server.cli import make_parser
from tornado_sessions.server.settings import ServerOptions, variable_of

ROOT = Path(__file__).parents[2]
README = ROOT / "README.md"
TUTORIAL = ROOT / "docs/tutorial.md"
FROM_EXPRESS = ROOT / "docs/howto/from-express.md"


def code_of(page: Path) -> list[str]:
    return re.findall(r"```python\n(.*?)```", page.read_text(encoding="utf8"), re.DOTALL)


def shape_of(page: Path) -> list[str]:
    """The level of each heading and the size of each table, list and code block, in order."""
    text = re.sub(r"```.*?```", "<code>", page.read_text(encoding="utf8"), flags=re.DOTALL)
    kinds = {"#": "heading", "|": "row", "-": "item", "!": "picture", "<code>": "code", "    ": "command"}
    shape = []
    for line in text.splitlines():
        for start, kind in kinds.items():
            if line.startswith(start):
                shape.append(f"{kind} {len(line) - len(line.lstrip('#'))}")
                break
    return shape


@pytest.mark.parametrize(
    ("page", "translation"),
    [
        (README, ROOT / "README.zh-CN.md"),
        (TUTORIAL, ROOT / "docs/zh/tutorial.md"),
        (FROM_EXPRESS, ROOT / "docs/zh/from-express.md"),
    ],
)
def test_a_translation_has_the_headings_tables_and_code_of_its_original(page: Path, translation: Path) -> None:
    assert shape_of(translation) == shape_of(page)
    assert code_of(translation) == code_of(page)


def answer_of(url: str, process: subprocess.Popen[str]) -> str:
    """What a program that is starting answers, as soon as it listens."""

    def answer() -> str:
        assert process.poll() is None, "the program ended"
        with urllib.request.urlopen(url, timeout=5) as response:
            return str(response.read().decode())

    return wait_until(answer, url)


@pytest.mark.parametrize(
    ("page", "number", "path", "expected"),
    [(README, 0, "/", "You have been here 1 times."), (TUTORIAL, 0, "/", "You have been here 1 times."),
     (TUTORIAL, 1, "/sign-in", "<form"), (FROM_EXPRESS, 0, "/home", "登录 注册")],
)  # fmt: skip
def test_a_program_of_the_documentation_serves(
    page: Path, number: int, path: str, expected: str, tmp_path: Path
) -> None:
    port = free_port()
    (tmp_path / "program.py").write_text(
        code_of(page)[number].replace("8888", str(port)).replace("3000", str(port)), encoding="utf8"
    )
    with subprocess.Popen(
        [sys.executable, "-W", "error", "program.py"], cwd=tmp_path, env={"PYTHONPATH": str(ROOT)}, text=True
    ) as process:
        try:
            assert expected in answer_of(f"http://127.0.0.1:{port}{path}", process)
        finally:
            process.terminate()


def test_every_option_is_documented() -> None:
    page = (ROOT / "docs/reference/options.md").read_text(encoding="utf8")
    names = [field.name for field in dataclasses.fields(SessionConfig)]
    assert len(names) <= 25
    for name in names:
        assert f"`{name}`" in page, name
        assert name in (SessionConfig.__doc__ or ""), name


def test_every_setting_and_command_of_the_server_is_documented() -> None:
    page = (ROOT / "docs/reference/server.md").read_text(encoding="utf8")
    for name in ServerOptions.model_fields:
        assert f"| `--{name.replace('_', '-')}` | `{variable_of(name)}` |" in page, name
    (commands,) = (action.choices for action in make_parser()._actions if isinstance(action.choices, dict))
    for name in commands:
        assert re.search(rf"`{name}[ `]", page), name


@pytest.mark.parametrize(
    "page", sorted(ROOT.glob("*.md")) + sorted((ROOT / "docs").rglob("*.md")), ids=lambda page: page.name
)
def test_links_between_files_lead_somewhere(page: Path) -> None:
    text = re.sub(r"```.*?```", "", page.read_text(encoding="utf8"), flags=re.DOTALL)
    for target in re.findall(r"\]\(([^)#:]+)\)", text):
        assert (page.parent / target).exists(), target
