"""Files for download: streamed, as attachments that no browser opens."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import IO

from asgiref.sync import sync_to_async
from django.http import StreamingHttpResponse
from django.utils.http import content_disposition_header

from inference.errors import NotFound

_CHUNK_BYTES = 2**20


def attachment(path: Path, name: str) -> StreamingHttpResponse:
    """The file under this name. Django's FileResponse would hold all of it in memory under ASGI. Raises NotFound."""
    try:
        file = path.open("rb")
    except OSError:
        raise NotFound("The file of this version is gone.") from None
    response = StreamingHttpResponse(_chunks(file), content_type="application/octet-stream")
    response.headers["Content-Length"] = str(os.fstat(file.fileno()).st_size)
    response.headers["Content-Disposition"] = content_disposition_header(True, name) or "attachment"
    response.headers["X-Content-Type-Options"] = "nosniff"
    return response


async def _chunks(file: IO[bytes]) -> AsyncIterator[bytes]:
    with file:
        while chunk := await sync_to_async(file.read, thread_sensitive=False)(_CHUNK_BYTES):
            yield chunk
