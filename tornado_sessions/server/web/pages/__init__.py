"""The HTML pages, one module per page.

A page parses a request, calls one operation and renders a template. It must not know the API.
"""
