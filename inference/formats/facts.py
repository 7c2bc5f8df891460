"""What is learnt about an uploaded file without running it, and how it is turned down."""

from __future__ import annotations

from dataclasses import dataclass

from inference.errors import PortalError

SHOWN_NAME_LENGTH = 80


class FileRejected(PortalError):
    """The file cannot be served as it is. `message` is one or two sentences: what is wrong, what to do."""

    code, status = "validation_error", 400


@dataclass(frozen=True, slots=True)
class FileFacts:
    """`format` is one of the contract's names; `suffix` is the ending (with its dot) that loaders want to see on the
    stored file, whatever its uploader called it; `saved_with` is a product and its version, or "" if the file does not
    say; `labels` are those inside the file, in the order of the scores."""

    format: str
    suffix: str
    saved_with: str
    labels: tuple[str, ...] = ()


def shown(name: object) -> str:
    """A name out of a file, short and on one line, for a sentence."""
    text = "".join(char if char.isprintable() else "?" for char in str(name)[: SHOWN_NAME_LENGTH + 1])
    return text if len(text) <= SHOWN_NAME_LENGTH else text[: SHOWN_NAME_LENGTH - 1] + "…"


def size_words(size_bytes: int) -> str:
    for unit, power in (("GB", 30), ("MB", 20), ("kB", 10)):
        if size_bytes >= 1 << power:
            return f"{size_bytes / (1 << power):,.1f} {unit}"
    return f"{size_bytes} bytes"
