"""The engine `litert`: TensorFlow Lite files.

Quantised tensors (int8, uint8, int16 with a scale) are shown as float32: inputs are quantised and outputs dequantised
with scale and zero point, real = scale × (stored − zero point) (TensorFlow Lite 8-bit quantization specification).
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from ai_edge_litert.interpreter import Interpreter

from inference import texts
from inference.engines import EngineSettings, ModelUnusable, Tensors, first_line
from inference.formats.tflite import has_loop, remembers
from inference.free_sizes import free_sizes
from inference.signature import Signature, TensorSpec

Array = np.ndarray[Any, Any]
_SOME_SIZE = 64
MAX_THREADS = 4  # more do not help the small models that this format is for


@dataclass(frozen=True, slots=True)
class LiteRtTensor:
    """An input or output: its index in the interpreter, and how its numbers are stored there."""

    spec: TensorSpec
    file_name: str
    index: int
    stored: np.dtype[Any]
    scale: float
    zero_point: int

    @classmethod
    def of(cls, name: str, details: Any, *, is_split: bool = True) -> LiteRtTensor:
        """`is_split`: whether the rows of a request are run one by one."""
        scale, zero_point = details["quantization"]
        stored = np.dtype(details["dtype"])
        is_quantised = bool(scale) and stored.kind in "iu"
        shape = [int(n) for n in details["shape"]]
        free = details.get("shape_signature", shape)
        # The batch stays as the file has it (one): changing it would allocate memory anew for each request.
        seen = tuple(n if (i == 0 and is_split) or free[i] >= 0 else None for i, n in enumerate(shape))
        dtype = "float32" if is_quantised else texts.DTYPE if stored.kind in "SOU" else stored.name
        spec = TensorSpec(name, dtype, seen)
        return cls(spec, str(details["name"]), int(details["index"]), stored, float(scale), int(zero_point))

    @property
    def is_quantised(self) -> bool:
        return bool(self.scale) and self.stored.kind in "iu"

    def to_stored(self, values: Array) -> Array:
        if not self.is_quantised:
            return values
        limits = np.iinfo(self.stored)
        stored: Array = np.clip(np.rint(values / self.scale) + self.zero_point, limits.min, limits.max)
        return stored.astype(self.stored)

    def to_real(self, values: Array) -> Array:
        if not self.is_quantised:
            return values
        return ((values.astype(np.float32) - self.zero_point) * np.float32(self.scale)).astype(np.float32)


class LiteRtEngine:
    """One interpreter. It holds its inputs and outputs itself, so calls run one after the other.

    No call sees state of an earlier one. `reset_all_variables` zeroes what a recurrent operation keeps, but not the
    file's variables: if a file writes some, it is opened anew for each call (1 ms for a wake-word model of 60 kB).
    """

    parallel = callers = 1
    device = "cpu"

    def __init__(self, opened: Callable[[], Any], *, may_loop: bool, remembers: bool) -> None:
        self._opened, self._remembers = opened, remembers
        self._interpreter = interpreter = opened()
        self.may_loop = may_loop
        input_names, output_names = _signature_names(interpreter)
        taken, answered = interpreter.get_input_details(), interpreter.get_output_details()
        is_split = all(list(one["shape"][:1]) == [1] for one in taken)  # not with a scalar beside the rows
        self._inputs = _tensors(taken, input_names, is_split=is_split)
        self._outputs = _tensors(answered, output_names, is_split=is_split)
        self._free = [tensor for tensor in self._inputs if None in tensor.spec.shape]
        self.signature = Signature(tuple(t.spec for t in self._inputs), tuple(t.spec for t in self._outputs))
        self._lock = threading.Lock()

    @property
    def tensors(self) -> list[LiteRtTensor]:
        """Inputs, then outputs."""
        return [*self._inputs, *self._outputs]

    def run(self, inputs: Tensors) -> dict[str, Array]:
        with self._lock:
            if self._remembers:
                self._interpreter = self._opened()
            if self._free:
                self._resize(inputs)
            self._interpreter.reset_all_variables()
            for tensor in self._inputs:
                self._interpreter.set_tensor(tensor.index, tensor.to_stored(inputs[tensor.spec.name]))
            self._interpreter.invoke()
            return {t.spec.name: t.to_real(self._interpreter.get_tensor(t.index)) for t in self._outputs}

    def _resize(self, inputs: Tensors) -> None:
        for tensor in self._free:
            self._interpreter.resize_tensor_input(tensor.index, list(inputs[tensor.spec.name].shape), strict=True)
        self._interpreter.allocate_tensors()


def load(path: Path, format_name: str, settings: EngineSettings) -> LiteRtEngine:
    """Load a TensorFlow Lite file. Raises ModelUnusable with a sentence where LiteRT cannot."""
    threads = settings.threads or min(MAX_THREADS, len(os.sched_getaffinity(0)))
    try:
        return LiteRtEngine(
            lambda: _planned(Interpreter(model_path=str(path), num_threads=threads)),
            may_loop=has_loop(path),
            remembers=remembers(path),
        )
    except Exception as error:
        raise ModelUnusable(_sentence(error)) from error


def _planned(interpreter: Any) -> Any:
    """The interpreter with its memory allocated. Files hold 1 for a free size, which is too small for some networks."""
    try:
        interpreter.allocate_tensors()
    except RuntimeError:
        details = interpreter.get_input_details()
        sizes = free_sizes(LiteRtTensor.of("", one).spec for one in details)
        _plan_for_one_of([_SOME_SIZE, *sizes[1:]], interpreter, details)
    return interpreter


def _plan_for_one_of(sizes: Sequence[int], interpreter: Any, details: Sequence[Any]) -> None:
    """Allocate memory for the first of the sizes that works."""
    for size in sizes:
        for one in details:
            free = one["shape_signature"]
            shape = [int(n) if i == 0 or free[i] >= 0 else size for i, n in enumerate(one["shape"])]
            interpreter.resize_tensor_input(one["index"], shape)
        try:
            interpreter.allocate_tensors()
        except RuntimeError:
            if size == sizes[-1]:
                raise
        else:
            break


def _tensors(details: list[Any], names: dict[int, str], *, is_split: bool) -> list[LiteRtTensor]:
    return [
        LiteRtTensor.of(name, one, is_split=is_split)
        for one, name in zip(details, _distinct([_name(d, names) for d in details]), strict=True)
    ]


def _name(details: Any, names: dict[int, str]) -> str:
    """The name in the file's signature, else the tensor's own without `serving_default_` and `:0`."""
    if details["index"] in names:
        return names[details["index"]]
    return str(details["name"]).removeprefix("serving_default_").split(":")[0] or f"tensor_{details['index']}"


def _distinct(names: list[str]) -> list[str]:
    return names if len(set(names)) == len(names) else [f"{name}_{i}" for i, name in enumerate(names)]


def _signature_names(interpreter: Any) -> tuple[dict[int, str], dict[int, str]]:
    """Tensor index → name, for inputs and outputs, where the file holds a signature."""
    keys = list(interpreter.get_signature_list())
    if not keys:
        return {}, {}
    runner = interpreter.get_signature_runner("serving_default" if "serving_default" in keys else keys[0])
    return (
        {int(d["index"]): str(name) for name, d in runner.get_input_details().items()},
        {int(d["index"]): str(name) for name, d in runner.get_output_details().items()},
    )


def _sentence(error: Exception) -> str:
    text = str(error)
    if "custom op" in text.lower() or "flex" in text.lower() or "Select TensorFlow op" in text:
        return (
            f"The model uses an operation that plain TensorFlow Lite does not have: {first_line(error)} "
            "Convert it with TensorFlow Lite's built-in operations only."
        )
    return f"TensorFlow Lite cannot read the file: {first_line(error)}"
