"""The engine `tensorflow`: Keras files, SavedModels and frozen graphs, each as one traced function.

Never `model.predict`: on a 2-core CPU MobileNetV2 takes 98 ms a call that way and 31 ms as a traced function.
"""

from __future__ import annotations

import math
import os
import re
import tempfile
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
os.environ.setdefault("KERAS_BACKEND", "tensorflow")
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")

import keras
import numpy as np
import tensorflow as tf

from inference.engines import (
    EngineSettings,
    ModelUnusable,
    Tensors,
    first_line,
    keras_corrections,  # noqa: F401 (importing it corrects Keras)
    keras_operations,  # noqa: F401 (importing it registers them)
)
from inference.engines.keras_initializers import no_random_values
from inference.engines.keras_repair import readable_copy
from inference.engines.tensorflow_graphs import GraphModel, open_frozen_graph, open_saved_model
from inference.errors import BadInput
from inference.signature import Signature, TensorSpec

_OUTPUT_NUMBER = re.compile(r":[0-9]+\Z")
_COLOURS = re.compile(r"\x1b\[\d+m")
_AT_LAYER = re.compile(r"(\w+)'> could not be deserialized|deserializing class '(\w+)'|when calling (\w+)\.call\(\)")
_AROUND = re.compile(
    r"Exception encountered when calling \w+\.call\(\)\.|A total of [^\n]*|\s(Inputs r|R)eceived:.*"
    r"|\sFull (object )?config:.*|\sThe following nodes failed.*|\sArguments received by.*",
    re.DOTALL,
)

_CALLERS = 2
"""At each operation, the threads of a call wait for the slowest one; those of another call work meanwhile. MobileNetV2
on two busy cores: 76 pictures a second with two callers, 52 with one, 72 with three; on a GPU, with 16 pictures in a
call, 2,700 with two, 1,500 with one."""

SMALL_BYTES = 16 * 1024
"""A weight up to this size (normalisation of 4,096 channels) becomes a constant of the traced graph. TensorFlow keeps
about ten copies of such a constant, so larger weights stay variables."""


@dataclass(frozen=True, slots=True)
class Traced:
    """A loaded file as one function, from tensors in the order of the inputs to tensors in the order of the outputs.
    `variables` are its weights, also those that became constants; empty where the file has constants only."""

    call: Callable[..., Sequence[Any]]
    signature: Signature
    variables: tuple[Any, ...] = ()
    keep: Any = None
    """Whatever must live as long as the function: TensorFlow's functions do not hold their owners."""
    may_loop: bool = False
    """See Engine. The loops of Keras' layers do not count: their rounds depend only on the number of steps."""
    callers: int = _CALLERS


class TensorFlowEngine:
    """A function traced once, with the batch left free where the file leaves it free."""

    parallel = 1

    def __init__(self, traced: Traced, device: str) -> None:
        self.device = device
        self.may_loop = traced.may_loop
        self.callers = traced.callers
        self.traced = traced
        self._function = tf.function(
            self._call,
            input_signature=[
                tf.TensorSpec(spec.shape, spec.dtype, name=f"in_{i}") for i, spec in enumerate(traced.signature.inputs)
            ],
            autograph=False,
        )
        made = self._function.get_concrete_function().structured_outputs
        self.signature = _as_made(traced.signature, made)

    def _call(self, *tensors: Any) -> list[Any]:
        return [tf.convert_to_tensor(tensor) for tensor in self.traced.call(*tensors)]

    def _beside_python(self) -> AbstractContextManager[Any]:
        """Within this context, tensors are made in host memory: copying them to a GPU would hold Python's GIL, which
        threads that decode pictures need. On an H200, beside calls of 16 rows, 8 threads decode 620 a second, not
        505."""
        return nullcontext() if self.device == "cpu" else tf.device("/CPU:0")

    def run(self, inputs: Tensors) -> dict[str, np.ndarray[Any, Any]]:
        with self._beside_python():
            given = [tf.convert_to_tensor(inputs[spec.name], spec.dtype) for spec in self.signature.inputs]
        try:
            outputs = self._function(*given)
        except tf.errors.InvalidArgumentError as error:
            raise BadInput(f"The model does not take these values: {_reason(error)}") from error
        return {spec.name: _array(tensor) for spec, tensor in zip(self.signature.outputs, outputs, strict=True)}


def _as_made(signature: Signature, outputs: Sequence[Any]) -> Signature:
    """The signature with the dtypes and numbers of axes of the traced outputs: Keras declares a StringLookup's words as
    numbers, and the counts of a text with one axis too many."""
    specs = []
    for said, output in zip(signature.outputs, outputs, strict=True):
        has_its_axes = output.shape.rank in (None, len(said.shape))
        shape = said.shape if has_its_axes else tuple(output.shape)
        specs.append(replace(said, dtype=tf.as_dtype(output.dtype).name, shape=shape))
    return replace(signature, outputs=tuple(specs))


