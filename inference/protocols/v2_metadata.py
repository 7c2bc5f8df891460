"""V2's descriptions of the server and of a model: metadata, and the model configuration that image clients read."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from inference.protocols.datatypes import datatype_of
from inference.served import Served
from inference.signature import TensorSpec, image_axes

SERVER_NAME = "model-portal"
EXTENSIONS = (
    "classification", "model_repository", "model_configuration", "binary_tensor_data", "parameters", "statistics",
)  # fmt: skip
_CONFIG_TYPES = {"BOOL": "TYPE_BOOL", "BYTES": "TYPE_STRING"}


def server_metadata(version: str) -> dict[str, Any]:
    return {"name": SERVER_NAME, "version": version, "extensions": list(EXTENSIONS)}


def model_metadata(served: Served, numbers: Sequence[int]) -> dict[str, Any]:
    """`numbers` are the loaded versions of the model."""
    return {
        "name": served.model,
        "versions": [str(number) for number in numbers],
        "platform": platform(served),
        "inputs": [_tensor(spec) for spec in served.signature.inputs],
        "outputs": [_tensor(spec) for spec in served.signature.outputs],
    }


def platform(served: Served) -> str:
    """`<engine>_<format>`, such as tensorflow_keras or openvino_onnx."""
    return f"{served.engine}_{served.format}"


def _tensor(spec: TensorSpec) -> dict[str, Any]:
    """The shape includes the batch axis; -1 is a free dimension. A batch fixed at one is shown as free: it is split."""
    shape = [-1 if size is None else size for size in spec.shape]
    if shape and shape[0] == 1:
        shape[0] = -1
    return {"name": spec.name, "datatype": datatype_of(spec.dtype), "shape": shape}


def model_config(served: Served, numbers: Sequence[int]) -> dict[str, Any]:
    """The model configuration extension. If `max_batch_size` is above 0, `dims` leave out the batch axis."""
    is_batched = takes_batches(served)
    return {
        "name": served.model,
        "platform": platform(served),
        "backend": served.engine,
        "version_policy": {"specific": {"versions": list(numbers)}},
        "max_batch_size": served.max_batch if is_batched else 0,
        "input": [
            _config_tensor(spec, is_batched) | {"format": _format(spec, served)} for spec in served.signature.inputs
        ],
        "output": [
            _config_tensor(spec, is_batched) | {"label_filename": "labels.txt" if served.labels else ""}
            for spec in served.signature.outputs
        ],
        "instance_group": [
            {"name": f"{served.model}_{index}", "kind": f"KIND_{_kind(instance.device)}", "count": 1}
            for index, instance in enumerate(served.instances)
        ],
        "dynamic_batching": {},
    }


def takes_batches(served: Served) -> bool:
    """Whether a request may hold any number of examples: the batch axis is free, or fixed at one and then split."""
    specs = served.signature.inputs
    return bool(specs) and all(spec.shape and spec.shape[0] in (None, 1) for spec in specs)


def _config_tensor(spec: TensorSpec, is_batched: bool) -> dict[str, Any]:
    datatype = datatype_of(spec.dtype)
    dims = [-1 if size is None else size for size in spec.shape]
    return {
        "name": spec.name,
        "data_type": _CONFIG_TYPES.get(datatype, f"TYPE_{datatype}"),
        "dims": dims[1:] if is_batched else dims,
    }


def _format(spec: TensorSpec, served: Served) -> str:
    axes = image_axes(spec) if served.takes_pictures else None
    return f"FORMAT_{axes.layout.upper()}" if axes else "FORMAT_NONE"


def _kind(device: str) -> str:
    return "GPU" if device.lower().startswith("gpu") else "CPU"
