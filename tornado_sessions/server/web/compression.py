"""Compresses pages, style sheets and scripts. It must not know what they hold."""

from __future__ import annotations

from tornado.httputil import HTTPHeaders, HTTPServerRequest
from tornado.web import GZipContentEncoding
from typing_extensions import override

__all__ = ["Compression"]


class Compression(GZipContentEncoding):
    """Compresses a response with gzip, unless another site caused its request.

    The length of a compressed page reveals whether the page contains a text that another site has put into its URL (BREACH). Our
    tokens differ in each response, but names and addresses do not.
    """

    def __init__(self, request: HTTPServerRequest) -> None:
        super().__init__(request)
        self._is_used = request.headers.get("Sec-Fetch-Site") not in ("cross-site", "same-site")

    @override
    def transform_first_chunk(
        self, status_code: int, headers: HTTPHeaders, chunk: bytes, finishing: bool
    ) -> tuple[int, HTTPHeaders, bytes]:
        # A range refers to the uncompressed file, and an event must not wait for the next one.
        if status_code == 206 or headers.get("Content-Type", "").startswith("text/event-stream"):
            self._is_used = False
        if self._is_used:
            return super().transform_first_chunk(status_code, headers, chunk, finishing)
        return status_code, headers, chunk

    @override
    def transform_chunk(self, chunk: bytes, finishing: bool) -> bytes:
        return super().transform_chunk(chunk, finishing) if self._is_used else chunk
