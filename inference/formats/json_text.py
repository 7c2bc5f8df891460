"""JSON from an uploaded file, measured before parsing: Python's parser recurses and builds objects."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

from inference.json_object import is_text
from inference.refusal import FileRejected, size_words

MAX_CONFIG_BYTES = 64 << 20
MAX_DEPTH = 200
# Real configurations of 1,500 layers have about 60,000 brackets and commas and 150,000 quotes.
MAX_MARKS = 2_000_000

_HALF = re.compile(rb"\\u[dD][89a-fA-F]")

DAMAGED = "The description of the layers inside the file is damaged. Save the model again and upload the new file."
HALF_CHARACTER = (
    "The description of the layers holds half of a character (a lone surrogate), which neither Keras nor anybody else "
    "can read. Take it out of the names, save the model again and upload the new file."
)


def parse_config(raw: bytes) -> dict[str, Any]:
    """The object in `raw` (UTF-8), in time and memory proportional to its size. Raises FileRejected."""
    if len(raw) > MAX_CONFIG_BYTES:
        raise too_long(len(raw))
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError:
        raise FileRejected(DAMAGED) from None
    _measure(raw)
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        raise FileRejected(DAMAGED) from None
    if not isinstance(value, dict):
        raise FileRejected(DAMAGED)
    if _HALF.search(raw) and not is_text(json.dumps(value, ensure_ascii=False)):
        raise FileRejected(HALF_CHARACTER)
    return value


def too_long(size_bytes: int) -> FileRejected:
    return FileRejected(
        f"The description of the layers is {size_words(size_bytes)} long; at most {size_words(MAX_CONFIG_BYTES)} are "
        "read. Save the model again and upload the new file."
    )


def _measure(raw: bytes) -> None:
    # With escapes removed, every second piece between quotes is outside of strings.
    plain = raw.replace(b"\\\\", b"").replace(b'\\"', b"")
    too_many = FileRejected(
        "The description of the layers has more parts than any real model. "
        "Save the model again and upload the new file."
    )
    if plain.count(b'"') > MAX_MARKS:
        raise too_many
    outside = b"".join(plain.split(b'"')[::2])
    if outside.count(b",") + outside.count(b"[") + outside.count(b"{") > MAX_MARKS:
        raise too_many
    depth = deepest = 0
    for mark in outside.translate(None, delete=bytes(set(range(256)) - set(b"[]{}"))):
        depth += 1 if mark in b"[{" else -1
        deepest = max(deepest, depth)
        if deepest > MAX_DEPTH:
            raise FileRejected(
                f"The description of the layers is nested more than {MAX_DEPTH} levels deep, which no real model is. "
                "Save the model again and upload the new file."
            )


def objects_in(value: Any) -> Iterator[dict[str, Any]]:
    """Each object in decoded JSON, outermost first, so that objects added to it are visited too. Not recursive."""
    waiting = [value]
    while waiting:
        item = waiting.pop()
        if isinstance(item, list):
            waiting.extend(item)
        elif isinstance(item, dict):
            yield item
            waiting.extend(item.values())
