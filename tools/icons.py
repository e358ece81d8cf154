"""Writes ``static/icons.svg``, one file with every icon of the pages, from the pictures of Lucide.

Run it with the folder of the unpacked npm package ``lucide-static`` of the version below: ``python -m tools.icons FOLDER``.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

VERSION = "1.62.0"
STATIC = Path(__file__).parents[1] / "static"

#: Our names of icons with Lucide's. Our names say what an icon means, so that all pages mean the same by one picture.
NAMES = {
    "asc": "arrow-up",
    "audit": "scroll-text",
    "ban": "ban",
    "chart": "chart-line",
    "check": "check",
    "clock": "clock",
    "columns": "columns-3",
    "compact": "rows-4",
    "copy": "copy",
    "countries": "globe",
    "database": "database",
    "desc": "arrow-down",
    "desktop": "monitor",
    "down": "chevron-down",
    "download": "download",
    "empty": "inbox",
    "end": "circle-x",
    "error": "circle-alert",
    "export": "download",
    "external": "external-link",
    "eye": "eye",
    "eye-off": "eye-off",
    "filter": "sliders-horizontal",
    "filter-x": "funnel-x",
    "history": "history",
    "home": "house",
    "info": "info",
    "jobs": "list-checks",
    "key": "key-round",
    "language": "languages",
    "laptop": "laptop",
    "left": "chevron-left",
    "link": "link",
    "list": "list",
    "lock": "lock",
    "mail": "mail",
    "menu": "menu",
    "more": "ellipsis",
    "network": "network",
    "new-ip": "map-pin",
    "offline": "cloud-off",
    "ok": "circle-check",
    "operators": "user-cog",
    "overview": "layout-dashboard",
    "pause": "pause",
    "pencil": "pencil",
    "phone": "smartphone",
    "plus": "plus",
    "print": "printer",
    "refresh": "refresh-cw",
    "remembered": "clock-fading",
    "right": "chevron-right",
    "roomy": "rows-2",
    "search": "search",
    "server": "server",
    "sessions": "monitor-smartphone",
    "settings": "settings",
    "signout": "log-out",
    "sort": "chevrons-up-down",
    "tablet": "tablet",
    "terminal": "square-terminal",
    "theme": "sun-moon",
    "trash": "trash-2",
    "two-step": "shield-check",
    "unlock": "lock-open",
    "up": "chevron-up",
    "user": "circle-user",
    "user-plus": "user-plus",
    "user-x": "user-x",
    "users": "users",
    "views": "bookmark",
    "warn": "triangle-alert",
    "x": "x",
}
#: The mark of the product, drawn for it. The file shows it where it is used as a picture, such as the icon of the site.
_MARK = (
    '<rect width="22" height="22" rx="6" fill="#2f5ad6"/>'
    '<path d="M5 6.5h12M7 11h8.5M9.5 15.5h4" fill="none" stroke="#fff" stroke-width="2.2" stroke-linecap="round"/>'
)


def sprite(folder: Path) -> str:
    """Return the file with all icons."""
    symbols = [f'<symbol id="mark" viewBox="0 0 22 22">{_MARK}</symbol>']
    for ours, theirs in NAMES.items():
        picture = (folder / "icons" / f"{theirs}.svg").read_text(encoding="utf8")
        shapes = re.findall(r"<(?:path|circle|rect|line|polyline|polygon|ellipse)\b[^>]*/>", picture)
        symbols.append(
            f'<symbol id="{ours}" viewBox="0 0 24 24">{"".join(shape.replace(" />", "/>") for shape in shapes)}</symbol>'
        )
    notice = f"Icons of lucide-static {VERSION}; see vendor/lucide.LICENSE.txt. Written by tools/icons.py."
    lines = "\n".join(symbols)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 22 22">\n<!-- {notice} -->\n{lines}\n{_MARK}\n</svg>\n'
    )


if __name__ == "__main__":
    package = Path(sys.argv[1])
    (STATIC / "icons.svg").write_text(sprite(package), encoding="utf8")
    (STATIC / "vendor" / "lucide.LICENSE.txt").write_bytes((package / "LICENSE").read_bytes())
