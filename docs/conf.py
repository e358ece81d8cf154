"""Sphinx: ``make docs`` builds ``build/docs``; warnings are errors."""

from tornado_sessions import __version__

project = "tornado_sessions"
author = "the tornado_sessions authors"
copyright = "2026, the tornado_sessions authors"  # noqa: A001 - Sphinx names it so
release = __version__

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx_copybutton"]
html_theme = "furo"
html_title = f"tornado_sessions {release}"

myst_heading_anchors = 3
myst_enable_extensions = ["colon_fence", "deflist"]

autodoc_typehints = "description"
autodoc_member_order = "bysource"
autodoc_default_options = {"members": True, "show-inheritance": True}
napoleon_google_docstring = True
napoleon_numpy_docstring = False
napoleon_use_ivar = True
# Generic aliases and types of the standard library have no page here to link to.
nitpicky = False
