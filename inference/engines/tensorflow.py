"""The engine `tensorflow`: Keras files as one traced function.

Never `model.predict`: on a 2-core CPU MobileNetV2 takes 98 ms a call that way and 31 ms as a traced function.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
os.environ.setdefault("KERAS_BACKEND", "tensorflow")
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")

import keras
import numpy as np
import tensorflow as tf

from inference.engines import EngineSettings, ModelUnusable, Tensors
from inference.signature import Signature, TensorSpec


class TensorFlowEngine:
    """A Keras model traced once with the batch left free."""

    def __init__(self, model: Any, device: str) -> None:
        self._model = model
        self.device = device
        inputs = _flatten(model.inputs)
        outputs = _flatten(model.outputs)
        input_names = _unique([tensor.name for tensor in inputs])
        output_names = _unique(list(getattr(model, "output_names", None) or [tensor.name for tensor in outputs]))
        if len(output_names) != len(outputs):
            output_names = _unique([tensor.name for tensor in outputs])
        self.signature = Signature(
            tuple(_spec(name, tensor) for name, tensor in zip(input_names, inputs, strict=True)),
            tuple(_spec(name, tensor) for name, tensor in zip(output_names, outputs, strict=True)),
        )
        self._input_names = input_names
        self._output_names = output_names
        self._function = tf.function(
            self._call,
            input_signature=[
                tf.TensorSpec(spec.shape, spec.dtype, name=f"in_{i}") for i, spec in enumerate(self.signature.inputs)
            ],
            autograph=False,
        )
        self._function.get_concrete_function()

    def _call(self, *tensors: Any) -> list[Any]:
        given = (
            tensors[0] if len(tensors) == 1 else list(tensors)
        )  # Keras flattens whatever structure it was built with
        return [tf.convert_to_tensor(tensor) for tensor in tf.nest.flatten(self._model(given, training=False))]

    def run(self, inputs: Tensors) -> dict[str, np.ndarray[Any, Any]]:
        outputs = self._function(*[tf.convert_to_tensor(inputs[name]) for name in self._input_names])
        return {name: tensor.numpy() for name, tensor in zip(self._output_names, outputs, strict=True)}

    def close(self) -> None:
        """Nothing to do: memory of TensorFlow comes back when its process ends."""


def load(path: Path, format_name: str, settings: EngineSettings) -> TensorFlowEngine:
    """Load a `.keras` or HDF5 file. Raises ModelUnusable with a sentence where Keras cannot."""
    if settings.threads:
        tf.config.threading.set_intra_op_parallelism_threads(settings.threads)
        tf.config.threading.set_inter_op_parallelism_threads(max(1, settings.threads // 2))
    gpus = tf.config.list_physical_devices("GPU")
    for gpu in gpus:
        tf.config.experimental.set_memory_growth(gpu, True)
    try:
        model = keras.models.load_model(
            path, compile=False, safe_mode=True, custom_objects={"DepthwiseConv2D": _DepthwiseConv2D}
        )
    except Exception as error:
        raise ModelUnusable(_sentence(error)) from error
    if not getattr(model, "inputs", None):
        raise ModelUnusable("The model does not say what its input looks like. Call it once on data, save it again.")
    try:
        return TensorFlowEngine(model, "gpu:0" if gpus else "cpu")
    except ModelUnusable:
        raise
    except Exception as error:
        raise ModelUnusable(f"The model was read but cannot be run: {_first_line(error)}") from error


class _DepthwiseConv2D(keras.layers.DepthwiseConv2D):  # type: ignore[misc]
    """Takes the argument `groups` that MobileNet files of the TensorFlow 2 years carry and Keras 3 refuses."""

    def __init__(self, *args: Any, groups: int = 1, **kwargs: Any) -> None:
        if groups != 1:
            raise ValueError("DepthwiseConv2D with groups other than 1 cannot be read.")
        super().__init__(*args, **kwargs)


def _flatten(structure: Any) -> list[Any]:
    return [tensor for tensor in tf.nest.flatten(structure) if tensor is not None]


def _unique(names: list[str]) -> list[str]:
    """Names as people know them, without `:0` and scopes; numbered where two are alike."""
    short = [name.split(":")[0].split("/")[0] for name in names]
    if len(set(short)) == len(short):
        return short
    return [f"{name}_{i}" for i, name in enumerate(short)]


def _spec(name: str, tensor: Any) -> TensorSpec:
    dtype = tf.as_dtype(tensor.dtype).as_numpy_dtype
    return TensorSpec(name, np.dtype(dtype).name, tuple(None if n is None else int(n) for n in tensor.shape))


def _sentence(error: Exception) -> str:
    text = str(error)
    if "No model config found" in text or "No model found in config" in text:
        return "The file holds weights only. Save the whole model with model.save('name.keras')."
    if "Could not locate class" in text or "Unknown layer" in text or "Unknown object" in text:
        return f"The file needs code of its own that is not in it: {_first_line(error)}"
    if "safe_mode" in text or "Lambda" in text:
        return "The file holds Python code (a Lambda layer), which is not run here. Replace it by a layer of Keras."
    return f"Keras cannot read the file: {_first_line(error)}"


def _first_line(error: Exception) -> str:
    """The first sentence of a library's message, short and without the paths that it may name."""
    line = next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)
    words = [word if "/" not in word or len(word) < 2 else "…" for word in line.split()]
    return " ".join(words)[:300]
