"""V2's datatype names (open-inference-protocol, "Tensor Data Types"). BYTES are encoded pictures for a model that takes
pictures, otherwise texts."""

from __future__ import annotations

import numpy as np

from inference import texts

DTYPES = {
    "BOOL": "bool", "UINT8": "uint8", "UINT16": "uint16", "UINT32": "uint32", "UINT64": "uint64", "INT8": "int8",
    "INT16": "int16", "INT32": "int32", "INT64": "int64", "FP16": "float16", "FP32": "float32", "FP64": "float64",
    "BYTES": texts.DTYPE,
}  # fmt: skip
DATATYPES = {dtype: name for name, dtype in DTYPES.items()}


def datatype_of(dtype: str) -> str:
    """V2's name of a dtype; BYTES if it has none, which the check of uploaded files no longer allows."""
    return DATATYPES.get(dtype, "BYTES")


def little_endian(dtype: str) -> np.dtype[np.generic]:
    return np.dtype(dtype).newbyteorder("<")
