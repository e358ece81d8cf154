"""Files of others in ``static`` are what their table says, with their licences."""

from __future__ import annotations

import re
from hashlib import sha256
from pathlib import Path

STATIC = Path(__file__).parents[2] / "static"
TABLE = (STATIC / "vendor" / "README.md").read_text(encoding="utf8")
ROWS = {
    row[0]: row
    for row in re.findall(r"^\| `(.+?)` \| (.+?) \| (.+?) \| .+? \| .+?, `(.+?)` \| `(\w{64})` \|", TABLE, re.MULTILINE)
}


def test_each_file_has_the_hash_and_the_licence_of_its_row() -> None:
    assert len(ROWS) >= 2
    for name, _package, _version, licence, digest in ROWS.values():
        assert sha256((STATIC / name).read_bytes()).hexdigest() == digest, name
        assert "permission" in (STATIC / "vendor" / licence).read_text(encoding="utf8").lower()


def test_each_file_of_others_has_a_row() -> None:
    files = {path.relative_to(STATIC).as_posix() for path in (STATIC / "vendor").iterdir()}
    licences = {f"vendor/{row[3]}" for row in ROWS.values()}
    assert files == {name for name in ROWS if name.startswith("vendor/")} | licences | {"vendor/README.md"}


def test_each_file_is_of_the_version_of_its_row() -> None:
    assert f'version="{ROWS["vendor/htmx.min.js"][2]}"' in (STATIC / "vendor/htmx.min.js").read_text(encoding="utf8")
    assert f"lucide-static {ROWS['icons.svg'][2]};" in (STATIC / "icons.svg").read_text(encoding="utf8")
