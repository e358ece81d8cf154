"""The HTTP side of the server: handlers parse a request, call one operation, and render the response."""
