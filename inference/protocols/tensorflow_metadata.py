"""A model's description in TensorFlow Serving: the states of its versions, and its signature as a SignatureDef."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from inference.protocols.tensorflow_serving import SIGNATURE
from inference.served import Served
from inference.signature import TensorSpec

_DTYPES = {
    "float16": "DT_HALF", "float32": "DT_FLOAT", "float64": "DT_DOUBLE", "bfloat16": "DT_BFLOAT16", "bool": "DT_BOOL",
    "string": "DT_STRING",
}  # fmt: skip
_STATES = {
    "loaded": "AVAILABLE", "queued": "START", "loading": "LOADING", "restarting": "LOADING", "unloading": "UNLOADING",
    "failed": "END", "unloaded": "END", "checking": "START", "rejected": "END",
}  # fmt: skip
_ERRORS = {"failed": "INTERNAL", "rejected": "INVALID_ARGUMENT"}


def version_status(number: int, state: str, detail: str = "") -> dict[str, Any]:
    """One row of `model_version_status`. END with an error code is a failed load or a rejected file."""
    code = _ERRORS.get(state, "OK")
    return {
        "version": str(number),
        "state": _STATES.get(state, "UNKNOWN"),
        "status": {"error_code": code, "error_message": detail if state in _ERRORS else ""},
    }


def model_status(name: str, rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """With `name` and `ready` for clients of KServe V1, which read the same URL."""
    is_ready = any(row["state"] == "AVAILABLE" for row in rows)
    return {"name": name, "ready": is_ready, "model_version_status": list(rows)}


def model_list(names: Sequence[str]) -> dict[str, Any]:
    """KServe V1's list in `models`, and in `data` the list that clients of other servers expect."""
    return {"models": list(names), "object": "list", "data": [{"id": name, "object": "model"} for name in names]}


def model_metadata(served: Served) -> dict[str, Any]:
    signature = {
        "inputs": {spec.name: _tensor(spec) for spec in served.signature.inputs},
        "outputs": {spec.name: _tensor(spec) for spec in served.signature.outputs},
        "method_name": "tensorflow/serving/predict",
        "defaults": {},
    }
    return {
        "model_spec": {"name": served.model, "signature_name": "", "version": str(served.number)},
        "metadata": {"signature_def": {"signature_def": {SIGNATURE: signature}}},
    }


def _tensor(spec: TensorSpec) -> dict[str, Any]:
    """A TensorInfo; sizes are strings, "-1" is a free one."""
    sizes = [{"size": str(-1 if size is None else size), "name": ""} for size in spec.shape]
    return {
        "dtype": _DTYPES.get(spec.dtype, f"DT_{spec.dtype.upper()}"),
        "tensor_shape": {"dim": sizes, "unknown_rank": False},
        "name": f"{SIGNATURE}_{spec.name}:0",
    }
