"""V2's names of datatypes (open-inference-protocol, "Tensor Data Types"; BYTES are encoded pictures here)."""

from __future__ import annotations

import numpy as np

DTYPES = {
    "BOOL": "bool", "UINT8": "uint8", "UINT16": "uint16", "UINT32": "uint32", "UINT64": "uint64", "INT8": "int8",
    "INT16": "int16", "INT32": "int32", "INT64": "int64", "FP16": "float16", "FP32": "float32", "FP64": "float64",
}  # fmt: skip
DATATYPES = {dtype: name for name, dtype in DTYPES.items()} | {"bfloat16": "BF16", "string": "BYTES"}


def datatype_of(dtype: str) -> str:
    """V2's name of numpy's dtype; what has none is BYTES."""
    return DATATYPES.get(dtype, "BYTES")


def little_endian(dtype: str) -> np.dtype[np.generic]:
    return np.dtype(dtype).newbyteorder("<")