def load(path: Path, format_name: str, settings: EngineSettings) -> TensorFlowEngine:
    """Load a Keras file, a SavedModel (folder or archive) or a frozen graph. Raises ModelUnusable with a sentence."""
    if settings.threads:
        tf.config.threading.set_intra_op_parallelism_threads(settings.threads)
        tf.config.threading.set_inter_op_parallelism_threads(max(1, settings.threads // 2))
    has_gpu = _prepare_gpu()
    traced = _in_float32(_open(path, format_name, settings))
    try:
        return TensorFlowEngine(traced, "gpu:0" if has_gpu else "cpu")
    except ModelUnusable:
        raise
    except Exception as error:
        raise ModelUnusable(f"The model was read but cannot be run: {_cause(error)}") from error


def prepare() -> None:
    """Start the runtime, and trigger the imports that Keras and the tracer do on first use.

    This fixes TensorFlow's number of threads: a model loaded afterwards cannot change it.
    """
    _prepare_gpu()
    pixels = keras.Input((8, 8, 3))
    seen = keras.layers.BatchNormalization()(keras.layers.Conv2D(4, 3, padding="same")(pixels))
    seen = keras.layers.GlobalAveragePooling2D()(keras.layers.ReLU(6.0)(keras.layers.DepthwiseConv2D(3)(seen)))
    model = keras.Model(pixels, keras.layers.Dense(2, activation="softmax")(seen))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.keras"
        model.save(path)
        engine = TensorFlowEngine(_open_keras(path, "keras", is_trusted=False), "cpu")
    engine.run({engine.signature.inputs[0].name: np.zeros((1, 8, 8, 3), np.float32)})
    keras.backend.clear_session()


def _prepare_gpu() -> bool:
    """Whether there is a GPU; it is set to compute in f32 and to allocate memory as needed.

    TensorFlow's default on newer GPUs is TF32, which keeps 10 bits of each factor. On an H100 MobileNetV2's scores were
    then up to 0.06 off, its top five differed on 13 of 16 pictures, and it was no faster; in f32 they are 2e-6 off.
    """
    tf.config.experimental.enable_tensor_float_32_execution(False)
    gpus = tf.config.list_physical_devices("GPU")
    for gpu in gpus:
        tf.config.experimental.set_memory_growth(gpu, True)
    return bool(gpus)


def _reason(error: Any) -> str:
    """The line of the message that says what is wrong: after the operation's trace, before its node."""
    lines = str(error.message).partition("[[{{node")[0].strip().splitlines()
    return " ".join(lines[-1].split())[:300] if lines else first_line(error)


def _array(tensor: Any) -> np.ndarray[Any, Any]:
    """The tensor as an array. A single text is `bytes`, which numpy would make a text of fixed length."""
    return np.array(tensor.numpy(), object) if tensor.dtype == tf.string else tensor.numpy()


def _open(path: Path, format_name: str, settings: EngineSettings) -> Traced:
    match format_name:
        case "keras" | "hdf5":
            traced = _open_keras(path, format_name, is_trusted=settings.is_trusted)
            return replace(traced, may_loop=settings.is_trusted)  # a trusted file's own code may do anything
        case "saved_model":
            return _of_graph(open_saved_model(path))
        case "frozen_graph":
            return _of_graph(open_frozen_graph(path, settings.graph_inputs, settings.graph_outputs))
    raise NotImplementedError(f"There is no case for the format {format_name}.")


def _in_float32(traced: Traced) -> Traced:
    """Turn inputs and outputs in bfloat16, which numpy and the protocols do not have, into float32."""
    taken = [spec.dtype for spec in traced.signature.inputs]

    def call(*tensors: Any) -> list[Any]:
        answers = traced.call(*[tf.cast(tensor, dtype) for tensor, dtype in zip(tensors, taken, strict=True)])
        return [tf.cast(answer, tf.float32) if answer.dtype == tf.bfloat16 else answer for answer in answers]

    ends = (*traced.signature.inputs, *traced.signature.outputs)
    if all(spec.dtype != "bfloat16" for spec in ends):
        return traced
    wide = [replace(spec, dtype="float32") if spec.dtype == "bfloat16" else spec for spec in ends]
    return replace(traced, call=call, signature=Signature(tuple(wide[: len(taken)]), tuple(wide[len(taken) :])))


def _of_graph(graph: GraphModel) -> Traced:
    callers = 1 if graph.remembers else _CALLERS
    return Traced(graph.call, graph.signature, keep=graph.keep, may_loop=graph.may_loop, callers=callers)


def _open_keras(path: Path, format_name: str, *, is_trusted: bool) -> Traced:
    try:
        with readable_copy(path, format_name) as readable, no_random_values():
            model = keras.models.load_model(readable.path, compile=False, safe_mode=not is_trusted)
            readable.check(model)
    except ModelUnusable:
        raise
    except Exception as error:
        raise ModelUnusable(_sentence(error)) from error
    if not getattr(model, "inputs", None):
        raise ModelUnusable("The model does not say what its input looks like. Call it once on data, save it again.")
    return _of_keras(model)


def _of_keras(model: Any) -> Traced:
    inputs = _flatten(model.inputs)
    outputs = _flatten(model.outputs)
    input_names = _unique([tensor.name for tensor in inputs])
    output_names = _output_names(model, outputs)
    vocabularies = _vocabularies(model)
    signature = Signature(
        tuple(
            replace(_spec(name, tensor), below=vocabularies.get(id(tensor)))
            for name, tensor in zip(input_names, inputs, strict=True)
        ),
        tuple(_spec(name, tensor) for name, tensor in zip(output_names, outputs, strict=True)),
    )

    small = [(weight, weight.numpy()) for weight in model.weights if _is_small(weight)]

    def call(*tensors: Any) -> list[Any]:
        """Pack the tensors as `model.input` is structured: Keras takes a list for a dict only if its keys are sorted.

        Small weights are constants, so that TensorFlow computes once what depends on them alone: four of the six
        operations of a normalisation. What a stateful layer writes is dropped, because the next call may be another
        client's.
        """
        given = tensors[0] if len(tensors) == 1 else keras.tree.pack_sequence_as(model.input, tensors)
        with keras.StatelessScope(state_mapping=small):
            return list(keras.tree.flatten(model(given, training=False)))

    return Traced(call, signature, tuple(variable.value for variable in model.variables), model)


def _is_small(weight: Any) -> bool:
    return bool(math.prod(weight.shape) * tf.as_dtype(weight.dtype).size <= SMALL_BYTES)


def _vocabularies(model: Any) -> dict[int, int]:
    """Id of a tensor → the number of entries of the smallest Embedding that reads it, also in an inner model."""
    sizes: dict[int, int] = {}
    for layer in model.layers:
        if isinstance(layer, keras.layers.Embedding):
            taken = [layer.input_dim]
        elif isinstance(layer, keras.Model):
            inner = _vocabularies(layer)
            taken = [inner.get(id(tensor)) for tensor in layer.inputs]
        else:
            continue
        for node in layer._inbound_nodes:
            for tensor, size in zip(map(id, node.input_tensors), taken, strict=False):
                if size is not None:
                    sizes[tensor] = min(sizes.get(tensor, size), size)
    return sizes


def _output_names(model: Any, outputs: list[Any]) -> list[str]:
    """The keys where the model returns a dict, else the names of the output layers: tensors are numbered anew in each
    process. A Sequential names neither, so its last layer is taken."""
    structure = getattr(model, "output", None)  # which a Sequential that was never called does not have
    if isinstance(structure, dict) and len(structure) == len(outputs):
        numbers = keras.tree.pack_sequence_as(structure, range(len(outputs)))
        places = {key: keras.tree.flatten(inside) for key, inside in numbers.items()}
        if all(len(inside) == 1 for inside in places.values()):
            return sorted(places, key=places.__getitem__)  # whole: "head/a" is no scope
    names = list(getattr(model, "output_names", None) or [])
    if not names and isinstance(model, keras.Sequential):
        names = [model.layers[-1].name]
    return _unique(names if len(names) == len(outputs) else [tensor.name for tensor in outputs])


def _flatten(structure: Any) -> list[Any]:
    return [tensor for tensor in tf.nest.flatten(structure) if tensor is not None]


def _unique(names: list[str]) -> list[str]:
    """Names without `:0` and scopes; all are numbered where two are the same."""
    short = [_OUTPUT_NUMBER.sub("", name).split("/")[0] for name in names]
    if len(set(short)) == len(short):
        return short
    return [f"{name}_{i}" for i, name in enumerate(short)]


def _spec(name: str, tensor: Any) -> TensorSpec:
    return TensorSpec(name, tf.as_dtype(tensor.dtype).name, tuple(None if n is None else int(n) for n in tensor.shape))


def _sentence(error: Exception) -> str:
    text = str(error)
    if "No model config found" in text or "No model found in config" in text:
        return "The file holds weights only. Save the whole model with model.save('name.keras')."
    if "Could not locate class" in text or "Unknown layer" in text or "Unknown object" in text:
        return f"The file needs code of its own that is not in it: {_cause(error)}"
    if "safe_mode" in text or "Lambda" in text:
        return "The file holds Python code (a Lambda layer), which is not run here. Replace it by a layer of Keras."
    return f"Keras cannot read the file: {_cause(error)}"


def _cause(error: Exception) -> str:
    """The reason of an error, which Keras wraps in context and descriptions once for each enclosing layer."""
    text = _COLOURS.sub("", str(error))
    layer = "".join((_AT_LAYER.findall(text) or [""])[-1])
    reason = _AROUND.sub("", text.rpartition("Exception encountered:")[2]).strip()
    line = first_line(ValueError(reason or text))
    return f"{layer}: {line}" if layer and layer not in line else line
