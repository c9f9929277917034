"""Paths of requests to other servers, each part percent-encoded as one segment."""

from urllib.parse import quote


def federation_path(version: str, *segments: str) -> str:
    """/_matrix/federation/<version>/<segments>"""
    return f"/_matrix/federation/{version}/{joined(*segments)}"


def joined(*segments: str) -> str:
    """The segments, encoded, with slashes between them."""
    return "/".join(quote(segment, safe="") for segment in segments)
