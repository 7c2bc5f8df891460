"""gzip and deflate of bodies (RFC 9110; deflate is the zlib wrapper), with a limit on what comes out."""

from __future__ import annotations

import gzip
import zlib
from typing import Literal

from inference.errors import PortalError, TooLarge, ValidationFailed
from inference.refusal import size_words

_WINDOW = {"gzip": 31, "deflate": 15}
_PLAIN = frozenset({"", "identity"})


class UnknownCoding(PortalError):
    """415; `taken` are the supported codings, sent in Accept-Encoding."""

    code, status = "unsupported_media_type", 415

    def __init__(self, message: str, taken: str) -> None:
        super().__init__(message)
        self.taken = taken

    @property
    def headers(self) -> dict[str, str]:
        return {"Accept-Encoding": self.taken}


def check_plain(coding: str | None) -> None:
    """Raises UnknownCoding if the header Content-Encoding says that the body is encoded."""
    if coding is not None and coding.strip().lower() not in _PLAIN:
        raise UnknownCoding("Send the body as it is: no Content-Encoding is taken at this address.", "identity")


def decompress(body: bytes, coding: str, most_bytes: int) -> bytes:
    """Raises UnknownCoding, TooLarge for more than `most_bytes`, ValidationFailed for a damaged or truncated body."""
    coding = coding.strip().lower()
    if coding in _PLAIN:
        return body
    if coding not in _WINDOW:
        raise UnknownCoding("The Content-Encoding is gzip or deflate, or the body comes as it is.", "gzip, deflate")
    reader = zlib.decompressobj(_WINDOW[coding])
    try:
        plain = reader.decompress(body, most_bytes + 1)
    except zlib.error:
        raise ValidationFailed(f"The body is not {coding}, though the header says so.") from None
    if len(plain) > most_bytes:
        raise TooLarge(f"Decompressed, a request to this address may hold at most {size_words(most_bytes)}.")
    if not reader.eof or reader.unused_data:
        raise ValidationFailed(f"The {coding} of the body is cut off, or something follows it.")
    return plain


def chosen_coding(accept: str) -> Literal["gzip", "deflate"] | None:
    """The coding for the response to a client that sends this Accept-Encoding; None for no coding."""
    if not accept:
        return None
    weights: dict[str, float] = {}
    for item in accept.lower().split(","):
        name, _, parameters = item.partition(";")
        try:
            weight = float(parameters.partition("q=")[2] or 1)
        except ValueError:
            weight = 1.0
        weights[name.strip()] = weight
    for name in ("gzip", "deflate"):
        if weights.get(name, 0.0) > 0:
            return name  # type: ignore[return-value]
    return None


def compress(body: bytes, coding: Literal["gzip", "deflate"]) -> bytes:
    return gzip.compress(body, 1, mtime=0) if coding == "gzip" else zlib.compress(body, 1)
