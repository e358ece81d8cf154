"""What the server says over HTTP: parse a request, call one operation, render the answer."""
