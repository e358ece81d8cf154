"""The building blocks of templates: the names that all templates know, and the components as UI modules and wrappers.

``markup`` writes HTML, ``wrappers`` and ``components`` are the parts of pages, ``rows`` those of sessions and audit entries,
``texts`` the sentences, ``names`` what templates know. It must not know any page.
"""

from typing import Any

from tornado_sessions.server.web.ui.components import COMPONENTS
from tornado_sessions.server.web.ui.fields import FIELDS
from tornado_sessions.server.web.ui.jobs import JOBS
from tornado_sessions.server.web.ui.names import names
from tornado_sessions.server.web.ui.rows import ROWS

__all__ = ["MODULES", "names"]

#: The UI modules by their names in templates.
MODULES: dict[str, Any] = {**FIELDS, **COMPONENTS, **ROWS, **JOBS}
