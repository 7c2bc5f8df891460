"""The name that a client gives the file in a part of a form."""

from __future__ import annotations

import re
from urllib.parse import unquote

from multipart import MultipartSegment, PushMultipartParser

_EXTENDED = re.compile(r"; *filename\* *= *([^\s';]+)'[^\s';]*'([^\s';]*)", re.IGNORECASE)
"""RFC 8187: charset'language'text."""


class NameReader(PushMultipartParser):  # type: ignore[misc]
    """Reads a form whose names may be in another charset than UTF-8: bytes that are not UTF-8 are replaced."""

    def _on_segment_headerline(self, line: bytes) -> None:
        super()._on_segment_headerline(bytes(line).decode("utf-8", "replace").encode())


def file_name(part: MultipartSegment) -> str | None:
    """`filename*` where a client writes it, as Django has it, else `filename`. None for a field that is no file.

    For a name beyond ASCII .NET writes both, `filename` as in an e-mail's head: `=?utf-8?B?…?=`.
    """
    name: str | None = part.filename
    extended = _EXTENDED.search(part["Content-Disposition"])
    if extended is None:
        return name
    try:
        return unquote(extended[2], extended[1])
    except (LookupError, ValueError):  # there is no such charset
        return name
