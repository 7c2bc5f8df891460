"""The files beside an ONNX model in its archive, in which it keeps weights (ONNX: ExternalData.md)."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath

from inference.archives import Archive, Entry
from inference.formats.protobuf import DAMAGED, Message
from inference.refusal import FileRejected, shown

# TensorProto.DataType → bits of one number. Strings (8) cannot be stored in another file.
_BITS = {
    1: 32, 2: 8, 3: 8, 4: 16, 5: 16, 6: 32, 7: 64, 9: 8, 10: 16, 11: 64, 12: 32, 13: 64, 14: 64, 15: 128, 16: 16,
    17: 8, 18: 8, 19: 8, 20: 8, 21: 4, 22: 4, 23: 4, 24: 8, 25: 2, 26: 2,
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class WeightFiles:
    """The files below the model's folder: name relative to it, as the model refers to them → size in bytes."""

    sizes: Mapping[str, int]

    @classmethod
    def beside(cls, model: Entry, archive: Archive) -> WeightFiles:
        folder = PurePosixPath(model.name).parent
        return cls(
            {
                str(PurePosixPath(entry.name).relative_to(folder)): entry.size_bytes
                for entry in archive.entries
                if PurePosixPath(entry.name).is_relative_to(folder) and entry is not model
            }
        )

    def check(self, tensor: Message) -> None:
        """Raises FileRejected for a TensorProto whose numbers are not all in one of the files."""
        about = [(entry.text(1), entry.text(2)) for entry in tensor.all(13)]
        said = dict(about)
        location = said.get("location", "").removeprefix("./")
        bits = _BITS.get(tensor.integer(2))
        if len(said) < len(about) or not location or bits is None:
            raise FileRejected(DAMAGED)
        if location not in self.sizes:
            raise FileRejected(
                f"The ONNX model keeps weights in '{shown(location)}', which does not lie beside it in the archive. "
                "Pack that file too, under the name that it was saved with."
            )
        sizes = [*tensor.integers(1)]
        needed = (math.prod(sizes) * bits + 7) // 8
        if min(sizes, default=0) < 0:
            raise FileRejected(DAMAGED)
        if _whole(said, "offset", 0) + max(needed, _whole(said, "length", needed)) > self.sizes[location]:
            raise FileRejected(
                f"'{shown(location)}' ends before the weights that the ONNX model keeps in it. Pack the files of one "
                "model together, whole."
            )


def _whole(said: Mapping[str, str], key: str, otherwise: int) -> int:
    text = said.get(key)
    if text is None:
        return otherwise
    if not (text.isascii() and text.isdecimal() and len(text) <= 18):
        raise FileRejected(DAMAGED)
    return int(text)
