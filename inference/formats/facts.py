"""What is learnt about an uploaded file without running it."""

from __future__ import annotations

from dataclasses import dataclass

from inference.refusal import FileRejected, listed, shown, size_words
from inference.signature import Signature

__all__ = ["Candidates", "FileFacts", "FileRejected", "listed", "shown", "size_words"]


@dataclass(frozen=True, slots=True)
class Candidates:
    """The tensors that may be meant as inputs and outputs of a graph that does not say so, by name (`node:0`)."""

    inputs: tuple[str, ...]
    outputs: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class FileFacts:
    """`format` is one of the contract's names; `labels` are those inside the file, in the order of the scores.

    `signature` is None where only an engine can tell it: Keras files, and files that leave the rank of a tensor open.
    `notes` are sentences worth showing beside a good file; `candidates` is there for frozen graphs.
    """

    format: str
    labels: tuple[str, ...] = ()
    signature: Signature | None = None
    notes: tuple[str, ...] = ()
    candidates: Candidates | None = None
