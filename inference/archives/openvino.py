"""Which files of an archive are an OpenVINO model. Imported by a runner too, unlike the check in formats/."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import PurePosixPath

from inference.refusal import FileRejected, listed

PACK = "Put the .xml and its .bin into one .zip and upload that."


def model_pair(names: Collection[str]) -> tuple[str, str]:
    """The description and its weights: the only .xml with a .bin of the same name. Raises FileRejected."""
    pairs = [
        (name, weights)
        for name in names
        if name.endswith(".xml") and (weights := str(PurePosixPath(name).with_suffix(".bin"))) in names
    ]
    if not pairs:
        raise FileRejected(f"The archive holds no .xml with a .bin of the same name beside it. {PACK}")
    if len(pairs) > 1:
        found = listed(sorted(xml for xml, _ in pairs))
        raise FileRejected(f"The archive holds several OpenVINO models: {found}. Upload one at a time.")
    return pairs[0]
