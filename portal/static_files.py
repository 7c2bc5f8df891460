"""Static files from the folders of the apps, compressed when they are first asked for."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

from django.http import HttpRequest, HttpResponse
from django.utils.cache import patch_vary_headers
from whitenoise.middleware import WhiteNoiseMiddleware

from inference.protocols.content_coding import chosen_coding, compress

_LEAST_BYTES = 1024
_TEXTS = ("text/", "application/json", "image/svg")


class StaticFilesMiddleware(WhiteNoiseMiddleware):  # type: ignore[misc]
    """Answers with the whole file, texts compressed. WhiteNoise compresses in `collectstatic` only, which the portal
    does not run, and streams files, which Django under ASGI warns about and collects in memory anyway."""

    @staticmethod
    def serve(static_file: Any, request: HttpRequest) -> HttpResponse:
        found = static_file.get_response(request.method, request.META)
        headers = dict(found.headers)
        body = b""
        if found.file is not None:
            with found.file:
                body = found.file.read()
        response = HttpResponse(body, status=int(found.status), headers=headers)
        if "Content-Type" not in headers:  # 304: Django's default would replace what the browser knows
            del response["Content-Type"]
        if headers.get("Content-Type", "").startswith(_TEXTS):
            patch_vary_headers(response, ["Accept-Encoding"])
            coding = chosen_coding(request.headers.get("Accept-Encoding", ""))
            if coding is not None and found.status == 200 and len(body) >= _LEAST_BYTES:
                _encode(response, Path(found.file.name), coding)
        return response


def _encode(response: HttpResponse, path: Path, coding: Literal["gzip", "deflate"]) -> None:
    response.content = _compressed(path, coding)
    response["Content-Encoding"] = coding
    response["Content-Length"] = str(len(response.content))


@lru_cache(maxsize=256)
def _compressed(path: Path, coding: Literal["gzip", "deflate"]) -> bytes:
    """Cached for the life of the process, like the sizes that WhiteNoise read at its start: 1.2 MB for all pages."""
    return compress(path.read_bytes(), coding)
