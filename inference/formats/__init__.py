"""What an uploaded file is and whether it may be loaded, without running any of it and without an engine."""

from __future__ import annotations

from pathlib import Path

from inference.formats.facts import FileFacts, FileRejected
from inference.formats.hdf5 import inspect_hdf5
from inference.formats.keras import inspect_keras
from inference.formats.recognise import cannot_load_yet, recognise

__all__ = ["FileFacts", "FileRejected", "inspect_file"]


def inspect_file(path: Path) -> FileFacts:
    """The kind is told by content. Raises FileRejected with a sentence for whoever uploaded the file.

    The layers are checked against the allow-list; that the model is loaded with compile=False is assumed. HDF5's
    reader runs for ever on some damaged files: call this in a process that a clock and a memory limit can end.
    """
    match recognise(path):
        case "keras":
            return inspect_keras(path)
        case "hdf5":
            return inspect_hdf5(path)
        case name:
            raise cannot_load_yet(name)
