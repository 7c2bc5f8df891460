"""What is learnt about an uploaded file without running it."""

from __future__ import annotations

from dataclasses import dataclass

BEGINS_ANEW = (
    "The model remembers what it was asked before. Here each call begins anew: the one before may have been another "
    "client's."
)


@dataclass(frozen=True, slots=True)
class FileFacts:
    """`format` is a name in FORMATS; `labels` are those inside the file, in the order of the scores; `notes` are
    sentences to show to the user although the file is accepted."""

    format: str
    labels: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
