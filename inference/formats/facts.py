"""What is learnt about an uploaded file without running it, and how it is turned down."""

from __future__ import annotations

from dataclasses import dataclass

from inference.errors import PortalError
from inference.signature import Signature

SHOWN_NAME_LENGTH = 80


class FileRejected(PortalError):
    """The file cannot be served as it is. `message` is one or two sentences: what is wrong, what to do."""

    code, status = "validation_error", 400


@dataclass(frozen=True, slots=True)
class Candidates:
    """The tensors that may be meant as inputs and outputs of a graph that does not say so, by name (`node:0`)."""

    inputs: tuple[str, ...]
    outputs: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class FileFacts:
    """`format` is one of the contract's names; `suffix` is the ending (with its dot) that loaders want to see on the
    stored file, whatever its uploader called it; `saved_with` is a product and its version, or "" if the file does not
    say; `labels` are those inside the file, in the order of the scores.

    `signature` is None where only an engine can tell it: Keras files, and files that leave the rank of a tensor open.
    `is_archive`: the engine is given what inference/archives.py unpacks. `notes` are sentences worth showing beside a
    good file; `assets` are files that come with it, relative to the model; `candidates` is there for frozen graphs.
    """

    format: str
    suffix: str
    saved_with: str
    labels: tuple[str, ...] = ()
    signature: Signature | None = None
    is_archive: bool = False
    notes: tuple[str, ...] = ()
    assets: tuple[str, ...] = ()
    candidates: Candidates | None = None


def shown(name: object) -> str:
    """A name out of a file, short and on one line, for a sentence."""
    text = "".join(char if char.isprintable() else "?" for char in str(name)[: SHOWN_NAME_LENGTH + 1])
    return text if len(text) <= SHOWN_NAME_LENGTH else text[: SHOWN_NAME_LENGTH - 1] + "…"


def listed(names: list[str] | tuple[str, ...], at_most: int = 8) -> str:
    """Names out of a file as `'a', 'b' and 3 more`."""
    quoted = ", ".join(f"'{shown(name)}'" for name in names[:at_most])
    return quoted if len(names) <= at_most else f"{quoted} and {len(names) - at_most} more"


def size_words(size_bytes: int) -> str:
    for unit, power in (("GB", 30), ("MB", 20), ("kB", 10)):
        if size_bytes >= 1 << power:
            return f"{size_bytes / (1 << power):,.1f} {unit}"
    return f"{size_bytes} bytes"
