"""Walks all objects of an HDF5 file without reading its numbers and without following links out of it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import h5py

from inference.refusal import FileRejected, FileUnsafe, shown, size_words

MAX_DEPTH = 64
MAX_OBJECTS = 200_000
# Weights hardly compress; 20 leaves room for pruned models, FREE_BYTES for small files full of zeros.
MAX_EXPANSION = 20
FREE_BYTES = 16 << 20
# gzip, shuffle, checksum, szip, nbit, scale-offset, lzf. Any other number makes HDF5 look for a plug-in to load.
KNOWN_FILTERS = frozenset({1, 2, 3, 4, 5, 6, 32000})

DAMAGED = "The HDF5 file is damaged or was cut off. Save the model again and upload the whole file."


@dataclass(frozen=True, slots=True)
class StoredWeights:
    """How much an HDF5 file really holds: numbers (not bytes) in all its datasets, and in the largest one."""

    numbers: int
    largest: int
    datasets: int


def walk_tree(file: h5py.File, size_bytes: int, *, is_trusted: bool = False) -> StoredWeights:
    """Visit each object once. `size_bytes` is the size of the file. With `is_trusted`, soft and external links are
    skipped, and datasets stored elsewhere or with other filters accepted. Raises FileRejected.

    HDF5's own reader never returns on some damaged files: call this in a process with a time limit.
    """
    try:
        return _walk(file, size_bytes, is_trusted)
    except (OSError, RuntimeError, KeyError, ValueError, TypeError, OverflowError, MemoryError):
        raise FileRejected(DAMAGED) from None


def _walk(file: h5py.File, size_bytes: int, is_trusted: bool) -> StoredWeights:
    numbers = largest = datasets = declared = 0
    seen: set[int] = set()
    waiting: list[tuple[Any, str, int]] = [(file["/"], "", 0)]
    while waiting:
        item, name, depth = waiting.pop()
        address = int(h5py.h5o.get_info(item.id).addr)
        if address in seen:
            continue
        seen.add(address)
        if depth > MAX_DEPTH or len(seen) > MAX_OBJECTS:
            raise FileRejected(
                "The HDF5 file is nested deeper or has more entries than any real model. "
                "Save the model again and upload the new file."
            )
        declared += _attribute_bytes(item, name, size_bytes)
        if isinstance(item, h5py.Dataset):
            _check_dataset(item, name, is_trusted)
            count = math.prod(item.shape or ())
            declared += count * item.id.get_type().get_size()
            numbers, largest, datasets = numbers + count, max(largest, count), datasets + 1
        elif isinstance(item, h5py.Group):
            waiting.extend((child, path, depth + 1) for child, path in _children(item, name, is_trusted))
        if declared > FREE_BYTES + MAX_EXPANSION * size_bytes:
            raise FileRejected(
                f"The entry '{shown(name)}' brings the declared size of the HDF5 file to {size_words(declared)}, but "
                f"the file has only {size_words(size_bytes)}. Save the model again and upload the new file."
            )
    return StoredWeights(numbers, largest, datasets)


def _children(group: h5py.Group, name: str, is_trusted: bool) -> list[tuple[Any, str]]:
    if len(group) > MAX_OBJECTS:
        raise FileRejected("The HDF5 file has more entries than any real model. Save the model again.")
    children = []
    for key in group:
        path = f"{name}/{key}" if name else str(key)
        link = group.get(key, getlink=True)
        if is_trusted and isinstance(link, h5py.ExternalLink | h5py.SoftLink):
            continue
        if isinstance(link, h5py.ExternalLink):
            raise _stored_elsewhere(path, "a link to another file")
        if isinstance(link, h5py.SoftLink):
            raise FileUnsafe(
                f"The entry '{shown(path)}' is a soft link instead of numbers. Save the model again with "
                "model.save('name.keras') and upload the new file."
            )
        children.append((group[key], path))
    return children


def _check_dataset(dataset: h5py.Dataset, name: str, is_trusted: bool) -> None:
    plan = dataset.id.get_create_plist()
    if is_trusted:
        return
    if plan.get_layout() == h5py.h5d.VIRTUAL:
        raise _stored_elsewhere(name, "a virtual dataset, put together from other files")
    if plan.get_external_count():
        raise _stored_elsewhere(name, "kept in another file")
    for index in range(plan.get_nfilters()):
        number = plan.get_filter(index)[0]
        if number not in KNOWN_FILTERS:
            raise FileRejected(
                f"The entry '{shown(name)}' is packed with an HDF5 plug-in (number {number}), which is not loaded "
                "here. Save the model again without it."
            )


def _attribute_bytes(item: Any, name: str, size_bytes: int) -> int:
    total = 0
    for index in range(h5py.h5a.get_num_attrs(item.id)):
        attribute = h5py.h5a.open(item.id, index=index)
        size = math.prod(attribute.shape or ()) * attribute.get_type().get_size()
        if size > size_bytes:
            raise FileRejected(
                f"The entry '{shown(name or '/')}' declares {size_words(size)} of attributes, but the file has only "
                f"{size_words(size_bytes)}. Save the model again and upload the new file."
            )
        total += size
    return total


def _stored_elsewhere(path: str, what: str) -> FileUnsafe:
    return FileUnsafe(
        f"The entry '{shown(path)}' is {what}, and a model must hold all its weights itself. Save the model again with "
        "model.save('name.keras') and upload the new file."
    )
