"""An ONNX model in an archive with the files of its weights: PyTorch's default, and the only form above 2 GiB.

Source: https://github.com/onnx/onnx/blob/main/docs/ExternalData.md. A runner imports this file; what the check looks at
is in formats/onnx_weights.py, whose package brings h5py along.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from inference.archives import Archive, Entry, is_archive, unpack
from inference.refusal import FileRejected, listed

ENDING = ".onnx"
EXTERNAL = (
    "The ONNX file keeps its weights in another file. Put both into one .zip and upload that, or save the model with "
    "all weights inside (torch.onnx.export with external_data=False, onnx.save_model with save_as_external_data=False)."
)


def model_entry(archive: Archive) -> Entry:
    """The .onnx file. Raises FileRejected where there is not exactly one."""
    found = [entry for entry in archive.entries if entry.name.endswith(ENDING)]
    if not found:
        raise FileRejected(f"There is no {ENDING} file in the archive.")
    if len(found) > 1:
        names = listed(sorted(entry.name for entry in found))
        raise FileRejected(f"The archive holds several ONNX models: {names}. Upload one at a time.")
    return found[0]


@contextmanager
def opened_onnx(path: Path) -> Iterator[Path]:
    """The .onnx file for an engine: `path` itself, or a temporary copy unpacked with the archive's other files. What an
    engine has mapped into memory stays valid after this. Raises FileRejected, OSError."""
    if not is_archive(path):
        yield path
        return
    with tempfile.TemporaryDirectory(prefix="onnx-") as folder:
        unpacked = Path(folder) / "model"
        unpack(path, unpacked)
        yield next(file for file in unpacked.rglob(f"*{ENDING}") if file.is_file())
