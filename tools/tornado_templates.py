"""Extract texts from Tornado templates for Babel, which knows Python and Jinja only.

Every expression of a template is Python, so each is handed to Babel's extractor for Python.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from io import BytesIO
from typing import IO, Any

from babel.messages.extract import extract_python

#: ``{{ … }}`` and ``{% … %}``; comments (``{# … #}``) are left out.
_TAG = re.compile(r"\{\{(.*?)\}\}|\{%(.*?)%\}", re.DOTALL)


def extract(
    file: IO[bytes], keywords: Mapping[str, Any], comment_tags: Collection[str], options: Any
) -> Iterator[tuple[int, Any, Any, Any]]:
    """Yield line, function, texts and comments of every text that a template translates."""
    template = file.read().decode()
    for tag in _TAG.finditer(template):
        line = template.count("\n", 0, tag.start())
        code = BytesIO((tag[1] or tag[2]).strip().encode())
        for offset, function, texts, comments in extract_python(code, keywords, comment_tags, options):
            yield line + offset, function, texts, comments
