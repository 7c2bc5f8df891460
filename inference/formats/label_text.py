"""Labels as text inside model files, in the order of the scores."""

from __future__ import annotations

import ast
import io
import json
from pathlib import PurePosixPath

from inference.archives import Archive
from inference.errors import ValidationFailed
from inference.postprocessing import parse_labels

MAX_LABEL_TEXT = 1 << 20
LABEL_FILES = ("labels.txt", "labelmap.txt", "label.txt", "classes.txt")


def labels_beside(archive: Archive, folder: PurePosixPath) -> tuple[str, ...]:
    """Labels in a text file with a usual name that lies beside the model in its archive."""
    wanted = {str(folder / name) for name in LABEL_FILES}
    for entry in archive.entries:
        if entry.name in wanted and entry.size_bytes <= MAX_LABEL_TEXT:
            raw = io.BytesIO()
            archive.copy(entry, raw)
            return labels_of_text(raw.getvalue().decode("utf-8", "replace"))
    return ()


def labels_of_text(text: str) -> tuple[str, ...]:
    """Labels by the rules for those that a client sends; () where these would be refused."""
    try:
        return tuple(parse_labels(text))
    except ValidationFailed:
        return ()


def read_labels(text: str) -> tuple[str, ...]:
    """Labels from a list or a dict from index to label, in JSON or Python syntax (as YOLO writes it), or from one label
    a line; () where the text is none of these."""
    text = text.strip()
    if not text or len(text) > MAX_LABEL_TEXT:
        return ()
    if text[0] not in "[{":
        return labels_of_text(text)
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        try:
            value = ast.literal_eval(text)  # builds plain values only
        except (ValueError, SyntaxError, RecursionError, MemoryError):
            return ()
    if isinstance(value, dict):
        try:
            numbered = {int(key): label for key, label in value.items()}
        except (ValueError, TypeError):
            return ()
        if sorted(numbered) != list(range(len(numbered))):
            return ()
        value = [numbered[number] for number in range(len(numbered))]
    if not isinstance(value, list) or not all(isinstance(label, str | int | float) for label in value):
        return ()
    return tuple(str(label) for label in value)
